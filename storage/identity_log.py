"""What happened to people's devices and cross-signing keys."""

from collections.abc import Iterable

from attrs import frozen

from storage.transaction import Row, Transaction, WriteTransaction


@frozen
class Entry:
    """One thing that happened."""

    position: int
    happened_at: int
    type: str
    subject: str
    """A device id, or a public key."""
    display_name: str | None


def add(txn: WriteTransaction, user_id: str, entries: Iterable[Entry]) -> None:
    """Write down what happened."""
    txn.many(
        "INSERT INTO identity_log (user_id, position, happened_at, type, subject, display_name)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (user_id, each.position, each.happened_at, each.type, each.subject, each.display_name)
            for each in entries
        ],
    )


def trim(txn: WriteTransaction, user_id: str, most: int) -> None:
    """Keep the newest ``most`` entries of somebody."""
    txn.run(
        "DELETE FROM identity_log WHERE user_id = ? AND position <= (SELECT position"
        " FROM identity_log WHERE user_id = ? ORDER BY position DESC LIMIT 1 OFFSET ?)",
        user_id,
        user_id,
        most,
    )


def page(txn: Transaction, user_id: str, before: int, most: int) -> list[Entry]:
    """The newest entries of somebody before a position, newest first."""
    rows = txn.all(
        "SELECT position, happened_at, type, subject, display_name FROM identity_log"
        " WHERE user_id = ? AND position < ? ORDER BY position DESC LIMIT ?",
        user_id,
        before,
        most,
    )
    return [Entry(*row) for row in rows]


def add_master_key(
    txn: WriteTransaction, user_id: str, position: int, public_key: str, now: int
) -> None:
    """Somebody has another master key from now on."""
    txn.run(
        "UPDATE master_keys SET replaced_at = ? WHERE user_id = ? AND replaced_at IS NULL",
        now,
        user_id,
    )
    txn.run(
        "INSERT INTO master_keys (user_id, position, public_key, added_at) VALUES (?, ?, ?, ?)",
        user_id,
        position,
        public_key,
        now,
    )


def trim_master_keys(txn: WriteTransaction, user_id: str, most: int) -> None:
    """Remember the newest ``most`` master keys of somebody."""
    txn.run(
        "DELETE FROM master_keys WHERE user_id = ? AND position <= (SELECT position"
        " FROM master_keys WHERE user_id = ? ORDER BY position DESC LIMIT 1 OFFSET ?)",
        user_id,
        user_id,
        most,
    )


def master_keys(txn: Transaction, user_id: str) -> list[Row]:
    """Public key, since when and until when, of every master key of somebody, newest first."""
    return txn.all(
        "SELECT public_key, added_at, replaced_at FROM master_keys WHERE user_id = ?"
        " ORDER BY position DESC",
        user_id,
    )


def delete(txn: WriteTransaction, user_id: str) -> None:
    """Forget everything that happened to somebody's devices."""
    txn.run("DELETE FROM identity_log WHERE user_id = ?", user_id)


def delete_master_keys(txn: WriteTransaction, user_id: str) -> None:
    """Forget every master key that somebody has had."""
    txn.run("DELETE FROM master_keys WHERE user_id = ?", user_id)
