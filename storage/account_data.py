"""What people keep for themselves, about everything or about one room.

What they have deleted stays as an empty object, so that their other devices hear of it.
"""

from attrs import frozen

from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction


@frozen(kw_only=True)
class AccountDataSet(Change):
    """Somebody's account data changed; ``room_id`` is empty if it is about no room."""

    room_id: str
    type: str
    json: str


GONE = "{}"


@frozen
class Datum:
    """One piece: its room, its type, its content as JSON text, and when it was set."""

    room_id: str
    type: str
    json: str
    position: int


def put(txn: WriteTransaction, user_id: str, datum: Datum) -> None:
    """Keep a piece of account data."""
    txn.later(
        "INSERT INTO account_data (user_id, room_id, type, json, position)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_id, room_id, type) DO UPDATE SET"
        " json = excluded.json, position = excluded.position",
        user_id,
        datum.room_id,
        datum.type,
        datum.json,
        datum.position,
    )


def find(txn: Transaction, user_id: str, room_id: str, data_type: str) -> str | None:
    """The content of one piece, as JSON text; None also if it has been deleted."""
    json: str | None = txn.value(
        "SELECT json FROM account_data"
        " WHERE user_id = ? AND room_id = ? AND type = ? AND json <> '{}'",
        user_id,
        room_id,
        data_type,
    )
    return json


def of_type(txn: Transaction, data_type: str) -> list[tuple[str, str]]:
    """Everybody's data of one type that is about no room: the person, and the JSON text."""
    rows = txn.all(
        "SELECT user_id, json FROM account_data WHERE room_id = '' AND type = ?", data_type
    )
    return [(user_id, json) for user_id, json in rows]


def size(txn: Transaction, user_id: str) -> tuple[int, int]:
    """How much a person keeps: pieces, and characters in all."""
    row = txn.one("SELECT COUNT(*), SUM(LENGTH(json)) FROM account_data WHERE user_id = ?", user_id)
    assert row is not None
    return int(row[0]), int(row[1] or 0)


def since(txn: Transaction, user_id: str, after: int, upto: int) -> list[Datum]:
    """What changed after one position and up to another, and what was deleted."""
    rows = txn.all(
        "SELECT room_id, type, json, position FROM account_data"
        " WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position",
        user_id,
        after,
        upto,
    )
    return [Datum(*row) for row in rows]


def remove_all(txn: WriteTransaction, user_id: str) -> None:
    """Everything that a person keeps."""
    txn.run("DELETE FROM account_data WHERE user_id = ?", user_id)
