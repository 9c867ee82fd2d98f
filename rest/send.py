"""Sending events: messages, state, redactions."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.rooms.redact_related import RedactRelated
from homeserver.rooms.send import Send
from rest.routing import Access, Call, Route
from schema.errors import InvalidParam

# MSC3912, which is not stable yet.
_WITH_RELATIONS = "org.matrix.msc3912.with_relations"
_ROOM = "/_matrix/client/v3/rooms/{room_id}"
LATEST = 2**53 - 1


class SendApi:
    """Client-server API, "Sending events to a room" and "Redactions"."""

    def __init__(self, send: Send, related: RedactRelated, ours: Ours) -> None:
        self._send = send
        self._related = related
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        state = f"{_ROOM}/state/{{event_type}}"
        return [
            Route(
                "PUT",
                f"{_ROOM}/send/{{event_type}}/{{txn_id}}",
                self.message,
                Access.GUEST,
                limit="message",
            ),
            Route("PUT", state, self.state, Access.GUEST, limit="message"),
            Route("PUT", state + "/{state_key}", self.state, Access.GUEST, limit="message"),
            Route(
                "PUT",
                f"{_ROOM}/redact/{{event_id}}/{{txn_id}}",
                self.redact,
                body="redact",
                limit="message",
            ),
        ]

    async def message(self, call: Call) -> dict[str, Any]:
        """Send a message event."""
        event_id = await self._send.message(
            call.requester,
            self._ours.room(call.path["room_id"]),
            call.path["event_type"],
            call.path["txn_id"],
            call.body,
            ts=_timestamp(call),
        )
        return {"event_id": event_id}

    async def state(self, call: Call) -> dict[str, Any]:
        """Set a piece of state."""
        if call.path["event_type"] == "m.room.member":
            self._ours.user(call.path.get("state_key", ""))
        event_id = await self._send.state(
            call.requester,
            self._ours.room(call.path["room_id"]),
            call.path["event_type"],
            call.path.get("state_key", ""),
            call.body,
            ts=_timestamp(call),
        )
        return {"event_id": event_id}

    async def redact(self, call: Call) -> dict[str, Any]:
        """Take the content of an event away, and of what relates to it if that is wanted."""
        room_id, redacted = self._ours.room(call.path["room_id"]), call.path["event_id"]
        content = {key: value for key, value in call.body.items() if key != _WITH_RELATIONS}
        event_id = await self._send.redact(
            call.requester, room_id, redacted, call.path["txn_id"], content
        )
        rel_types = call.body.get(_WITH_RELATIONS)
        if rel_types:
            await self._related.redact(call.requester, room_id, redacted, rel_types)
        return {"event_id": event_id}


def _timestamp(call: Call) -> int | None:
    """The time that an application service gives its event ("Timestamp massaging").

    Raises:
        InvalidParam: no event can have it.
    """
    given = call.query.text("ts")
    if given is None or call.requester.application_service is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 17 and int(given) <= LATEST):
        raise InvalidParam("`ts` must be a number of milliseconds since 1970")
    return int(given)
