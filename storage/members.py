"""Where each person stands with each room, now and on the way there."""

from collections.abc import Iterable

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class Member:
    """One person's standing in one room, and the event that says so."""

    user_id: str
    room_id: str
    membership: str
    event_id: str
    position: int
    seq: int
    forgotten: int = 0


def put(txn: WriteTransaction, member: Member) -> None:
    """Store a person's new standing. Whoever comes back has forgotten nothing."""
    txn.later(
        "INSERT INTO members (user_id, room_id, membership, event_id, position, seq, forgotten)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, room_id) DO UPDATE SET"
        " membership = excluded.membership, event_id = excluded.event_id,"
        " position = excluded.position, seq = excluded.seq, forgotten = excluded.forgotten",
        member.user_id,
        member.room_id,
        member.membership,
        member.event_id,
        member.position,
        member.seq,
        member.forgotten,
    )


def forget(txn: WriteTransaction, user_id: str, room_id: str) -> None:
    """The person does not want to see the room any more."""
    txn.run("UPDATE members SET forgotten = 1 WHERE user_id = ? AND room_id = ?", user_id, room_id)


def rooms_of(txn: Transaction, user_id: str, *memberships: str) -> list[str]:
    """The rooms in which a person has one of these memberships."""
    marks = ", ".join("?" * len(memberships))
    rows = txn.all(
        f"SELECT room_id FROM members WHERE user_id = ? AND membership IN ({marks})",
        user_id,
        *memberships,
    )
    return [row[0] for row in rows]


def everyone(txn: Transaction) -> list[Member]:
    """Every standing there is; the in-memory index begins with them."""
    rows = txn.all(
        "SELECT user_id, room_id, membership, event_id, position, seq, forgotten FROM members"
    )
    return [Member(*row) for row in rows]


def standings_at(
    txn: Transaction, room_ids: Iterable[str], position: int
) -> list[tuple[str, str, str]]:
    """Everybody's standing with some rooms at a position: room, person, JSON of the event."""
    rows = txn.among(
        "SELECT e.room_id, e.state_key, e.json FROM events e JOIN"
        " (SELECT room_id, state_key, MAX(seq) AS newest FROM events WHERE room_id IN (??)"
        " AND type = 'm.room.member' AND state_key IS NOT NULL AND position <= ?"
        " GROUP BY room_id, state_key) n ON e.room_id = n.room_id AND e.seq = n.newest",
        room_ids,
        position,
    )
    return [(room_id, user_id, json) for room_id, user_id, json in rows]


@frozen
class Step:
    """One membership event, in the order of the stream; texts as in ``storage.events.Event``."""

    position: int
    room_id: str
    seq: int
    user_id: str
    json: str
    before: str | None
    """JSON of the membership event that it replaced."""


# What an event says of the one that it replaced is gone when it is redacted. Only by saying that
# state has a key does one get the index of state, and does not read all that was said in a room.
_STEPS = (
    "SELECT e.position, e.room_id, e.seq, e.state_key, e.json,"
    " (SELECT p.json FROM events p WHERE p.room_id = e.room_id AND p.type = 'm.room.member'"
    " AND p.state_key = e.state_key AND p.seq < e.seq ORDER BY p.seq DESC LIMIT 1)"
    " FROM events e WHERE e.type = 'm.room.member' AND e.state_key IS NOT NULL"
)


def steps_of(txn: Transaction, user_id: str, since: int, upto: int) -> list[Step]:
    """One person's membership events after one position and up to another."""
    rows = txn.all(
        f"{_STEPS} AND e.state_key = ? AND e.position > ? AND e.position <= ? ORDER BY e.position",
        user_id,
        since,
        upto,
    )
    return [Step(*row) for row in rows]


def steps_in(txn: Transaction, room_ids: list[str], since: int, upto: int) -> list[Step]:
    """Membership events in some rooms after one position and up to another."""
    rows = txn.among(
        f"{_STEPS} AND e.room_id IN (??) AND e.position > ? AND e.position <= ?"
        " ORDER BY e.position",
        room_ids,
        since,
        upto,
    )
    return [Step(*row) for row in rows]
