"""Events as they are stored, and the statements that find them."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import orjson
from attrs import frozen

from storage.transaction import Row, Transaction, WriteTransaction


@frozen(eq=False)
class Event:
    """An event of a room, in the form that is stored and served.

    ``json`` is what clients see, without ``room_id`` and ``unsigned``; ``unsigned`` are members of
    that object which never change, as text without braces.
    """

    position: int
    room_id: str
    seq: int
    event_id: str
    type: str
    sender: str
    state_key: str | None
    origin_server_ts: int
    json: str
    unsigned: str
    device_id: str | None
    txn_id: str | None
    relates_to: str | None
    rel_type: str | None
    verdict: int

    @property
    def content(self) -> dict[str, Any]:
        """The content, parsed anew each time: keep it if you need it twice."""
        content: dict[str, Any] = orjson.loads(self.json)["content"]
        return content

    @property
    def quotes_past(self) -> bool:
        """Whether it is a state event that shows what it replaced."""
        return self.unsigned.startswith('"prev_content"')

    @property
    def replaced(self) -> str:
        """The id of what a state event replaced; empty if there was nothing."""
        event_id: str = orjson.loads(f"{{{self.unsigned}}}").get("replaces_state", "")
        return event_id

    @property
    def is_redacted(self) -> bool:
        """Whether its content was taken away."""
        return self.unsigned.startswith('"redacted_because"')

    @property
    def redaction(self) -> str:
        """The id of the redaction that took its content away; empty if it has its content."""
        because = orjson.loads(f"{{{self.unsigned}}}").get("redacted_because", {})
        event_id: str = because.get("event_id", "")
        return event_id


class Submission(NamedTuple):
    """What a device asks for under a transaction id: the same again is no other event."""

    txn_id: str
    device_id: str
    sender: str
    room_id: str
    type: str


_COLUMNS = (
    "position, room_id, seq, event_id, type, sender, state_key, origin_server_ts, json, unsigned,"
    " device_id, txn_id, relates_to, rel_type, verdict"
)
_SELECT = f"SELECT {_COLUMNS} FROM events"
_SELECT_E = f"SELECT e.{_COLUMNS.replace(', ', ', e.')} FROM events e"


def events_of(rows: Iterable[Row]) -> list[Event]:
    """Rows of all event columns as events."""
    return [Event(*row) for row in rows]


def _by_room(rows: Iterable[Row]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events_of(rows):
        found.setdefault(event.room_id, []).append(event)
    return found


def add(txn: WriteTransaction, event: Event, envelope: str) -> None:
    """Store a new event."""
    txn.later(
        f"INSERT INTO events ({_COLUMNS}, envelope)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        event.position,
        event.room_id,
        event.seq,
        event.event_id,
        event.type,
        event.sender,
        event.state_key,
        event.origin_server_ts,
        event.json,
        event.unsigned,
        event.device_id,
        event.txn_id,
        event.relates_to,
        event.rel_type,
        event.verdict,
        envelope,
    )


def replace_text(txn: WriteTransaction, event: Event) -> None:
    """Write a redacted event over the original."""
    txn.later(
        "UPDATE events SET json = ?, unsigned = ?, relates_to = ?, rel_type = ? WHERE position = ?",
        event.json,
        event.unsigned,
        event.relates_to,
        event.rel_type,
        event.position,
    )


def find(txn: Transaction, room_id: str, event_id: str) -> Event | None:
    """One event of a room."""
    row = txn.one(f"{_SELECT} WHERE event_id = ? AND room_id = ?", event_id, room_id)
    return None if row is None else Event(*row)


def find_many(txn: Transaction, event_ids: Iterable[str]) -> dict[str, Event]:
    """Events by their ids, of whatever room."""
    rows = txn.among(f"{_SELECT} WHERE event_id IN (??)", event_ids)
    return {event.event_id: event for event in events_of(rows)}


def texts(txn: Transaction, event_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """By the ids of events, the two texts that each consists of: ``json`` and its envelope."""
    rows = txn.among(
        "SELECT event_id, json, envelope FROM events WHERE event_id IN (??)", event_ids
    )
    return {event_id: (json, envelope) for event_id, json, envelope in rows}


def seqs(txn: Transaction, event_ids: Iterable[str]) -> dict[str, int]:
    """By the ids of events, their numbers in their rooms."""
    rows = txn.among("SELECT event_id, seq FROM events WHERE event_id IN (??)", event_ids)
    return dict(rows)


def at_places(
    txn: Transaction, places: Collection[tuple[str, int]]
) -> dict[tuple[str, int], Event]:
    """Events by their rooms and numbers."""
    rows = txn.for_each(
        # SQLite reads tables in the order in which a CROSS JOIN names them.
        f"WITH places (room, number) AS (VALUES ??) SELECT e.{_COLUMNS.replace(', ', ', e.')}"
        " FROM places p CROSS JOIN events e WHERE e.room_id = p.room AND e.seq = p.number",
        list(places),
    )
    return {(event.room_id, event.seq): event for event in events_of(rows)}


def members_at(
    txn: Transaction, moments: Collection[tuple[str, str, int]]
) -> dict[tuple[str, str, int], Event]:
    """The membership events that stood, by room, person and number of an event there."""
    rows = txn.for_each(
        f"""
        WITH moments (room, person, number) AS (VALUES ??)
        SELECT m.room, m.person, m.number, e.{_COLUMNS.replace(", ", ", e.")}
        FROM moments m CROSS JOIN events e WHERE e.room_id = m.room AND e.seq = (
            SELECT MAX(n.seq) FROM events n WHERE n.room_id = m.room AND n.type = 'm.room.member'
            AND n.state_key = m.person AND n.state_key IS NOT NULL AND n.seq <= m.number
        )
        """,
        list(moments),
    )
    return {(row[0], row[1], row[2]): Event(*row[3:]) for row in rows}


def readable(txn: Transaction, types: Collection[str], after: int, upto: int) -> list[Event]:
    """Events of some types between two positions of the stream, in rooms without encryption."""
    marks = ", ".join("?" * len(types))
    return events_of(
        txn.all(
            f"{_SELECT_E} WHERE e.position > ? AND e.position <= ? AND e.type IN ({marks})"
            " AND NOT EXISTS (SELECT 1 FROM events c WHERE c.room_id = e.room_id"
            " AND c.type = 'm.room.encryption' AND c.state_key = '')",
            after,
            upto,
            *types,
        )
    )


def find_sent(
    txn: Transaction, submissions: Collection[Submission]
) -> dict[Submission, list[Event]]:
    """What devices have sent already, by what they ask for."""
    rows = txn.for_each(
        f"{_SELECT_E} JOIN (VALUES ??) AS s ON s.column1 = e.txn_id AND s.column2 = e.device_id"
        # The empty text keeps both engines from looking through the room's events instead.
        " AND s.column3 = e.sender AND s.column4 = e.room_id || '' AND s.column5 = e.type",
        list(submissions),
    )
    found: dict[Submission, list[Event]] = {each: [] for each in submissions}
    for event in events_of(dict.fromkeys(rows)):  # a key may have been asked for twice
        key = (str(event.txn_id), str(event.device_id), event.sender, event.room_id, event.type)
        found[Submission(*key)].append(event)
    return found


def newest(txn: Transaction, room_ids: Iterable[str], count: int) -> dict[str, list[Event]]:
    """By room, its newest events, oldest first."""
    rows = txn.among(
        f"{_SELECT_E} JOIN rooms r ON r.room_id = e.room_id WHERE r.room_id IN (??) AND e.seq >"
        " (SELECT MAX(m.seq) FROM events m WHERE m.room_id = r.room_id) - ?"
        " ORDER BY e.room_id, e.seq",
        room_ids,
        count,
    )
    return _by_room(rows)


def forwards(txn: Transaction, room_id: str, after: int, upto: int, limit: int) -> list[Event]:
    """Events with ``after < seq <= upto``, oldest first."""
    return events_of(
        txn.all(
            f"{_SELECT} WHERE room_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            room_id,
            after,
            upto,
            limit,
        )
    )


def backwards(txn: Transaction, room_id: str, upto: int, after: int, limit: int) -> list[Event]:
    """Events with ``after < seq <= upto``, newest first."""
    return events_of(
        txn.all(
            f"{_SELECT} WHERE room_id = ? AND seq <= ? AND seq > ? ORDER BY seq DESC LIMIT ?",
            room_id,
            upto,
            after,
            limit,
        )
    )


def since(txn: Transaction, after: int, upto: int, limit: int) -> list[Event]:
    """Events of all rooms after one position of the stream and up to another, oldest first."""
    return events_of(
        txn.all(
            f"{_SELECT} WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            after,
            upto,
            limit,
        )
    )


def seq_at(txn: Transaction, room_id: str, position: int) -> int:
    """How far the room had come at a position of the stream; 0 before it began.

    A room's positions rise with its numbers, so halving finds the place in a room of any length.
    """
    seq: int | None = txn.value(
        "WITH RECURSIVE narrowed (low, high) AS ("
        "SELECT CAST(0 AS BIGINT), (SELECT MAX(seq) FROM events WHERE room_id = ?)"
        " UNION ALL SELECT CASE WHEN e.position <= ? THEN e.seq ELSE low END,"
        " CASE WHEN e.position <= ? THEN high ELSE e.seq - 1 END FROM narrowed"
        " JOIN events e ON e.room_id = ? AND e.seq = (low + high + 1) / 2 WHERE low < high)"
        " SELECT low FROM narrowed WHERE low = high",
        room_id,
        position,
        position,
        room_id,
    )
    return seq or 0


def state_at(txn: Transaction, room_id: str, seq: int) -> list[Event]:
    """The state after event ``seq``: of each type and state key the newest event up to it."""
    return events_of(
        txn.all(
            f"{_SELECT_E} JOIN (SELECT type, state_key, MAX(seq) AS newest FROM events"
            " WHERE room_id = ? AND state_key IS NOT NULL AND seq <= ? GROUP BY type, state_key) n"
            " ON e.room_id = ? AND e.seq = n.newest ORDER BY e.seq",
            room_id,
            seq,
            room_id,
        )
    )


def states(txn: Transaction, room_ids: Iterable[str]) -> dict[str, list[Event]]:
    """The state of several rooms now, by room."""
    rows = txn.among(
        f"{_SELECT_E} JOIN (SELECT room_id, type, state_key, MAX(seq) AS newest FROM events"
        " WHERE room_id IN (??) AND state_key IS NOT NULL GROUP BY room_id, type, state_key) n"
        " ON e.room_id = n.room_id AND e.seq = n.newest ORDER BY e.room_id, e.seq",
        room_ids,
    )
    return _by_room(rows)


def state_between(txn: Transaction, room_id: str, after: int, upto: int) -> list[Event]:
    """State events with ``after < seq <= upto``, oldest first."""
    return events_of(
        txn.all(
            f"{_SELECT} WHERE room_id = ? AND seq > ? AND seq <= ? AND state_key IS NOT NULL"
            " ORDER BY seq",
            room_id,
            after,
            upto,
        )
    )


def state_event_at(
    txn: Transaction, room_id: str, event_type: str, state_key: str, seq: int
) -> Event | None:
    """One piece of the state after event ``seq``."""
    row = txn.one(
        f"{_SELECT} WHERE room_id = ? AND type = ? AND state_key = ? AND seq <= ?"
        " AND state_key IS NOT NULL ORDER BY seq DESC LIMIT 1",
        room_id,
        event_type,
        state_key,
        seq,
    )
    return None if row is None else Event(*row)


def state_histories(
    txn: Transaction, room_ids: Iterable[str], event_type: str, state_key: str
) -> dict[str, list[Event]]:
    """Every event of one type and state key, by room, oldest first."""
    rows = txn.among(
        f"{_SELECT} WHERE room_id IN (??) AND type = ? AND state_key = ?"
        " AND state_key IS NOT NULL ORDER BY room_id, seq",
        room_ids,
        event_type,
        state_key,
    )
    return _by_room(rows)


def next_state_event(txn: Transaction, event: Event) -> Event | None:
    """The event that replaced a state event."""
    row = txn.one(
        f"{_SELECT} WHERE room_id = ? AND type = ? AND state_key = ? AND seq > ?"
        " AND state_key IS NOT NULL ORDER BY seq LIMIT 1",
        event.room_id,
        event.type,
        event.state_key,
        event.seq,
    )
    return None if row is None else Event(*row)
