"""Rooms in short."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.directory import Directory
from homeserver.rooms.summaries import Summaries
from rest.routing import Access, Call, Route

_UNSTABLE = "/_matrix/client/unstable/im.nheko.summary"


class SummariesApi:
    """Client-server API, "Room Summaries"; clients still use older names of it, too."""

    def __init__(self, summaries: Summaries, directory: Directory, ours: Ours) -> None:
        self._summaries = summaries
        self._directory = directory
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        stable = "/_matrix/client/v1/room_summary/{room}"
        return [
            Route("GET", stable, self.summary, Access.OPTIONAL),
            Route("GET", f"{_UNSTABLE}/summary/{{room}}", self.old_summary, Access.OPTIONAL),
            Route("GET", f"{_UNSTABLE}/rooms/{{room}}/summary", self.old_summary, Access.OPTIONAL),
        ]

    async def summary(self, call: Call) -> dict[str, Any]:
        """One room, by its id or an alias."""
        name = call.path["room"]
        if name.startswith("#"):
            room_id = await self._directory.resolve(self._ours.alias(name))
        else:
            room_id = self._ours.room(name)
        return await self._summaries.summary(room_id, getattr(call.requester, "user_id", None))

    async def old_summary(self, call: Call) -> dict[str, Any]:
        """COMPAT(MSC3266): the same; what came last into it had names of its own."""
        summary = await self.summary(call)
        summary["im.nheko.summary.room_version"] = summary["room_version"]
        if "encryption" in summary:
            summary["im.nheko.summary.encryption"] = summary["encryption"]
        return summary
