"""Texts that can be found by their words, and the searches that find them.

Whoever searches sees some rooms whole, and of others stretches, given as first and last numbers of
events. Of a message that has been edited they find the newest text that they may see, and only
that.
"""

from collections.abc import Collection, Iterable, Sequence

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction

WINDOW = 2_000
"""So many hits are counted and ranked, the newest ones: a frequent word has no end of them."""
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
    unsaid: Collection[tuple[str, str, int, int]]
    """Of rooms, people, and between which numbers only state of theirs is found there."""
    has_url: bool | None
    upto: int
    """Nothing counts that is later on the stream, edits neither."""


@frozen
class Extent:
    """How much there is to find: counted up to ``WINDOW``."""

    count: int
    first: int
    """The position of the oldest hit that was counted, if there are older ones; otherwise 0."""


@frozen
class Place:
    """How far a reader has come in an order: the hit that they had last."""

    length: int
    position: int


@frozen
class Hit:
    """A message, name or topic that has the words."""

    position: int
    """Of the event that holds the text: of the newest edit, if there is one."""
    room_id: str
    seq: int
    sender: str
    text_seq: int
    length: int


_HIT = "position, room_id, seq, sender, text_seq, length"


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
    txn.later(
        "DELETE FROM search_texts WHERE position IN ("
        "SELECT position FROM events WHERE event_id = ? UNION ALL"
        " SELECT t.position FROM events e JOIN search_texts t ON t.edit_of = e.position"
        " WHERE e.event_id = ?)",
        event_id,
        event_id,
    )


def find(txn: Transaction, query: Query, *, recent: bool, limit: int) -> tuple[list[Hit], Extent]:
    """The first hits, up to ``limit``, which is below ``WINDOW``, and how many there are.

    The most recent ones first. Or, among the newest ``WINDOW``, those first of whose text the words
    are the greatest part; what is older comes after them, the most recent first.
    """
    hits, params = _hits(txn, query, 0, query.upto, WINDOW)
    rows = txn.all(
        f"WITH {hits} SELECT (SELECT COUNT(*) FROM hits), (SELECT MIN(position) FROM hits),"
        f" {_HIT} FROM hits ORDER BY {_order(recent)} LIMIT ?",
        *params,
        limit,
    )
    count, oldest = rows[0][:2] if rows else (0, 0)
    return [Hit(*row[2:]) for row in rows], Extent(count, oldest if count == WINDOW else 0)


def find_after(
    txn: Transaction, query: Query, place: Place, extent: Extent, *, recent: bool, limit: int
) -> list[Hit]:
    """Up to ``limit`` hits that come after a place in the order of which ``find`` has the first."""
    ranked: list[Hit] = []
    end = place.position
    if not recent and place.position >= extent.first:
        ranked = _ranked(txn, query, place, extent, limit)
        if len(ranked) == limit or extent.first == 0:
            return ranked
        end = extent.first
    hits, params = _hits(txn, query, 0, end - 1, limit - len(ranked))
    rows = txn.all(f"WITH {hits} SELECT {_HIT} FROM hits ORDER BY {_order(True)}", *params)
    return ranked + [Hit(*row) for row in rows]


def find_groups(
    txn: Transaction, query: Query, place: Place, *, recent: bool
) -> list[tuple[str, str]]:
    """In which rooms, and by whom, there are hits after a place, if no more than ``WINDOW``."""
    hits, params = _hits(txn, query, 0, query.upto, WINDOW)
    behind, more = _behind(recent, place)
    sql = f"WITH {hits} SELECT DISTINCT room_id, sender FROM hits WHERE {behind}"
    return [(room_id, sender) for room_id, sender in txn.all(sql, *params, *more)]


def backlog(txn: Transaction) -> int:
    """Up to which position of the stream older events are still to be indexed; 0: none."""
    position: int = txn.value("SELECT position FROM search_backlog")
    return position


