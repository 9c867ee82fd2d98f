"""How far people have read."""

from collections.abc import Iterable

from attrs import frozen

from storage.stream import Change
from storage.transaction import Row, Transaction, WriteTransaction

UNTHREADED = ""


@frozen
class Receipt:
    """One person's place in a room, or in one thread of it."""

    room_id: str
    user_id: str
    receipt_type: str
    thread_id: str
    event_id: str
    seq: int
    ts: int
    position: int


@frozen(kw_only=True)
class ReceiptMoved(Change):
    """Somebody has read on."""

    receipt: Receipt


_SELECT = (
    "SELECT room_id, user_id, receipt_type, thread_id, event_id, seq, ts, position FROM receipts"
)


def put(txn: WriteTransaction, receipt: Receipt) -> None:
    """Move a person's place."""
    txn.later(
        "INSERT INTO receipts"
        " (room_id, user_id, receipt_type, thread_id, event_id, seq, ts, position)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (room_id, user_id, receipt_type, thread_id) DO UPDATE SET"
        " event_id = excluded.event_id, seq = excluded.seq, ts = excluded.ts,"
        " position = excluded.position",
        receipt.room_id,
        receipt.user_id,
        receipt.receipt_type,
        receipt.thread_id,
        receipt.event_id,
        receipt.seq,
        receipt.ts,
        receipt.position,
    )


def find_seq(
    txn: Transaction, room_id: str, user_id: str, receipt_type: str, thread_id: str
) -> int:
    """The number of the event that a receipt stands at; 0 if there is none."""
    seq: int | None = txn.value(
        "SELECT seq FROM receipts"
        " WHERE room_id = ? AND user_id = ? AND receipt_type = ? AND thread_id = ?",
        room_id,
        user_id,
        receipt_type,
        thread_id,
    )
    return seq or 0


def of_person(txn: Transaction, room_id: str, user_id: str) -> list[Receipt]:
    """Every place of one person in one room."""
    return receipts_of(txn.all(f"{_SELECT} WHERE room_id = ? AND user_id = ?", room_id, user_id))


def in_rooms(txn: Transaction, room_ids: Iterable[str], after: int, upto: int) -> list[Receipt]:
    """What moved in some rooms after one position and up to another."""
    return receipts_of(
        txn.among(
            f"{_SELECT} WHERE room_id IN (??) AND position > ? AND position <= ?",
            room_ids,
            after,
            upto,
        )
    )


def moved(txn: Transaction, after: int, upto: int, most: int) -> list[Receipt]:
    """What moved in all rooms after one position and up to another, in that order."""
    return receipts_of(
        txn.all(
            f"{_SELECT} WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            after,
            upto,
            most,
        )
    )


def receipts_of(rows: Iterable[Row]) -> list[Receipt]:
    """Rows of all columns as receipts."""
    return [Receipt(*row) for row in rows]
