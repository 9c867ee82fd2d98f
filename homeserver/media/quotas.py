"""How much may be stored: for one person, for their family, and for everybody together.

Client-server API, "Content repository", "Security considerations". Each person and
everybody are a row of ``media_totals``, kept in the transaction that adds or removes a file. What
a family stores is what its people do: those in its conversation.
"""

from collections import Counter
from collections.abc import Iterable

from attrs import frozen

from schema.errors import Forbidden
from storage import media_totals
from storage.transaction import Transaction, WriteTransaction

EVERYBODY = "*"
SMALLEST = 4096
"""What the smallest file counts: so the number of files is limited as well."""


@frozen
class Quotas:
    """Counts bytes and refuses those that are too many. 0: no limit."""

    of_a_person: int
    of_a_family: int
    of_everybody: int

    def check(self, txn: Transaction, user_id: str, size: int = 0) -> None:
        """Refuse another ``size`` bytes of somebody when there is no room for them.

        Raises:
            Forbidden: as the specification wants it, with the quota in its sentence.
        """
        used = media_totals.totals(txn, [user_id, EVERYBODY])
        size = max(size, SMALLEST)
        if 0 < self.of_a_person < used.get(user_id, 0) + size:
            raise Forbidden(
                f"You have no room left for this file: everybody has {_in_words(self.of_a_person)}"
                " on this server. Remove messages with files, or ask your organizer"
            )
        theirs = media_totals.of_fullest_family(txn, user_id) if self.of_a_family else None
        if theirs is not None and self.of_a_family < theirs + size:
            raise Forbidden(
                f"Your family has no room left for this file: it has {_in_words(self.of_a_family)}"
                " on this server. Remove messages with files, or ask your organizer"
            )
        if 0 < self.of_everybody < used.get(EVERYBODY, 0) + size:
            raise Forbidden("This server has no room left for files; tell your organizer")

    def take(self, txn: WriteTransaction, user_id: str, size: int) -> None:
        """Count a file that somebody stores.

        Raises:
            Forbidden: there is no room for it.
        """
        self.check(txn, user_id, size)
        size = max(size, SMALLEST)
        media_totals.add(txn, {user_id: size, EVERYBODY: size})

    def give_back(self, txn: WriteTransaction, files: Iterable[tuple[str, int]]) -> None:
        """Count no longer what was removed: whose files, and how large they were."""
        freed: Counter[str] = Counter()
        for user_id, size in files:
            freed[user_id] -= max(size, SMALLEST)
            freed[EVERYBODY] -= max(size, SMALLEST)
        media_totals.add(txn, freed)


def _in_words(size: int) -> str:
    """A number of bytes as people say it."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
