"""Conversations that people have put out of their sight."""

from attrs import frozen

from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction


@frozen
class Hiding:
    """Whether somebody hides a room, and since when."""

    user_id: str
    room_id: str
    is_hidden: bool
    position: int


@frozen(kw_only=True)
class HidingChanged(Change):
    """Somebody has hidden a room, or sees it again."""

    hiding: Hiding


def put(txn: WriteTransaction, hiding: Hiding) -> None:
    """Remember it, and tell the person's devices."""
    txn.later(
        "INSERT INTO hidden_rooms (user_id, room_id, is_hidden, position) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_id, room_id) DO UPDATE SET"
        " is_hidden = excluded.is_hidden, position = excluded.position",
        hiding.user_id,
        hiding.room_id,
        int(hiding.is_hidden),
        hiding.position,
    )
    txn.announce(HidingChanged(position=hiding.position, users=(hiding.user_id,), hiding=hiding))


def everything(txn: Transaction) -> list[Hiding]:
    """All of it; the memory begins with this."""
    rows = txn.all("SELECT user_id, room_id, is_hidden, position FROM hidden_rooms")
    return [Hiding(user, room, bool(hidden), position) for user, room, hidden, position in rows]
