"""Who has asked for what they sent to be erased (client-server API, "Account deactivation").

Nothing is deleted: ``rooms/erased`` says who is shown what. In memory: one entry per person.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Final

from attrs import frozen

from storage import erasures
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction

_NOBODY: Final[Mapping[str, int]] = {}


@frozen(kw_only=True)
class PersonErased(Change):
    """What ``user_id`` has sent is erased. Nobody's /sync shows it."""

    user_id: str


class Erasures:
    """The people who are erased. Follows the stream."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._positions: dict[str, int] = {}

    def load(self) -> None:
        """Fill the memory; once, before the reactor runs."""
        self._positions = dict(self._store.load(erasures.erased_accounts))

    def __len__(self) -> int:
        return len(self._positions)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, PersonErased):
                self._positions[change.user_id] = change.position

    def among(self, people: Container[str]) -> Mapping[str, int]:
        """Those of some people who are erased, and since which position of the stream."""
        if not self._positions:
            return _NOBODY
        return {who: position for who, position in self._positions.items() if who in people}

    def closed(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: an account ends, and its person may want to be erased.

        Comes after they have left their rooms, so that nothing of theirs comes later.
        """
        if erase:
            position = txn.position()
            erasures.set_erased(txn, user_id, position)
            txn.announce(PersonErased(position=position, user_id=user_id))
