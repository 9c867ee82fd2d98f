"""Replacing a room by one of another version."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.rooms.upgrade import Upgrade
from homeserver.rooms.versions import get_version
from rest.routing import Call, Route


class UpgradeApi:
    """Client-server API, "Room Upgrades"."""

    def __init__(self, upgrade: Upgrade, ours: Ours) -> None:
        self._upgrade = upgrade
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        path = "/_matrix/client/v3/rooms/{room_id}/upgrade"
        return [Route("POST", path, self.upgrade, body="upgrade", limit="create_room")]

    async def upgrade(self, call: Call) -> dict[str, Any]:
        """The id of the room that takes the place of the old one."""
        version = get_version(call.body["new_version"])
        named = call.body.get("additional_creators", []) if version.creators_privileged else []
        creators = [self._ours.user(user_id) for user_id in named]
        room_id = self._ours.room(call.path["room_id"])
        new_id = await self._upgrade.upgrade(call.requester, room_id, version, creators)
        return {"replacement_room": new_id}
