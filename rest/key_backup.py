"""Key backups over HTTP (client-server API, "Server-side key backups")."""

from typing import Any

import orjson

from e2e.key_backup import KeyBackups
from rest.routing import Answer, Call, Route
from schema.errors import NotFound

LARGEST_UPLOAD = 32 * 1024 * 1024


class KeyBackupApi:
    """The routes below /room_keys."""

    def __init__(self, backups: KeyBackups) -> None:
        self._backups = backups

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        versions = "/_matrix/client/v3/room_keys/version"
        version = f"{versions}/{{version}}"
        routes = [
            Route("POST", versions, self.create, body="room_keys.version", limit="keys"),
            Route("GET", versions, self.describe, limit="keys"),
            Route("GET", version, self.describe, limit="keys"),
            Route("PUT", version, self.update, body="room_keys.version", limit="keys"),
            Route("DELETE", version, self.delete, limit="keys"),
        ]
        keys = "/_matrix/client/v3/room_keys/keys"
        for path, body, store, read in (
            (keys, "room_keys.keys", self.store, self.read),
            (f"{keys}/{{room_id}}", "room_keys.room", self.store_room, self.read_room),
            (
                f"{keys}/{{room_id}}/{{session_id}}",
                "room_keys.session",
                self.store_session,
                self.read_session,
            ),
        ):
            routes += [
                Route("PUT", path, store, body=body, limit="keys", max_body=LARGEST_UPLOAD),
                Route("GET", path, read, limit="keys"),
                Route("DELETE", path, self.remove, limit="keys"),
            ]
        return routes

    async def create(self, call: Call) -> dict[str, Any]:
        """Start a new backup."""
        user_id, body = call.requester.user_id, call.body
        version = await self._backups.create(user_id, body["algorithm"], body["auth_data"])
        return {"version": version}

    async def describe(self, call: Call) -> dict[str, Any]:
        """What there is to say about a backup."""
        return await self._backups.describe(call.requester.user_id, call.path.get("version"))

    async def update(self, call: Call) -> dict[str, Any]:
        """Change a backup's ``auth_data``."""
        body = call.body
        await self._backups.update(
            call.requester.user_id,
            call.path["version"],
            body["algorithm"],
            body["auth_data"],
            body.get("version"),
        )
        return {}

    async def delete(self, call: Call) -> dict[str, Any]:
        """Remove a backup."""
        await self._backups.delete(call.requester.user_id, call.path["version"])
        return {}

    async def store(self, call: Call) -> dict[str, Any]:
        """Put keys of several rooms into the current backup."""
        rooms = {room_id: room["sessions"] for room_id, room in call.body["rooms"].items()}
        return await self._store(call, rooms)

    async def store_room(self, call: Call) -> dict[str, Any]:
        """Put keys of one room into the current backup."""
        return await self._store(call, {call.path["room_id"]: call.body["sessions"]})

    async def store_session(self, call: Call) -> dict[str, Any]:
        """Put one key into the current backup."""
        return await self._store(call, {call.path["room_id"]: {call.path["session_id"]: call.body}})

    async def read(self, call: Call) -> dict[str, Any]:
        """All keys of a backup."""
        rooms = await self._read(call)
        return {"rooms": {room_id: {"sessions": sessions} for room_id, sessions in rooms.items()}}

    async def read_room(self, call: Call) -> dict[str, Any]:
        """The keys of one room."""
        return {"sessions": (await self._read(call)).get(call.path["room_id"], {})}

    async def read_session(self, call: Call) -> Answer:
        """One key."""
        sessions = (await self._read(call)).get(call.path["room_id"], {})
        if call.path["session_id"] not in sessions:
            raise NotFound("No room_keys found")
        return Answer(orjson.dumps(sessions[call.path["session_id"]]))

    async def remove(self, call: Call) -> dict[str, Any]:
        """Remove keys from a backup."""
        return await self._backups.remove(
            call.requester.user_id,
            call.query.needed("version"),
            call.path.get("room_id"),
            call.path.get("session_id"),
        )

    async def _store(self, call: Call, rooms: Any) -> dict[str, Any]:
        version = call.query.needed("version")
        return await self._backups.store(call.requester.user_id, version, rooms)

    async def _read(self, call: Call) -> dict[str, Any]:
        return await self._backups.read(
            call.requester.user_id,
            call.query.needed("version"),
            call.path.get("room_id"),
            call.path.get("session_id"),
        )
