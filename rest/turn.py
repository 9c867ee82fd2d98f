"""Credentials for the relay of calls."""

from typing import Any

from homeserver.turn import Turn
from rest.routing import Call, Route
from schema.errors import NotFound


class TurnApi:
    """Client-server API, "Voice over IP"."""

    def __init__(self, turn: Turn | None) -> None:
        self._turn = turn

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [Route("GET", "/_matrix/client/v3/voip/turnServer", self.credentials)]

    async def credentials(self, call: Call) -> dict[str, Any]:
        """What the requester shows to the relay."""
        if self._turn is None:
            raise NotFound("This server has no TURN server: calls go without a relay")
        given = self._turn.credentials(call.requester.user_id)
        return {
            "username": given.username,
            "password": given.password,
            "uris": given.uris,
            "ttl": given.lifetime_seconds,
        }
