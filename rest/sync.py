"""/sync and the filters that it takes."""

from collections.abc import Mapping
from typing import Any

import orjson

from homeserver.metrics import current_operation
from homeserver.presence import STATES, Presence
from homeserver.rooms.client_events import Viewer
from homeserver.sync.filters import Filter
from homeserver.sync.request import SyncRequest
from homeserver.sync.saved_filters import SavedFilters
from homeserver.sync.sync import Sync
from homeserver.sync.token import SyncToken
from rest.routing import Access, Call, Route
from schema.errors import Forbidden, InvalidParam

MAX_WAIT_MS = 120_000
_STATE_AFTER = {
    "use_state_after": "state_after",
    "org.matrix.msc4222.use_state_after": "org.matrix.msc4222.state_after",
}


class SyncApi:
    """Client-server API, "Syncing" and "Filtering"."""

    def __init__(self, sync: Sync, filters: SavedFilters, presence: Presence) -> None:
        self._sync = sync
        self._filters = filters
        self._presence = presence

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        filters = "/_matrix/client/v3/user/{user_id}/filter"
        return [
            Route("GET", "/_matrix/client/v3/sync", self.sync, Access.GUEST, waits=True),
            Route("POST", filters, self.save_filter, body="filter"),
            Route("GET", filters + "/{filter_id}", self.read_filter),
        ]

    async def sync(self, call: Call) -> Mapping[str, Any]:
        """What happened since the token, now or as soon as something does."""
        requester = call.requester
        timeout = call.query.integer("timeout", 0, most=MAX_WAIT_MS)
        presence = call.query.choice("set_presence", STATES, "online")
        self._presence.seen(requester.user_id, requester.device_id, presence, timeout)
        since = call.query.text("since")
        wanted = await self._filter(call)
        answer, waited = await self._sync.answer(
            SyncRequest(
                Viewer(requester.user_id, requester.device_id),
                SyncToken.parse(since) if since else None,
                wanted,
                full_state=call.query.flag("full_state"),
                state_after=next(
                    (name for flag, name in _STATE_AFTER.items() if call.query.flag(flag)), None
                ),
            ),
            timeout / 1000,
        )
        operation = current_operation.get()
        if operation is not None:
            operation.waited_seconds = waited
        return answer if wanted.event_fields is None else _only_fields(answer, wanted)

    async def _filter(self, call: Call) -> Filter:
        text = call.query.text("filter")
        if not text:
            return Filter.DEFAULT
        if text.startswith("{"):
            try:
                return Filter.parse(orjson.loads(text))
            except orjson.JSONDecodeError:
                raise InvalidParam("The filter is not JSON") from None
        return await self._filters.get(call.requester.user_id, text)

    async def save_filter(self, call: Call) -> dict[str, Any]:
        """Keep a filter for later requests."""
        self._check_own(call)
        return {"filter_id": await self._filters.save(call.requester.user_id, call.body)}

    async def read_filter(self, call: Call) -> dict[str, Any]:
        """A filter as it was saved."""
        self._check_own(call)
        return await self._filters.read(call.requester.user_id, call.path["filter_id"])

    @staticmethod
    def _check_own(call: Call) -> None:
        if call.path["user_id"] != call.requester.user_id:
            raise Forbidden("Filters are personal: you can only use your own")


def _only_fields(answer: dict[str, Any], wanted: Filter) -> dict[str, Any]:
    """Cut the rooms' events down to the fields that the client wants. Rare, so not fast."""
    whole: dict[str, Any] = orjson.loads(orjson.dumps(answer))
    for rooms in whole.get("rooms", {}).values():
        for section in rooms.values():
            for part in section.values():
                if isinstance(part, dict) and "events" in part:
                    part["events"] = [wanted.select_fields(event) for event in part["events"]]
    return whole
