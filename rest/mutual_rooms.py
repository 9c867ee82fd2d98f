"""The rooms that two people share."""

from typing import Any

from homeserver.rooms.memberships import Memberships
from rest.routing import Call, Route
from schema import ids
from schema.errors import InvalidParam

PAGE = 100


class MutualRoomsApi:
    """Client-server API, "Mutual rooms"; some clients know only the older name of it."""

    def __init__(self, memberships: Memberships) -> None:
        self._memberships = memberships

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        old = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"
        return [
            Route("GET", "/_matrix/client/v1/mutual_rooms", self.shared),
            Route("GET", old, self.old_shared),
        ]

    async def shared(self, call: Call) -> dict[str, Any]:
        """The rooms that the requester and somebody else have joined."""
        joined, count, more = self._page(call, "from")
        answer: dict[str, Any] = {"joined": joined, "count": count}
        return {**answer, "next_batch": joined[-1]} if more else answer

    async def old_shared(self, call: Call) -> dict[str, Any]:
        """COMPAT(MSC2666): the same, with other names for the tokens."""
        joined, _, more = self._page(call, "batch_token")
        answer: dict[str, Any] = {"joined": joined}
        return {**answer, "next_batch_token": joined[-1]} if more else answer

    def _page(self, call: Call, token_name: str) -> tuple[list[str], int, bool]:
        """Some of the rooms, how many there are at all, and whether more come after these."""
        other = ids.user_id(call.query.needed("user_id"))
        if other == call.requester.user_id:
            raise InvalidParam("You share every room with yourself: name somebody else")
        after = call.query.text(token_name) or ""
        if after and not after.startswith("!"):
            raise InvalidParam(f"`{token_name}` must be the token of an earlier answer")
        theirs = set(self._memberships.rooms_of(other))
        every = sorted(theirs.intersection(self._memberships.rooms_of(call.requester.user_id)))
        left = [room_id for room_id in every if room_id > after]
        return left[:PAGE], len(every), len(left) > PAGE
