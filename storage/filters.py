"""Filters that people have saved."""

from storage.transaction import Transaction, WriteTransaction


def find(txn: Transaction, user_id: str, filter_id: int) -> str | None:
    """The JSON text of a filter."""
    json: str | None = txn.value(
        "SELECT json FROM filters WHERE user_id = ? AND filter_id = ?", user_id, filter_id
    )
    return json


def find_same(txn: Transaction, user_id: str, json: str) -> int | None:
    """The id of a filter with exactly this text."""
    filter_id: int | None = txn.value(
        "SELECT filter_id FROM filters WHERE user_id = ? AND json = ?", user_id, json
    )
    return filter_id


def newest(txn: Transaction, user_id: str) -> int:
    """The highest id in use; 0 if none is."""
    newest_id: int | None = txn.value(
        "SELECT MAX(filter_id) FROM filters WHERE user_id = ?", user_id
    )
    return newest_id or 0


def add(txn: WriteTransaction, user_id: str, filter_id: int, json: str) -> None:
    """Keep a filter."""
    txn.run(
        "INSERT INTO filters (user_id, filter_id, json) VALUES (?, ?, ?)",
        user_id,
        filter_id,
        json,
    )


def forget_before(txn: WriteTransaction, user_id: str, filter_id: int) -> None:
    """Drop the oldest ones."""
    txn.run("DELETE FROM filters WHERE user_id = ? AND filter_id < ?", user_id, filter_id)
