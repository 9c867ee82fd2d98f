"""Events of a room by the time that they bear, which need not be the order in which they came."""

from attrs import frozen

from storage.transaction import Transaction


@frozen
class Moment:
    """When an event came, and from whom."""

    origin_server_ts: int
    seq: int
    event_id: str
    sender: str
    state_key: str | None


def moments_from(
    txn: Transaction, room_id: str, ts: int, seq: int, first: int, last: int, limit: int
) -> list[Moment]:
    """Events with ``first <= seq <= last``, by time and number, from this time and number on."""
    rows = txn.all(
        "SELECT origin_server_ts, seq, event_id, sender, state_key FROM events WHERE room_id = ?"
        " AND (origin_server_ts, seq) >= (?, ?) AND seq >= ? AND seq <= ?"
        " ORDER BY origin_server_ts, seq LIMIT ?",
        room_id,
        ts,
        seq,
        first,
        last,
        limit,
    )
    return [Moment(*row) for row in rows]


def moments_upto(
    txn: Transaction, room_id: str, ts: int, seq: int, first: int, last: int, limit: int
) -> list[Moment]:
    """The same backwards, up to this time and number."""
    rows = txn.all(
        "SELECT origin_server_ts, seq, event_id, sender, state_key FROM events WHERE room_id = ?"
        " AND (origin_server_ts, seq) <= (?, ?) AND seq >= ? AND seq <= ?"
        " ORDER BY origin_server_ts DESC, seq DESC LIMIT ?",
        room_id,
        ts,
        seq,
        first,
        last,
        limit,
    )
    return [Moment(*row) for row in rows]
