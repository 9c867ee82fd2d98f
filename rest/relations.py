"""What relates to an event, and the threads of a room."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.rooms.relations import Relations
from rest.history import viewer
from rest.routing import Call, Route

_ROOM = "/_matrix/client/v1/rooms/{room_id}"
DEFAULT_PAGE = 20


class RelationsApi:
    """Client-server API, "Relationships API" and "Querying threads in a room"."""

    def __init__(self, relations: Relations, ours: Ours) -> None:
        self._relations = relations
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        event = f"{_ROOM}/relations/{{event_id}}"
        return [
            Route("GET", event, self.children),
            Route("GET", event + "/{rel_type}", self.children),
            Route("GET", event + "/{rel_type}/{event_type}", self.children),
            Route("GET", f"{_ROOM}/threads", self.threads),
        ]

    async def children(self, call: Call) -> dict[str, Any]:
        """A page of the events that relate to one."""
        recurse = call.query.flag("recurse")
        return await self._relations.children(
            viewer(call),
            self._ours.room(call.path["room_id"]),
            call.path["event_id"],
            rel_type=call.path.get("rel_type"),
            event_type=call.path.get("event_type"),
            backwards=call.query.choice("dir", ("b", "f"), "b") == "b",
            start=call.query.text("from"),
            end=call.query.text("to"),
            limit=call.query.integer("limit", DEFAULT_PAGE),
            recurse=None if call.query.text("recurse") is None else recurse,
        )

    async def threads(self, call: Call) -> dict[str, Any]:
        """A page of the threads of a room."""
        include = call.query.choice("include", ("all", "participated"), "all")
        return await self._relations.threads(
            viewer(call),
            self._ours.room(call.path["room_id"]),
            only_own=include == "participated",
            start=call.query.text("from"),
            limit=call.query.integer("limit", DEFAULT_PAGE),
        )
