"""Jumping to a date."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.rooms.timestamps import Timestamps
from rest.routing import Call, Route


class TimestampsApi:
    """Client-server API, ``timestamp_to_event``."""

    def __init__(self, timestamps: Timestamps, ours: Ours) -> None:
        self._timestamps = timestamps
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        path = "/_matrix/client/v1/rooms/{room_id}/timestamp_to_event"
        return [Route("GET", path, self.closest)]

    async def closest(self, call: Call) -> dict[str, Any]:
        """The event that is closest to a moment."""
        call.query.needed("ts")
        moment = await self._timestamps.closest(
            call.requester.user_id,
            self._ours.room(call.path["room_id"]),
            call.query.integer("ts", 0),
            backwards=call.query.choice("dir", ("f", "b")) == "b",
        )
        return {"event_id": moment.event_id, "origin_server_ts": moment.origin_server_ts}
