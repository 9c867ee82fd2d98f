"""Finding people: the user directory (client-server API, "User Directory")."""

from typing import Any

from attrs import frozen

from storage import user_directory
from storage.store import Store

MAX_RESULTS = 50


@frozen
class UserDirectory:
    """Finds the people of this server. They are neighbours: everybody may find everybody."""

    store: Store

    async def search(self, asker: str, term: str, limit: int) -> dict[str, Any]:
        """People whose name or id contains ``term``, without the one who asks."""
        limit = max(1, min(limit, MAX_RESULTS))
        found = await self.store.read(
            lambda txn: user_directory.search(txn, term, asker, limit + 1)
        )
        return {"limited": len(found) > limit, "results": found[:limit]}
