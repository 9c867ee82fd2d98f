"""Media: how many bytes are stored for whom."""

from collections.abc import Iterable, Mapping

from storage.transaction import Transaction, WriteTransaction


def totals(txn: Transaction, owners: Iterable[str]) -> dict[str, int]:
    """The bytes of each of these owners who has any."""
    return dict(txn.among("SELECT owner, bytes FROM media_totals WHERE owner IN (??)", owners))


def of_fullest_family(txn: Transaction, user_id: str) -> int | None:
    """The bytes of everybody in a family of a person's; of several families the most."""
    most: int | None = txn.value(
        "SELECT COALESCE(SUM(t.bytes), 0) FROM members mine"
        " JOIN rooms r ON r.room_id = mine.room_id"
        " JOIN members theirs ON theirs.room_id = mine.room_id"
        " LEFT JOIN media_totals t ON t.owner = theirs.user_id WHERE mine.user_id = ?"
        " AND mine.membership = 'join' AND r.kind = 'family' AND theirs.membership = 'join'"
        " GROUP BY mine.room_id ORDER BY 1 DESC LIMIT 1",
        user_id,
    )
    return None if most is None else int(most)


def add(txn: WriteTransaction, changes: Mapping[str, int]) -> None:
    """Change the bytes of each owner by a number, which may be negative."""
    txn.many(
        "INSERT INTO media_totals (owner, bytes) VALUES (?, ?)"
        " ON CONFLICT (owner) DO UPDATE SET bytes = media_totals.bytes + excluded.bytes",
        changes.items(),
    )
