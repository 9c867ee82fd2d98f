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
        """People whose name and id have all words of ``term`` in any case, without who asks.

        First those whose name or id begins with it, then those who have a name.

        A neighbourhood is small enough to look at everybody. The databases would not do: SQLite
        knows the case of no letters but those of English.
        """
        limit = max(1, min(limit, MAX_RESULTS))
        wanted = term.casefold().strip()
        everybody = await self.store.read(lambda txn: user_directory.everybody(txn, asker))
        found = [
            person
            for person in everybody
            if all(word in f"{person['user_id']} {_name(person)}" for word in wanted.split())
        ]
        found.sort(key=lambda person: _rank(person, wanted))
        return {"limited": len(found) > limit, "results": found[:limit]}


def _name(person: dict[str, Any]) -> str:
    return str(person.get("display_name", "")).casefold()


def _rank(person: dict[str, Any], wanted: str) -> tuple[bool, bool]:
    begins = _name(person).startswith(wanted)
    begins = begins or person["user_id"].removeprefix("@").startswith(wanted.removeprefix("@"))
    return not begins, "display_name" not in person