def shorten_backlog(txn: WriteTransaction, position: int) -> None:
    """Everything after ``position`` is indexed."""
    txn.run("UPDATE search_backlog SET position = ?", position)


def _ranked(txn: Transaction, query: Query, place: Place, extent: Extent, limit: int) -> list[Hit]:
    hits, params = _hits(txn, query, extent.first, query.upto, WINDOW)
    behind, more = _behind(False, place)
    rows = txn.all(
        f"WITH {hits} SELECT {_HIT} FROM hits WHERE {behind} ORDER BY {_order(False)} LIMIT ?",
        *params,
        *more,
        limit,
    )
    return [Hit(*row) for row in rows]


def _hits(
    txn: Transaction, query: Query, first: int, last: int, limit: int
) -> tuple[str, list[object]]:
    """What is found between two positions, the newest so many, and the parameters.

    As parts of a WITH clause. The database walks from the newest text back, and no further than it
    must: a frequent word costs no more than its newest hits.
    """
    matching = txn.found_by(query.words)
    # Neither list may be empty: what is no room's id stands at its end.
    params: list[object] = [*query.whole_rooms, ""]
    params += [value for stretch in (*query.stretches, ("", 0, 0)) for value in stretch]
    params += [value for each in (*query.unsaid, ("", "", 0, 0)) for value in each]
    conditions = [
        matching.condition,
        f"{matching.position} BETWEEN ? AND ?",
        f"t.key IN ({_marks(query.keys)})",
    ]
    params += [matching.parameter, first, last, *query.keys]
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
    params += [query.upto, limit]
    return (
        f"""
        whole (room_id) AS (VALUES {", ".join(["(?)"] * (len(query.whole_rooms) + 1))}),
        part (room_id, first_seq, last_seq) AS (
            VALUES {", ".join(["(?, ?, ?)"] * (len(query.stretches) + 1))}
        ), unsaid (room_id, who, first_seq, last_seq) AS (
            VALUES {", ".join(["(?, ?, ?, ?)"] * (len(query.unsaid) + 1))}
        ), hits AS (
            SELECT t.position, t.room_id, COALESCE(t.edit_of_seq, t.seq) AS seq, t.sender,
                t.seq AS text_seq, t.length
            FROM {matching.tables}
            WHERE {" AND ".join(conditions)}
            AND {_visible("t.room_id", "t.seq")} AND {_said("t", "seq")}
            AND (
                t.edit_of IS NULL
                OR {_visible("t.room_id", "t.edit_of_seq")} AND {_said("t", "edit_of_seq")}
            )
            AND NOT EXISTS (
                SELECT 1 FROM search_texts n
                WHERE n.edit_of = COALESCE(t.edit_of, t.position) AND n.seq > t.seq
                AND n.position <= ? AND {_visible("n.room_id", "n.seq")} AND {_said("n", "seq")}
            )
            ORDER BY {matching.position} DESC LIMIT ?
        )
        """,
        params,
    )


def _visible(room_id: str, seq: str) -> str:
    return (
        f"({room_id} IN (SELECT room_id FROM whole) OR EXISTS (SELECT 1 FROM part"
        f" WHERE part.room_id = {room_id} AND {seq} BETWEEN part.first_seq AND part.last_seq))"
    )


def _said(text: str, seq: str) -> str:
    return (
        f"({text}.key <> 'body' OR NOT EXISTS (SELECT 1 FROM unsaid"
        f" WHERE unsaid.room_id = {text}.room_id AND unsaid.who = {text}.sender"
        f" AND {text}.{seq} BETWEEN unsaid.first_seq AND unsaid.last_seq))"
    )


def _order(recent: bool) -> str:
    return "position DESC" if recent else "length, position DESC"


def _behind(recent: bool, place: Place) -> tuple[str, list[object]]:
    """The condition that a hit comes after a place, and its parameters."""
    if recent:
        return "position < ?", [place.position]
    return "(length > ? OR (length = ? AND position < ?))", [
        place.length,
        place.length,
        place.position,
    ]


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))
