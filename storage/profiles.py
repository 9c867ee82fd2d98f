"""What people show of themselves."""

from typing import Any

import orjson

from storage.transaction import Transaction, WriteTransaction


def fields(txn: Transaction, user_id: str) -> dict[str, Any]:
    """Every field of a person's profile."""
    rows = txn.all("SELECT field, json FROM profiles WHERE user_id = ?", user_id)
    return {field: orjson.loads(json) for field, json in rows}


def put(txn: WriteTransaction, user_id: str, field: str, json: str) -> None:
    """Set a field to a JSON text."""
    txn.run(
        "INSERT INTO profiles (user_id, field, json) VALUES (?, ?, ?)"
        " ON CONFLICT (user_id, field) DO UPDATE SET json = excluded.json",
        user_id,
        field,
        json,
    )


def remove(txn: WriteTransaction, user_id: str, field: str) -> None:
    """Take a field away."""
    txn.run("DELETE FROM profiles WHERE user_id = ? AND field = ?", user_id, field)


def remove_all(txn: WriteTransaction, user_id: str) -> None:
    """Take the whole profile away."""
    txn.run("DELETE FROM profiles WHERE user_id = ?", user_id)
