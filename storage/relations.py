"""Events by what they relate to, as far as whoever asks is shown them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import orjson
from attrs import frozen

from storage.transaction import Transaction


@frozen
class Shown:
    """Stretches of a room, as first and last numbers of events: at least one. Less ``ignored`` and
    ``unsaid``."""

    stretches: Sequence[tuple[int, int]]
    ignored: Collection[str] = ()
    """Of these people only state is shown."""
    unsaid: Sequence[tuple[str, int, int]] = ()
    """People, and between which numbers what they sent relates to nothing."""

    @property
    def tables(self) -> str:
        """What ``_VISIBLE`` and ``_SHOWN`` look into; takes the parameters."""
        seen = ", ".join(["(?, ?)"] * len(self.stretches))
        # A table has at least one row, and nobody is called like this.
        ignored = ", ".join(["('')", *["(?)"] * len(self.ignored)])
        unsaid = ", ".join(["('', 0, 0)", *["(?, ?, ?)"] * len(self.unsaid)])
        return (
            f"seen (first_seq, last_seq) AS (VALUES {seen}), ignored (who) AS (VALUES {ignored}),"
            f" unsaid (who, first_seq, last_seq) AS (VALUES {unsaid})"
        )

    @property
    def parameters(self) -> list[int | str]:
        """For ``tables``."""
        return [
            *(number for stretch in self.stretches for number in stretch),
            *self.ignored,
            *(value for each in self.unsaid for value in each),
        ]


_VISIBLE = "EXISTS (SELECT 1 FROM seen WHERE e.seq BETWEEN seen.first_seq AND seen.last_seq)"
_SHOWN = (
    f"{_VISIBLE} AND (e.state_key IS NOT NULL OR e.sender NOT IN (SELECT who FROM ignored))"
    " AND NOT EXISTS (SELECT 1 FROM unsaid WHERE unsaid.who = e.sender"
    " AND e.seq BETWEEN unsaid.first_seq AND unsaid.last_seq)"
)

# The key of an object cannot be found inside of a text: there its quotes would be escaped.
_WELL_FORMED_EDIT = (
    "e.state_key IS NULL AND (e.type = 'm.room.encrypted' OR e.json LIKE '%\"m.new_content\":{%')"
)


@frozen
class Child:
    """An edit or a reference of an event, or its thread with the newest event there."""

    parent_id: str
    rel_type: str
    event_id: str
    type: str
    sender: str
    origin_server_ts: int
    total: int
    """How many events the thread has."""
    has_own: int
    """1 if one of them was sent by the person who asks, else 0."""


def bundled(
    txn: Transaction, room_id: str, event_ids: Iterable[str], user_id: str, shown: Shown
) -> list[Child]:
    """Of each event the thread, the references and the well-formed edits, oldest first."""
    # To most of them nothing relates, and that can be known for a fraction of what follows.
    parents = txn.among(
        "SELECT DISTINCT relates_to FROM events WHERE relates_to IN (??)"
        " AND rel_type IN ('m.thread', 'm.reference', 'm.replace')",
        event_ids,
    )
    rows = txn.among(
        f"""
        WITH related AS (
            -- The empty text keeps PostgreSQL from reading the room while it has no statistics.
            SELECT * FROM events WHERE relates_to IN (??) AND room_id || '' = ?
                AND rel_type IN ('m.thread', 'm.reference', 'm.replace')
        ), {shown.tables}, found AS (
            SELECT e.relates_to, e.rel_type, MAX(e.seq) AS seq,
                COUNT(*) AS total, MAX(CASE WHEN e.sender = ? THEN 1 ELSE 0 END) AS has_own
            FROM related e
            WHERE {_SHOWN} AND (e.rel_type <> 'm.replace' OR {_WELL_FORMED_EDIT})
            GROUP BY e.relates_to, e.rel_type,
                CASE e.rel_type WHEN 'm.thread' THEN 0 ELSE e.seq END
        )
        SELECT f.relates_to, f.rel_type, e.event_id, e.type, e.sender, e.origin_server_ts,
            f.total, f.has_own
        FROM found f JOIN events e ON e.room_id = ? AND e.seq = f.seq
        ORDER BY f.seq
        """,
        [event_id for (event_id,) in parents],
        room_id,
        *shown.parameters,
        user_id,
        room_id,
    )
    return [Child(*row) for row in rows]


def descendants(
    txn: Transaction,
    room_id: str,
    event_id: str,
    rel_type: str | None,
    event_type: str | None,
    depth: int,
    shown: Shown,
    backwards: bool,
    limit: int,
) -> list[str]:
    """The ids of the events that relate to one, over up to ``depth`` steps, in the room's order.

    A step leads only over events of the given types; None is any.
    """
    rows = txn.all(
        f"""
        WITH RECURSIVE {shown.tables}, family (event_id, seq, sender, state_key, depth) AS (
            SELECT event_id, seq, sender, state_key, 0 FROM events
            WHERE event_id = ? AND room_id = ?
            UNION ALL
            SELECT e.event_id, e.seq, e.sender, e.state_key, family.depth + 1
            FROM family JOIN events e ON e.relates_to = family.event_id
            WHERE family.depth < ? AND e.room_id = ?
                AND e.rel_type = COALESCE(?, e.rel_type) AND e.type = COALESCE(?, e.type)
        )
        SELECT e.event_id FROM family e WHERE e.depth > 0 AND {_SHOWN}
        ORDER BY e.seq {"DESC" if backwards else "ASC"} LIMIT ?
        """,
        *shown.parameters,
        event_id,
        room_id,
        depth,
        room_id,
        rel_type,
        event_type,
        limit,
    )
    return [row[0] for row in rows]


def threads(
    txn: Transaction,
    room_id: str,
    user_id: str,
    only_own: bool,
    upto: int,
    shown: Shown,
    limit: int,
) -> list[tuple[str, int]]:
    """Roots of threads and the numbers of their newest events, up to ``upto``; newest first.

    A root may be a message of somebody ignored: what others have answered is shown all the same.
    ``only_own`` leaves out the threads to which ``user_id`` has sent nothing.
    """
    rows = txn.all(
        f"""
        WITH {shown.tables}, latest (root_id, seq, has_own) AS (
            SELECT e.relates_to, MAX(e.seq), MAX(CASE WHEN e.sender = ? THEN 1 ELSE 0 END)
            FROM events e WHERE e.room_id = ? AND e.rel_type = 'm.thread' AND {_SHOWN}
            GROUP BY e.relates_to
        )
        SELECT e.event_id, latest.seq
        FROM latest JOIN events e ON e.event_id = latest.root_id AND e.room_id = ?
        WHERE latest.seq <= ? AND {_VISIBLE}
            AND (? = 0 OR latest.has_own = 1 OR e.sender = ?)
        ORDER BY latest.seq DESC LIMIT ?
        """,
        *shown.parameters,
        user_id,
        room_id,
        room_id,
        upto,
        int(only_own),
        user_id,
        limit,
    )
    return [(root_id, seq) for root_id, seq in rows]


@frozen
class Relative:
    """An event that relates to another one."""

    seq: int
    event_id: str
    sender: str
    rel_type: str


def relatives(
    txn: Transaction,
    room_id: str,
    event_id: str,
    rel_types: Collection[str] | None,
    after: int,
    limit: int,
) -> list[Relative]:
    """What relates to an event in one of these ways (None: in any) after event number ``after``."""
    ways = "" if rel_types is None else f" AND rel_type IN ({', '.join('?' * len(rel_types))})"
    rows = txn.all(
        "SELECT seq, event_id, sender, rel_type FROM events WHERE relates_to = ? AND room_id = ?"
        f" AND seq > ?{ways} ORDER BY seq LIMIT ?",
        event_id,
        room_id,
        after,
        *(rel_types or ()),
        limit,
    )
    return [Relative(*row) for row in rows]


def annotations(
    txn: Transaction, room_id: str, event_id: str, sender: str, event_type: str
) -> list[dict[str, Any]]:
    """The contents of the annotations that somebody has made to an event."""
    rows = txn.all(
        "SELECT json FROM events WHERE relates_to = ? AND rel_type = 'm.annotation'"
        " AND room_id = ? AND sender = ? AND type = ?",
        event_id,
        room_id,
        sender,
        event_type,
    )
    return [orjson.loads(json)["content"] for (json,) in rows]
