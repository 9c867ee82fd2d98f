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
        """People whose name or id contains ``term`` in any case, without the one who asks.

        A neighbourhood is small enough to look at everybody. The databases would not do: SQLite
        knows the case of no letters but those of English.
        """
        limit = max(1, min(limit, MAX_RESULTS))
        wanted = term.casefold()
        everybody = await self.store.read(lambda txn: user_directory.everybody(txn, asker))
        found = [
            person
            for person in everybody
            if wanted in person["user_id"].casefold()
            or wanted in person.get("display_name", "").casefold()
        ]
        return {"limited": len(found) > limit, "results": found[:limit]}
