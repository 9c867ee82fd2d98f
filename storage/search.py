"""Texts that can be found by their words, and the searches that find them.

Whoever searches sees some rooms whole, and of others stretches, given as first and last numbers of
events. Of a message that has been edited they find the newest text that they may see, and only
that.
"""

from collections.abc import Collection, Iterable, Sequence

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction

Stretch = tuple[str, int, int]
"""A room, and the numbers of the first and the last event there."""


@frozen
class Text:
    """The words of one event."""

    position: int
    room_id: str
    seq: int
    edit_of: int | None
    edit_of_seq: int | None
    key: str
    sender: str
    has_url: int
    words: Sequence[str]


@frozen
class Query:
    """What is looked for, and where."""

    words: Sequence[tuple[str, bool]]
    """Each with whether it may be only the beginning of one; at least one."""
    whole_rooms: Collection[str]
    stretches: Collection[Stretch]
    """Of other rooms."""
    keys: Collection[str]
    """Some of body, name and topic."""
    senders: Collection[str] | None
    not_senders: Collection[str]
    ignored: Collection[str]
    """Of these people only state is found."""
    has_url: bool | None
    upto: int
    """Nothing counts that is later on the stream, edits neither."""


@frozen
class Place:
    """How far a reader has come in an order: the hit that they had last."""

    length: int
    position: int


@frozen
class Hit:
    """A message, name or topic that has the words."""

    position: int
    room_id: str
    seq: int
    sender: str
    text_seq: int
    """The number of the event that holds the text: of the newest edit, if there is one."""
    length: int


def add(txn: WriteTransaction, texts: Iterable[Text]) -> None:
    """Let texts be found."""
    txn.many(
        "INSERT INTO search_texts (position, room_id, seq, edit_of, edit_of_seq, key, sender,"
        " has_url, length, words) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                text.position,
                text.room_id,
                text.seq,
                text.edit_of,
                text.edit_of_seq,
                text.key,
                text.sender,
                text.has_url,
                len(text.words),
                " ".join(text.words),
            )
            for text in texts
        ],
    )


def remove(txn: WriteTransaction, event_id: str) -> None:
    """Let an event be found no more, nor what it was changed to."""
    txn.run(
        "DELETE FROM search_texts WHERE position IN ("
        "SELECT position FROM events WHERE event_id = ? UNION ALL"
        " SELECT t.position FROM events e JOIN search_texts t ON t.edit_of = e.position"
        " WHERE e.event_id = ?)",
        event_id,
        event_id,
    )


def find(
    txn: Transaction, query: Query, *, recent: bool, after: Place | None, limit: int
) -> tuple[list[Hit], int]:
    """Up to ``limit`` hits after a place, and how many there are in all.

    The most recent ones first, or those of whose text the words are the greatest part.
    """
    hits, params = _hits(txn, query)
    behind, more = _behind(recent, after)
    rows = txn.all(
        f"WITH {hits} SELECT (SELECT COUNT(*) FROM hits),"
        f" position, room_id, seq, sender, text_seq, length FROM hits WHERE {behind}"
        f" ORDER BY {'position DESC' if recent else 'length, position DESC'} LIMIT ?",
        *params,
        *more,
        limit,
    )
    return [Hit(*row[1:]) for row in rows], rows[0][0] if rows else 0


def find_groups(
    txn: Transaction, query: Query, *, recent: bool, after: Place
) -> list[tuple[str, str]]:
    """In which rooms, and by whom, there are hits after a place."""
    hits, params = _hits(txn, query)
    behind, more = _behind(recent, after)
    sql = f"WITH {hits} SELECT DISTINCT room_id, sender FROM hits WHERE {behind}"
    return [(room_id, sender) for room_id, sender in txn.all(sql, *params, *more)]


def backlog(txn: Transaction) -> int:
    """Up to which position of the stream older events are still to be indexed; 0: none."""
    position: int = txn.value("SELECT position FROM search_backlog")
    return position


def shorten_backlog(txn: WriteTransaction, position: int) -> None:
    """Everything after ``position`` is indexed."""
    txn.run("UPDATE search_backlog SET position = ?", position)


def _hits(txn: Transaction, query: Query) -> tuple[str, list[object]]:
    """Everything that is found, as parts of a WITH clause, and the parameters."""
    found, words = txn.found_by(query.words)
    # Neither list may be empty: what is no room's id stands at its end.
    params: list[object] = [*query.whole_rooms, ""]
    params += [value for stretch in (*query.stretches, ("", 0, 0)) for value in stretch]
    conditions = [found, "t.position <= ?", f"t.key IN ({_marks(query.keys)})"]
    params += [words, query.upto, *query.keys]
    if query.senders is not None:
        conditions.append(f"t.sender IN ({_marks(query.senders)})")
        params += query.senders
    if query.not_senders:
        conditions.append(f"t.sender NOT IN ({_marks(query.not_senders)})")
        params += query.not_senders
    if query.ignored:
        conditions.append(f"(t.key <> 'body' OR t.sender NOT IN ({_marks(query.ignored)}))")
        params += query.ignored
    if query.has_url is not None:
        conditions.append("t.has_url = ?")
        params.append(int(query.has_url))
    params.append(query.upto)
    return (
        f"""
        whole (room_id) AS (VALUES {", ".join(["(?)"] * (len(query.whole_rooms) + 1))}),
        part (room_id, first_seq, last_seq) AS (
            VALUES {", ".join(["(?, ?, ?)"] * (len(query.stretches) + 1))}
        ), hits AS (
            SELECT COALESCE(t.edit_of, t.position) AS position, t.room_id,
                COALESCE(t.edit_of_seq, t.seq) AS seq, t.sender, t.seq AS text_seq, t.length
            FROM search_texts t
            WHERE {" AND ".join(conditions)}
            AND {_visible("t.room_id", "t.seq")}
            AND (t.edit_of IS NULL OR {_visible("t.room_id", "t.edit_of_seq")})
            AND NOT EXISTS (
                SELECT 1 FROM search_texts n
                WHERE n.edit_of = COALESCE(t.edit_of, t.position) AND n.seq > t.seq
                AND n.position <= ? AND {_visible("n.room_id", "n.seq")}
            )
        )
        """,
        params,
    )


def _visible(room_id: str, seq: str) -> str:
    return (
        f"({room_id} IN (SELECT room_id FROM whole) OR EXISTS (SELECT 1 FROM part"
        f" WHERE part.room_id = {room_id} AND {seq} BETWEEN part.first_seq AND part.last_seq))"
    )


def _behind(recent: bool, after: Place | None) -> tuple[str, list[object]]:
    """The condition that a hit comes after a place, and its parameters."""
    if after is None:
        return "1 = 1", []
    if recent:
        return "position < ?", [after.position]
    return "(length > ? OR (length = ? AND position < ?))", [
        after.length,
        after.length,
        after.position,
    ]


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))
