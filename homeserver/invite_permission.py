"""Whose invites reach people (client-server API, "Invite permission" and "Ignoring Users").

Whoever blocks invites gets none, and who invites them is told; the invites of ignored people are
merely not shown.
"""

from collections.abc import Sequence

import orjson

from homeserver.ignored_people import IgnoredPeople
from schema.errors import InviteBlocked
from storage import account_data
from storage.account_data import AccountDataSet
from storage.store import Store
from storage.stream import Change

CONFIG = "m.invite_permission_config"


class InvitePermission:
    """Who blocks invites, in memory: one entry for each of them. Follows the stream."""

    def __init__(self, store: Store, ignored: IgnoredPeople) -> None:
        self._store = store
        self._ignored = ignored
        self._blocking: set[str] = set()

    def load(self) -> None:
        """Fill the memory; once, before the reactor runs."""
        for user_id, json in self._store.load(lambda txn: account_data.of_type(txn, CONFIG)):
            self._put(user_id, json)

    def __len__(self) -> int:
        return len(self._blocking)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, AccountDataSet) and (change.room_id, change.type) == ("", CONFIG):
                self._put(change.users[0], change.json)

    def check(self, user_id: str) -> None:
        """Refuse to invite somebody who blocks invites.

        Raises:
            InviteBlocked: they do.
        """
        if user_id in self._blocking:
            raise InviteBlocked(f"{user_id} does not accept invites")

    def shows(self, user_id: str, inviter: str) -> bool:
        """Whether somebody sees an invite that ``inviter`` has sent them."""
        return user_id not in self._blocking and inviter not in self._ignored.of(user_id)

    def _put(self, user_id: str, json: str) -> None:
        if orjson.loads(json).get("default_action") == "block":
            self._blocking.add(user_id)
        else:
            self._blocking.discard(user_id)
