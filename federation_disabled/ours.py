"""Is this ours? Ids of other servers are refused here, at the edge, before any work is done.

Which refusal, and why:

- A foreign **user** is Forbidden. Where an endpoint takes a user id (invite, profile, presence,
  ban), the specification has 403 for "this server is not willing", and 404 would make clients
  offer to invite that person all the same.
- A foreign **room, alias or media** is NotFound. Their endpoints look something up, 404 is the
  answer the specification has for it, and clients show it as "no such room" or a missing picture.
- What is no id at all is InvalidParam, from ``schema.ids``.

``/keys/query``, ``/keys/claim`` and ``/sendToDevice`` take foreign users without an error for the
whole request: they ask ``owns`` and leave the strangers out.
"""

from attrs import field, frozen

from schema import ids
from schema.errors import Forbidden, InvalidUsername, NotFound
from schema.ids import RoomAlias, RoomId, UserId


@frozen
class Ours:
    """Tells the ids of this server from those of others. Server names are case-sensitive."""

    server_name: str = field(converter=ids.server_name)

    def user(self, text: object) -> UserId:
        """Read a user id of this server.

        Raises:
            InvalidParam: it is no user id.
            Forbidden: it belongs to another server.
        """
        user_id = ids.user_id(text)
        if ids.domain(user_id) != self.server_name:
            raise Forbidden(
                f"This server stands alone, federation is off: only people of {self.server_name} "
                "can be reached"
            )
        return user_id

    def new_user(self, localpart: str) -> UserId:
        """The user id of an account that is about to be made.

        Raises:
            InvalidUsername: the name breaks the grammar for new accounts, or is too long.
        """
        ids.check_new_localpart(localpart)
        user_id = f"@{localpart}:{self.server_name}"
        if len(user_id) > ids.LONGEST_ID:
            raise InvalidUsername(
                f"That user name is too long: with the server name it may have {ids.LONGEST_ID} "
                "characters"
            )
        return UserId(user_id)

    def room(self, text: object) -> RoomId:
        """Read a room id of this server. One without a server name (room version 12) is ours.

        Raises:
            InvalidParam: it is no room id.
            NotFound: it names another server.
        """
        room_id = ids.room_id(text)
        if ids.domain(room_id) not in ("", self.server_name):
            raise NotFound(
                "This server stands alone, federation is off: rooms of other servers cannot be "
                "reached"
            )
        return room_id

    def alias(self, text: object) -> RoomAlias:
        """Read a room alias of this server.

        Raises:
            InvalidParam: it is no room alias.
            NotFound: it names another server.
        """
        alias = ids.room_alias(text)
        if ids.domain(alias) != self.server_name:
            raise NotFound(
                "This server stands alone, federation is off: room aliases of other servers "
                "cannot be looked up"
            )
        return alias

    def media(self, server_name: str) -> None:
        """Refuse media that another server keeps.

        Raises:
            NotFound: ``server_name``, as it stands in the content URI, is not ours.
        """
        if server_name != self.server_name:
            raise NotFound(
                "This server stands alone, federation is off: media of other servers is not fetched"
            )

    def owns(self, identifier: UserId | RoomId | RoomAlias) -> bool:
        """Whether this id was given out by this server."""
        return ids.domain(identifier) in ("", self.server_name)
