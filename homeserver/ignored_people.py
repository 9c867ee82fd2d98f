"""Whom people ignore (client-server API, "Ignoring Users").

What an ignored person sends is not shown, except for state; their invites, typing, receipts and
presence are not either, and nothing of theirs notifies. Nothing is thrown away: whoever ignores
them no more finds all of it with a fresh /sync. Their to-device messages do come, since the keys to
what they say meanwhile are among them.
"""

from collections.abc import Sequence
from typing import TypeGuard

import orjson

from schema.errors import TooLarge
from storage import account_data
from storage.account_data import AccountDataSet
from storage.store import Store
from storage.stream import Change

IGNORED = "m.ignored_user_list"
MAX_IGNORED = 5_000
_NOBODY: frozenset[str] = frozenset()


class IgnoredPeople:
    """The lists in memory: one entry for each person who ignores somebody. Follows the stream."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_user: dict[str, frozenset[str]] = {}

    def load(self) -> None:
        """Fill the memory; once, before the reactor runs."""
        for user_id, json in self._store.load(lambda txn: account_data.of_type(txn, IGNORED)):
            self._put(user_id, json)

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if is_ignore_list(change):
                self._put(change.users[0], change.json)

    def of(self, user_id: str) -> frozenset[str]:
        """Whom somebody ignores; mostly nobody."""
        return self._by_user.get(user_id, _NOBODY)

    def _put(self, user_id: str, json: str) -> None:
        ignored = _people(json) - {user_id}
        if ignored:
            self._by_user[user_id] = ignored
        else:
            self._by_user.pop(user_id, None)


def is_ignore_list(change: Change) -> TypeGuard[AccountDataSet]:
    """Whether a change is that of a list."""
    return isinstance(change, AccountDataSet) and (change.room_id, change.type) == ("", IGNORED)


def check_ignore_list(data_type: str, json: str) -> None:
    """Refuse a list that is too long to be asked for each event.

    Raises:
        TooLarge: it is.
    """
    if data_type == IGNORED and len(_people(json)) > MAX_IGNORED:
        raise TooLarge(f"One person can ignore at most {MAX_IGNORED} others")


def _people(json: str) -> frozenset[str]:
    """Those on a list; nobody on what is none."""
    listed = orjson.loads(json).get("ignored_users")
    return frozenset(listed) if isinstance(listed, dict) else _NOBODY
