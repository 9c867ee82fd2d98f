"""What came before /sync. Clients of today do not need it."""

from time import perf_counter
from typing import Any

from federation_disabled.ours import Ours
from homeserver.metrics import current_operation
from homeserver.rooms.client_events import Viewer
from homeserver.sync.old_sync import OldSync
from rest.routing import Access, Call, Route
from rest.sync import MAX_WAIT_MS

MAX_EVENTS = 100


class OldSyncApi:
    """Client-server API, "Syncing" (deprecated endpoints) and "Room Previews"."""

    def __init__(self, old_sync: OldSync, ours: Ours) -> None:
        self._old_sync = old_sync
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        v3 = "/_matrix/client/v3"
        return [
            Route("GET", f"{v3}/initialSync", self.everything),
            Route("GET", f"{v3}/rooms/{{room_id}}/initialSync", self.room, Access.GUEST),
            Route("GET", f"{v3}/events", self.stream, Access.GUEST, waits=True),
            Route("GET", f"{v3}/events/{{event_id}}", self.event),
        ]

    async def everything(self, call: Call) -> Any:
        """All rooms with their newest events."""
        limit = call.query.integer("limit", 10, most=MAX_EVENTS)
        return await self._old_sync.everything(_viewer(call), limit, call.query.flag("archived"))

    async def room(self, call: Call) -> Any:
        """One room with its newest events."""
        limit = call.query.integer("limit", 10, least=1, most=MAX_EVENTS)
        return await self._old_sync.room(
            _viewer(call), self._ours.room(call.path["room_id"]), limit
        )

    async def stream(self, call: Call) -> Any:
        """What happens, everywhere or in one room."""
        timeout = call.query.integer("timeout", 0, most=MAX_WAIT_MS) / 1000
        start, room_id = call.query.text("from") or None, call.query.text("room_id")
        began = perf_counter()
        if room_id is None:
            answer = await self._old_sync.stream(_viewer(call), start, timeout)
        else:
            room = self._ours.room(room_id)
            answer = await self._old_sync.peek(_viewer(call), room, start, timeout)
        operation = current_operation.get()
        if operation is not None:
            operation.waited_seconds = perf_counter() - began
        return answer

    async def event(self, call: Call) -> Any:
        """One event, of whatever room."""
        return await self._old_sync.event(_viewer(call), call.path["event_id"])


def _viewer(call: Call) -> Viewer:
    return Viewer(call.requester.user_id, call.requester.device_id)
