"""Reading rooms: messages, context, events, state, members."""

from typing import Any

import orjson

from federation_disabled.ours import Ours
from homeserver.rooms.client_events import Viewer
from homeserver.rooms.history import History
from homeserver.sync.filters import RoomEventFilter
from rest.routing import Access, Call, Route
from schema.errors import InvalidParam

_ROOM = "/_matrix/client/v3/rooms/{room_id}"
_MEMBERSHIPS = ("invite", "join", "knock", "leave", "ban")


class HistoryApi:
    """Client-server API, "Getting events for a room" and "Event Context"."""

    def __init__(self, history: History, ours: Ours) -> None:
        self._history = history
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        state = f"{_ROOM}/state/{{event_type}}"
        return [
            Route("GET", f"{_ROOM}/messages", self.messages, Access.GUEST),
            Route("GET", f"{_ROOM}/context/{{event_id}}", self.context, Access.GUEST),
            Route("GET", f"{_ROOM}/event/{{event_id}}", self.event, Access.GUEST),
            Route("GET", f"{_ROOM}/state", self.state, Access.GUEST),
            Route("GET", state, self.state_event, Access.GUEST),
            Route("GET", state + "/{state_key}", self.state_event, Access.GUEST),
            Route("GET", f"{_ROOM}/members", self.members, Access.GUEST),
            Route("GET", f"{_ROOM}/joined_members", self.joined_members),
        ]

    async def messages(self, call: Call) -> Any:
        """A page of the room's past."""
        return await self._history.messages(
            viewer(call),
            self._ours.room(call.path["room_id"]),
            backwards=call.query.choice("dir", ("b", "f")) == "b",
            start=call.query.text("from"),
            end=call.query.text("to"),
            limit=call.query.integer("limit", 10),
            wanted=event_filter(call),
        )

    async def context(self, call: Call) -> Any:
        """An event and what surrounds it."""
        return await self._history.context(
            viewer(call),
            self._ours.room(call.path["room_id"]),
            call.path["event_id"],
            call.query.integer("limit", 10),
            event_filter(call),
        )

    async def event(self, call: Call) -> Any:
        """One event."""
        return await self._history.event(
            viewer(call), self._ours.room(call.path["room_id"]), call.path["event_id"]
        )

    async def state(self, call: Call) -> Any:
        """The state of the room."""
        return await self._history.state(viewer(call), self._ours.room(call.path["room_id"]))

    async def state_event(self, call: Call) -> Any:
        """One piece of state: its content, or the whole event if asked for."""
        whole = call.query.choice("format", ("content", "event"), "content") == "event"
        content, event = await self._history.state_event(
            viewer(call),
            self._ours.room(call.path["room_id"]),
            call.path["event_type"],
            call.path.get("state_key", ""),
        )
        return event if whole else content

    async def members(self, call: Call) -> Any:
        """Membership events."""
        for name in ("membership", "not_membership"):
            call.query.choice(name, ("", *_MEMBERSHIPS), "")
        chunk = await self._history.members(
            viewer(call),
            self._ours.room(call.path["room_id"]),
            at=call.query.text("at"),
            wanted=call.query.text("membership"),
            unwanted=call.query.text("not_membership"),
        )
        return {"chunk": chunk}

    async def joined_members(self, call: Call) -> Any:
        """Who is in the room."""
        joined = await self._history.joined_members(
            call.requester.user_id, self._ours.room(call.path["room_id"])
        )
        return {"joined": joined}


def viewer(call: Call) -> Viewer:
    """Whose eyes the answer is for."""
    return Viewer(call.requester.user_id, call.requester.device_id)


def event_filter(call: Call) -> RoomEventFilter:
    """The query parameter ``filter``: JSON, or absent."""
    text = call.query.text("filter")
    if not text:
        return RoomEventFilter()
    try:
        return RoomEventFilter.parse(orjson.loads(text))
    except orjson.JSONDecodeError:
        raise InvalidParam("The query parameter `filter` must be JSON") from None
