"""Hiding conversations: an addition of this server's own, under its own prefix."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.rooms.hide import HiddenRooms, Hide
from rest.routing import Call, Route

_ROOMS = "/_hearth/client/v1/hidden_rooms"


class HideApi:
    """``/_hearth/client/v1/hidden_rooms``: PUT hides a room, DELETE shows it, GET lists them."""

    def __init__(self, hide: Hide, hidden: HiddenRooms, ours: Ours) -> None:
        self._hide = hide
        self._hidden = hidden
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        one = _ROOMS + "/{room_id}"
        return [
            Route("GET", _ROOMS, self.list),
            Route("PUT", one, self.hide),
            Route("DELETE", one, self.show),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """The rooms that the person hides."""
        hidden = self._hidden.of(call.requester.user_id).values()
        return {"rooms": sorted(hiding.room_id for hiding in hidden if hiding.is_hidden)}

    async def hide(self, call: Call) -> dict[str, Any]:
        """Hide a room."""
        await self._hide.change(call.requester, self._ours.room(call.path["room_id"]), True)
        return {}

    async def show(self, call: Call) -> dict[str, Any]:
        """Show it again."""
        await self._hide.change(call.requester, self._ours.room(call.path["room_id"]), False)
        return {}
