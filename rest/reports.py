"""Reporting events, rooms and people."""

from typing import Any

from homeserver.reports import Reports
from rest.routing import Call, Route
from schema import ids

_V3 = "/_matrix/client/v3"


class ReportsApi:
    """Client-server API, "Reporting Content"."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        room, person = f"{_V3}/rooms/{{room_id}}/report", f"{_V3}/users/{{user_id}}/report"
        return [
            Route("POST", room, self.room, body="report.room"),
            Route("POST", room + "/{event_id}", self.event, body="report"),
            Route("POST", person, self.person, body="report.user"),
        ]

    async def room(self, call: Call) -> dict[str, Any]:
        """Report a room."""
        room_id = ids.room_id(call.path["room_id"])
        await self._reports.room(call.requester.user_id, room_id, call.body["reason"])
        return {}

    async def event(self, call: Call) -> dict[str, Any]:
        """Report an event."""
        await self._reports.event(
            call.requester.user_id,
            ids.room_id(call.path["room_id"]),
            call.path["event_id"],
            call.body.get("reason") or "",
        )
        return {}

    async def person(self, call: Call) -> dict[str, Any]:
        """Report somebody."""
        user_id = ids.user_id(call.path["user_id"])
        await self._reports.person(call.requester.user_id, user_id, call.body["reason"])
        return {}
