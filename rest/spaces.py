"""The tree of rooms below a space."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.rooms.spaces import MAX_DEPTH, MAX_PAGE, Spaces, Walk
from rest.routing import Call, Route
from schema.errors import InvalidParam


class SpacesApi:
    """Client-server API, "Discovering rooms within spaces"."""

    def __init__(self, spaces: Spaces, ours: Ours) -> None:
        self._spaces = spaces
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [Route("GET", "/_matrix/client/v1/rooms/{room_id}/hierarchy", self.hierarchy)]

    async def hierarchy(self, call: Call) -> dict[str, Any]:
        """A page of the tree."""
        limit = call.query.integer("limit", MAX_PAGE, least=-1)
        if limit < 1:
            raise InvalidParam("The query parameter `limit` must be greater than zero")
        depth = call.query.integer("max_depth", MAX_DEPTH, least=-1, most=MAX_DEPTH)
        if depth < 0:
            raise InvalidParam("The query parameter `max_depth` must not be negative")
        return await self._spaces.hierarchy(
            call.requester.user_id,
            self._ours.room(call.path["room_id"]),
            Walk(depth, call.query.flag("suggested_only")),
            start=call.query.text("from"),
            limit=limit,
        )
