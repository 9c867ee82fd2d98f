"""Locking and suspending accounts."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.moderation import Moderation
from rest.routing import Access, Call, Route
from schema import ids
from schema.errors import InvalidParam

_ADMIN = "/_matrix/client/v1/admin"


class ModerationApi:
    """Client-server API, "Server Administration": lock and suspend."""

    def __init__(self, moderation: Moderation, ours: Ours) -> None:
        self._moderation = moderation
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        lock, suspend = f"{_ADMIN}/lock/{{user_id}}", f"{_ADMIN}/suspend/{{user_id}}"
        return [
            Route("GET", lock, self.is_locked, Access.ADMIN),
            Route("PUT", lock, self.lock, Access.ADMIN, body="admin.lock"),
            Route("GET", suspend, self.is_suspended, Access.ADMIN),
            Route("PUT", suspend, self.suspend, Access.ADMIN, body="admin.suspend"),
        ]

    async def is_locked(self, call: Call) -> dict[str, Any]:
        """Whether an account is locked."""
        admin, user_id = call.requester.user_id, self._subject(call)
        return {"locked": await self._moderation.is_locked(admin, user_id)}

    async def lock(self, call: Call) -> dict[str, Any]:
        """Lock an account, or unlock it."""
        locked = call.body["locked"]
        await self._moderation.set_locked(call.requester.user_id, self._subject(call), locked)
        return {"locked": locked}

    async def is_suspended(self, call: Call) -> dict[str, Any]:
        """Whether an account is suspended."""
        admin, user_id = call.requester.user_id, self._subject(call)
        return {"suspended": await self._moderation.is_suspended(admin, user_id)}

    async def suspend(self, call: Call) -> dict[str, Any]:
        """Suspend an account, or lift that."""
        suspended = call.body["suspended"]
        await self._moderation.set_suspended(call.requester.user_id, self._subject(call), suspended)
        return {"suspended": suspended}

    def _subject(self, call: Call) -> str:
        user_id = ids.user_id(call.path["user_id"])
        if not self._ours.owns(user_id):
            raise InvalidParam(f"{user_id} does not belong to this server")
        return user_id
