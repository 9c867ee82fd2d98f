"""Receipts and read markers."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.receipts import TYPES, Receipts
from rest.routing import Call, Route
from schema.errors import InvalidParam

_ROOM = "/_matrix/client/v3/rooms/{room_id}"


class ReceiptsApi:
    """Client-server API, "Receipts" and "Read and unread markers"."""

    def __init__(self, receipts: Receipts, ours: Ours) -> None:
        self._receipts = receipts
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [
            Route(
                "POST",
                f"{_ROOM}/receipt/{{receipt_type}}/{{event_id}}",
                self.receipt,
                body="receipt",
            ),
            Route("POST", f"{_ROOM}/read_markers", self.markers, body="read_markers"),
        ]

    async def receipt(self, call: Call) -> dict[str, Any]:
        """Move one receipt."""
        receipt_type = call.path["receipt_type"]
        if receipt_type not in TYPES:
            raise InvalidParam(f"A receipt is one of {', '.join(TYPES)}")
        thread_id = call.body.get("thread_id")
        if thread_id is not None and receipt_type == "m.fully_read":
            raise InvalidParam("The fully-read marker belongs to no thread")
        await self._receipts.move(
            call.requester,
            self._ours.room(call.path["room_id"]),
            [(receipt_type, call.path["event_id"])],
            thread_id,
        )
        return {}

    async def markers(self, call: Call) -> dict[str, Any]:
        """Move several at once."""
        marks = [(name, call.body[name]) for name in TYPES if call.body.get(name)]
        await self._receipts.move(call.requester, self._ours.room(call.path["room_id"]), marks)
        return {}
