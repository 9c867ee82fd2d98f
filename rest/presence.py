"""Typing notices and presence."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.presence import Presence
from homeserver.typing_notices import TypingNotices
from rest.routing import Call, Route
from schema.errors import Forbidden


class PresenceApi:
    """Client-server API, "Typing Notifications" and "Presence"."""

    def __init__(self, typing: TypingNotices, presence: Presence, ours: Ours) -> None:
        self._typing = typing
        self._presence = presence
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        status = "/_matrix/client/v3/presence/{user_id}/status"
        return [
            Route(
                "PUT",
                "/_matrix/client/v3/rooms/{room_id}/typing/{user_id}",
                self.type,
                body="typing",
            ),
            Route("GET", status, self.read_status),
            Route("PUT", status, self.set_status, body="presence"),
        ]

    async def type(self, call: Call) -> dict[str, Any]:
        """Start or stop typing."""
        if call.path["user_id"] != call.requester.user_id:
            raise Forbidden("You can only type yourself")
        room_id = self._ours.room(call.path["room_id"])
        if call.body["typing"]:
            seconds = max(0, call.body.get("timeout", 30_000)) / 1000
            await self._typing.start(call.requester, room_id, seconds)
        else:
            await self._typing.stop(call.requester, room_id)
        return {}

    async def read_status(self, call: Call) -> dict[str, Any]:
        """How somebody is."""
        return self._presence.get(call.requester.user_id, self._ours.user(call.path["user_id"]))

    async def set_status(self, call: Call) -> dict[str, Any]:
        """Say how one is."""
        self._presence.set(
            call.requester.user_id,
            call.requester.device_id,
            self._ours.user(call.path["user_id"]),
            call.body["presence"],
            call.body.get("status_msg"),
        )
        return {}
