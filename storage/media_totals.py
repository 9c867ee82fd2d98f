"""Media: how many bytes are stored for whom."""

from collections.abc import Iterable, Mapping

from storage.transaction import Transaction, WriteTransaction


def totals(txn: Transaction, owners: Iterable[str]) -> dict[str, int]:
    """The bytes of each of these owners who has any."""
    return dict(txn.among("SELECT owner, bytes FROM media_totals WHERE owner IN (??)", owners))


def add(txn: WriteTransaction, changes: Mapping[str, int]) -> None:
    """Change the bytes of each owner by a number, which may be negative."""
    txn.many(
        "INSERT INTO media_totals (owner, bytes) VALUES (?, ?)"
        " ON CONFLICT (owner) DO UPDATE SET bytes = media_totals.bytes + excluded.bytes",
        changes.items(),
    )
