"""Rooms: creating them, coming and going, aliases, the directory."""

from collections.abc import Awaitable, Callable
from typing import Any

from federation_disabled.ours import Ours
from homeserver.directory import Directory
from homeserver.rooms.create import CreateRoom
from homeserver.rooms.membership import Membership
from homeserver.rooms.memberships import Memberships
from rest.routing import Access, Call, Route
from schema.errors import InvalidParam

_ROOM = "/_matrix/client/v3/rooms/{room_id}"
_LIST = "/_matrix/client/v3/directory/list/room/{room_id}"
_ALIAS = "/_matrix/client/v3/directory/room/{alias}"
_PUBLIC = "/_matrix/client/v3/publicRooms"


class RoomsApi:
    """Client-server API, "Rooms"."""

    def __init__(
        self,
        create: CreateRoom,
        membership: Membership,
        memberships: Memberships,
        directory: Directory,
        ours: Ours,
    ) -> None:
        self._create = create
        self._membership = membership
        self._memberships = memberships
        self._directory = directory
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [
            Route(
                "POST",
                "/_matrix/client/v3/createRoom",
                self.create,
                body="createRoom",
                limit="create_room",
            ),
            Route("POST", f"{_ROOM}/join", self.join, Access.GUEST, body="join", limit="join"),
            Route(
                "POST",
                "/_matrix/client/v3/join/{room}",
                self.join_by_name,
                body="join",
                limit="join",
            ),
            Route(
                "POST", "/_matrix/client/v3/knock/{room}", self.knock, body="knock", limit="join"
            ),
            Route("POST", f"{_ROOM}/leave", self.leave, Access.GUEST, body="leave"),
            Route("POST", f"{_ROOM}/forget", self.forget),
            Route(
                "POST",
                f"{_ROOM}/invite",
                self._about(self._membership.invite),
                body="membership",
                limit="invite",
            ),
            Route("POST", f"{_ROOM}/kick", self._about(self._membership.kick), body="membership"),
            Route("POST", f"{_ROOM}/ban", self._about(self._membership.ban), body="membership"),
            Route("POST", f"{_ROOM}/unban", self._about(self._membership.unban), body="membership"),
            Route("GET", "/_matrix/client/v3/joined_rooms", self.joined_rooms),
            Route("GET", _ALIAS, self.resolve, Access.PUBLIC),
            Route("PUT", _ALIAS, self.add_alias, body="directory.room"),
            Route("DELETE", _ALIAS, self.remove_alias),
            Route("GET", f"{_ROOM}/aliases", self.aliases),
            Route("GET", _LIST, self.is_published, Access.PUBLIC),
            Route("PUT", _LIST, self.publish, body="directory.list"),
            Route("GET", _PUBLIC, self.public_rooms, Access.PUBLIC),
            Route("POST", _PUBLIC, self.search_public_rooms, body="publicRooms"),
        ]

    async def create(self, call: Call) -> dict[str, Any]:
        """Create a room."""
        for user_id in call.body.get("invite") or []:
            self._ours.user(user_id)
        for event in call.body.get("initial_state") or []:
            if event["type"] == "m.room.member":
                self._ours.user(event.get("state_key") or "")
        return {"room_id": await self._create.create(call.requester, call.body)}

    async def join(self, call: Call) -> dict[str, Any]:
        """Join a room by its id."""
        room_id = self._ours.room(call.path["room_id"])
        await self._membership.join(call.requester, room_id, call.body.get("reason"))
        return {"room_id": room_id}

    async def join_by_name(self, call: Call) -> dict[str, Any]:
        """Join a room by its id or an alias."""
        room_id = await self._named(call.path["room"])
        await self._membership.join(call.requester, room_id, call.body.get("reason"))
        return {"room_id": room_id}

    async def knock(self, call: Call) -> dict[str, Any]:
        """Ask to be let in."""
        room_id = await self._named(call.path["room"])
        await self._membership.knock(call.requester, room_id, call.body.get("reason"))
        return {"room_id": room_id}

    async def leave(self, call: Call) -> dict[str, Any]:
        """Leave a room or decline an invite."""
        await self._membership.leave(
            call.requester, self._ours.room(call.path["room_id"]), call.body.get("reason")
        )
        return {}

    async def forget(self, call: Call) -> dict[str, Any]:
        """Never show a room again."""
        await self._membership.forget(call.requester, self._ours.room(call.path["room_id"]))
        return {}

    def _about(
        self, verb: Callable[..., Awaitable[None]]
    ) -> Callable[[Call], Awaitable[dict[str, Any]]]:
        """A handler for what one person does about another's membership."""

        async def handler(call: Call) -> dict[str, Any]:
            target = self._ours.user(call.body["user_id"])
            room_id = self._ours.room(call.path["room_id"])
            await verb(call.requester, room_id, target, call.body.get("reason"))
            return {}

        return handler

    async def joined_rooms(self, call: Call) -> dict[str, Any]:
        """The rooms that the person is in."""
        return {"joined_rooms": self._memberships.rooms_of(call.requester.user_id)}

    async def resolve(self, call: Call) -> dict[str, Any]:
        """The room behind an alias."""
        room_id = await self._directory.resolve(self._ours.alias(call.path["alias"]))
        return {"room_id": room_id, "servers": [self._ours.server_name]}

    async def add_alias(self, call: Call) -> dict[str, Any]:
        """Point an alias to a room."""
        await self._directory.add_alias(
            call.requester,
            self._ours.alias(call.path["alias"]),
            self._ours.room(call.body["room_id"]),
        )
        return {}

    async def remove_alias(self, call: Call) -> dict[str, Any]:
        """Take an alias away."""
        await self._directory.remove_alias(call.requester, self._ours.alias(call.path["alias"]))
        return {}

    async def aliases(self, call: Call) -> dict[str, Any]:
        """The aliases of a room."""
        room_id = self._ours.room(call.path["room_id"])
        return {"aliases": await self._directory.aliases(call.requester, room_id)}

    async def is_published(self, call: Call) -> dict[str, Any]:
        """Whether the directory lists a room."""
        published = await self._directory.is_published(self._ours.room(call.path["room_id"]))
        return {"visibility": "public" if published else "private"}

    async def publish(self, call: Call) -> dict[str, Any]:
        """List a room, or take it out."""
        await self._directory.publish(
            call.requester,
            self._ours.room(call.path["room_id"]),
            call.body.get("visibility", "public") == "public",
        )
        return {}

    async def public_rooms(self, call: Call) -> dict[str, Any]:
        """The directory."""
        return self._page(
            call.query.text("server"),
            call.query.integer("limit", 100),
            call.query.text("since"),
            await self._directory.listed(None, None),
        )

    async def search_public_rooms(self, call: Call) -> dict[str, Any]:
        """The directory, filtered."""
        wanted = call.body.get("filter") or {}
        network = call.body.get("third_party_instance_id")
        all_networks = call.body.get("include_all_networks") is True
        if network and all_networks:
            raise InvalidParam("Ask for all networks or for one, not for both")
        listed = await self._directory.listed(
            wanted.get("generic_search_term"),
            wanted.get("room_types"),
            network=network or None,
            all_networks=all_networks,
        )
        return self._page(
            call.query.text("server"), call.body.get("limit") or 100, call.body.get("since"), listed
        )

    def _page(
        self, server: str | None, limit: int, since: str | None, listed: list[Any]
    ) -> dict[str, Any]:
        if server not in (None, "", self._ours.server_name):
            raise InvalidParam("This server stands alone: it lists only its own rooms")
        if since and not (since.isascii() and since.isdigit() and len(since) < 10):
            raise InvalidParam("`since` must be a token of an earlier answer")
        first = int(since or 0)
        limit = max(1, limit)
        page: dict[str, Any] = {
            "chunk": listed[first : first + limit],
            "total_room_count_estimate": len(listed),
        }
        if first + limit < len(listed):
            page["next_batch"] = str(first + limit)
        if first > 0:
            page["prev_batch"] = str(max(0, first - limit))
        return page

    async def _named(self, room: str) -> str:
        if room.startswith("#"):
            return await self._directory.resolve(self._ours.alias(room))
        return self._ours.room(room)
