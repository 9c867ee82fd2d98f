"""What redacted events said."""

from storage.transaction import Transaction, WriteTransaction


def add(txn: WriteTransaction, position: int, json: str, now: int) -> None:
    """Keep the text of the event at a position of the stream."""
    txn.later(
        "INSERT INTO redacted_originals (position, json, redacted_at) VALUES (?, ?, ?)",
        position,
        json,
        now,
    )


def find(txn: Transaction, position: int) -> str | None:
    """The text of the event at a position of the stream, while it is kept."""
    text: str | None = txn.value("SELECT json FROM redacted_originals WHERE position = ?", position)
    return text


def any_before(txn: Transaction, redacted_at: int) -> bool:
    """Whether something was redacted at or before a time."""
    oldest = txn.value("SELECT MIN(redacted_at) FROM redacted_originals")
    return oldest is not None and oldest <= redacted_at


def forget(txn: WriteTransaction, redacted_at: int, limit: int) -> int:
    """Delete what was redacted at or before a time, oldest first; how many there were."""
    return txn.run(
        "DELETE FROM redacted_originals WHERE position IN (SELECT position FROM redacted_originals"
        " WHERE redacted_at <= ? ORDER BY redacted_at LIMIT ?)",
        redacted_at,
        limit,
    )
