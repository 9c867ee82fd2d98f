"""What happened to the requester's devices and identity, over HTTP."""

from typing import Any

from e2e.identity_log import LARGEST_PAGE, IdentityLog
from rest.routing import Call, Route

PAGE = 50


class IdentityLogApi:
    """Everybody reads their own log only."""

    def __init__(self, log: IdentityLog) -> None:
        self._log = log

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [
            Route("GET", "/_hearth/client/v1/identity_log", self.page),
            Route("GET", "/_hearth/client/v1/identity_log/master_keys", self.master_keys),
        ]

    async def page(self, call: Call) -> dict[str, Any]:
        """New, removed and changed devices and keys, newest first."""
        limit = call.query.integer("limit", PAGE, least=1, most=LARGEST_PAGE)
        return await self._log.page(call.requester.user_id, call.query.text("from"), limit)

    async def master_keys(self, call: Call) -> dict[str, Any]:
        """The master keys that the requester has and had."""
        return {"master_keys": await self._log.master_keys(call.requester.user_id)}
