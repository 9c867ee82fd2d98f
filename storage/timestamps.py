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


def moments(
    txn: Transaction,
    room_id: str,
    place: tuple[int, int],
    first: int,
    last: int,
    limit: int,
    *,
    backwards: bool,
) -> list[Moment]:
    """Events with ``first <= seq <= last``, by time and number, from this time and number on.

    ``backwards``: up to it, the latest first.
    """
    side, order = ("<=", " DESC") if backwards else (">=", "")
    rows = txn.all(
        "SELECT origin_server_ts, seq, event_id, sender, state_key FROM events WHERE room_id = ?"
        f" AND (origin_server_ts, seq) {side} (?, ?) AND seq >= ? AND seq <= ?"
        f" ORDER BY origin_server_ts{order}, seq{order} LIMIT ?",
        room_id,
        *place,
        first,
        last,
        limit,
    )
    return [Moment(*row) for row in rows]
