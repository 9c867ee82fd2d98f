"""Coming and going: join, invite, leave, kick, ban, knock, forget.

The verbs compose: each has a form that works inside a write transaction, for services that do
several things at once (creating a room, keeping a family room in step with its roster).
"""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from homeserver.bridges.queries import Queries
from homeserver.events import check_json
from homeserver.requester import Requester
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.journal import Journal
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.room import Room
from schema.errors import BadRequest, BadState, Forbidden, NotFound
from storage import members, profiles
from storage.store import Store
from storage.transaction import WriteTransaction

_MEMBER = "m.room.member"
_AUTHORISED = "join_authorised_via_users_server"


@frozen
class Membership:
    """Client-server API, "Room membership", "Knocking", "Restricted rooms"."""

    store: Store
    rooms: RoomCache
    journal: Journal
    memberships: Memberships
    person_exists: Callable[[WriteTransaction, str], bool]
    queries: Queries

    async def join(self, requester: Requester, room_id: str, reason: str | None = None) -> None:
        """Join a room; nothing happens to somebody who is in it.

        Raises:
            Forbidden: the room does not let this person in.
            NotFound: there is no such room.
        """
        await self.store.write(
            lambda txn: self.let_join(txn, self._head(txn, room_id), requester.user_id, reason)
        )

    async def invite(
        self, requester: Requester, room_id: str, target: str, reason: str | None = None
    ) -> None:
        """Invite somebody; nothing happens if they are invited.

        Raises:
            Forbidden: the room, its type or the person's standing does not allow it.
            InviteBlocked: the person wants no invites.
            NotFound: there is no such person, or no such room.
            Timeout: the service that could make the person did not answer.
        """
        await self.queries.user(target)

        def work(txn: WriteTransaction) -> None:
            room = self._head(txn, room_id)
            if room.state.membership(target) == "invite":
                _check_joined(room, requester.user_id)
                return
            self.let_invite(txn, room, requester.user_id, target, reason=reason)

        await self.store.write(work)

    async def leave(self, requester: Requester, room_id: str, reason: str | None = None) -> None:
        """Leave a room, decline an invite or take back a knock; nothing happens twice.

        Raises:
            Forbidden: the person was never there, or the room's type does not allow it.
        """

        def work(txn: WriteTransaction) -> None:
            room = self._head(txn, room_id)
            user_id = requester.user_id
            if room.state.membership(user_id) in ("leave", "ban"):
                if room.state.get(_MEMBER, user_id) is None:
                    raise Forbidden("You are not in this room")
                return
            self.put(txn, room, user_id, user_id, "leave", reason)

        await self.store.write(work)

    async def knock(self, requester: Requester, room_id: str, reason: str | None = None) -> None:
        """Ask to be let in; nothing happens to somebody who has asked.

        Raises:
            Forbidden: the room does not accept knocks from this person.
        """

        def work(txn: WriteTransaction) -> None:
            room = self._head(txn, room_id)
            user_id = requester.user_id
            if room.state.membership(user_id) != "knock":
                self.put(txn, room, user_id, user_id, "knock", reason)

        await self.store.write(work)

    async def kick(
        self, requester: Requester, room_id: str, target: str, reason: str | None = None
    ) -> None:
        """Put somebody out of the room, or take back their invite.

        Raises:
            Forbidden: the person may not, or ``target`` is not there.
        """

        def work(txn: WriteTransaction) -> None:
            room = self._head(txn, room_id)
            if room.state.membership(target) not in ("join", "invite", "knock"):
                raise Forbidden(f"{target} is not in this room")
            self.put(txn, room, requester.user_id, target, "leave", reason)

        await self.store.write(work)

    async def ban(
        self, requester: Requester, room_id: str, target: str, reason: str | None = None
    ) -> None:
        """Put somebody out of the room for good.

        Raises:
            Forbidden: the person may not.
        """

        def work(txn: WriteTransaction) -> None:
            room = self._head(txn, room_id)
            if room.state.membership(target) != "ban":
                self.put(txn, room, requester.user_id, target, "ban", reason)

        await self.store.write(work)

    async def unban(
        self, requester: Requester, room_id: str, target: str, reason: str | None = None
    ) -> None:
        """Lift a ban.

        Raises:
            BadState: ``target`` is not banned.
            Forbidden: the person may not.
        """

        def work(txn: WriteTransaction) -> None:
            room = self._head(txn, room_id)
            if room.state.membership(target) != "ban":
                raise BadState(f"{target} is not banned from this room")
            self.put(txn, room, requester.user_id, target, "leave", reason)

        await self.store.write(work)

    async def forget(self, requester: Requester, room_id: str) -> None:
        """Never show a room again that the person has left.

        Raises:
            BadRequest: they are in it still.
        """
        user_id = requester.user_id

        def work(txn: WriteTransaction) -> None:
            room = self._head(txn, room_id)
            if room.state.membership(user_id) not in ("leave", "ban"):
                raise BadRequest("Leave the room before you forget it")
            members.forget(txn, user_id, room_id)
            txn.after_commit(lambda: self.memberships.forget(user_id, room_id))

        await self.store.write(work)

    def leave_all(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: take somebody whose account ends out of every room."""
        for room_id in members.rooms_of(txn, user_id, "join", "invite", "knock"):
            room = self._head(txn, room_id)
            self.put(txn, room, user_id, user_id, "leave", by_server=True)

    def let_join(
        self, txn: WriteTransaction, room: Room, user_id: str, reason: str | None = None
    ) -> Room:
        """Inside a transaction: have somebody join, by whichever way the room is open to them."""
        membership = room.state.membership(user_id)
        if membership == "join":
            return room
        extra: dict[str, Any] = {}
        if membership != "invite":
            room = self._let_back_in(txn, room, user_id)
            authoriser = self._authoriser(txn, room, user_id)
            if authoriser is not None:
                extra[_AUTHORISED] = authoriser
        return self.put(txn, room, user_id, user_id, "join", reason, extra=extra)

    def let_invite(
        self,
        txn: WriteTransaction,
        room: Room,
        sender: str,
        target: str,
        *,
        reason: str | None = None,
        is_direct: bool = False,
    ) -> Room:
        """Inside a transaction: invite somebody who has an account here."""
        if not self.person_exists(txn, target):
            raise NotFound(f"There is nobody called {target} on this server")
        extra = {"is_direct": True} if is_direct else {}
        return self.put(txn, room, sender, target, "invite", reason, extra=extra)

    def put(
        self,
        txn: WriteTransaction,
        room: Room,
        sender: str,
        target: str,
        membership: str,
        reason: str | None = None,
        *,
        extra: dict[str, Any] | None = None,
        by_server: bool = False,
    ) -> Room:
        """Inside a transaction: give somebody a membership; the room after it."""
        content: dict[str, Any] = {"membership": membership, **(extra or {})}
        if membership in ("join", "invite", "knock"):
            shown = profiles.fields(txn, target)
            content.update({k: shown[k] for k in ("displayname", "avatar_url") if k in shown})
        if reason:
            content["reason"] = reason
        check_json(room.version, content)
        draft = Draft(_MEMBER, sender, room.room_id, content, target)
        return self.journal.append(txn, room, draft, by_server=by_server)[1]

    def _head(self, txn: WriteTransaction, room_id: str) -> Room:
        return self.rooms.head(txn, room_id)

    def _let_back_in(self, txn: WriteTransaction, room: Room, user_id: str) -> Room:
        """Both people of a direct conversation can re-enter it: whoever is there invites."""
        was_here = room.state.membership(user_id) == "leave" and room.state.get(_MEMBER, user_id)
        if room.kind != "direct" or not was_here:
            return room
        for other, membership in room.state.memberships().items():
            if membership == "join" and other != user_id:
                return self.put(txn, room, other, user_id, "invite", by_server=True)
        return room

    def _authoriser(self, txn: WriteTransaction, room: Room, user_id: str) -> str | None:
        """Who vouches for a member of another room that a restricted room admits."""
        rules = room.state.content("m.room.join_rules")
        if rules.get("join_rule") not in room.version.restricted_rules:
            return None
        allowed = rules.get("allow")
        if not isinstance(allowed, list) or not any(
            self._is_member(txn, condition, user_id) for condition in allowed
        ):
            return None
        levels = room.power_levels
        joined = [m for m, membership in room.state.memberships().items() if membership == "join"]
        able = [member for member in joined if levels.level_of(member) >= levels.invite]
        return max(able, key=levels.level_of, default=None)

    def _is_member(self, txn: WriteTransaction, condition: Any, user_id: str) -> bool:
        if not isinstance(condition, dict) or condition.get("type") != "m.room_membership":
            return False
        other = condition.get("room_id")
        return isinstance(other, str) and other in members.rooms_of(txn, user_id, "join")


def _check_joined(room: Room, user_id: str) -> None:
    if room.state.membership(user_id) != "join":
        raise Forbidden("You are not a member of this room")
