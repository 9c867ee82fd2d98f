"""Push rules, and what they made of events.

An event's own row says what the default rules make of it (``verdict``: 0 nothing, 1 notify, 3
notify and highlight). ``push_differences`` and ``push_personal`` hold only what differs, as pairs
of what it is and what it would be without that row: so counts are plain sums.
"""

from collections.abc import Collection, Iterable, Mapping

from attrs import frozen

from storage.transaction import Row, Transaction, WriteTransaction

EVERYBODY = 0
FOREVER = 2**62
MAIN = "main"
JOINED = ""
"""The thread of a place that stands for the whole room."""

_IS_IN_THREAD = "e.rel_type = 'm.thread' AND e.relates_to LIKE '$%'"
_THREAD_ID = f"CASE WHEN {_IS_IN_THREAD} THEN e.relates_to ELSE 'main' END"

# What every event counts for one person, after their place in ``floor``: the usual, and then what
# differs from it. The latter takes the person twice.
_USUAL = (
    " SELECT e.room_id, e.seq, e.position, 1 AS notify, e.verdict / 2 AS highlight,"
    f" {_THREAD_ID} AS thread_id"
    " FROM floor f JOIN events e ON e.room_id = f.room_id AND e.seq > f.seq AND e.verdict > 0"
    " WHERE f.is_joined = 1"
)
# The usual, less one notification for each event of the main timeline. The condition in brackets is
# that of the index events_special, which has some events that notify nobody, too.
_SPECIAL = (
    " SELECT e.room_id, e.seq, e.position,"
    f" CASE WHEN {_IS_IN_THREAD} THEN 1 ELSE 0 END AS notify, e.verdict / 2 AS highlight,"
    f" {_THREAD_ID} AS thread_id"
    " FROM floor f JOIN events e ON e.room_id = f.room_id AND e.seq > f.seq AND e.verdict <> 0"
    " AND (e.verdict > 1 OR e.rel_type = 'm.thread') WHERE f.is_joined = 1"
)
_DIFFERENT = (
    " UNION ALL SELECT d.room_id, d.seq, d.position, d.verdict % 2 - d.usual % 2,"
    " d.verdict / 2 - d.usual / 2, d.thread_id"
    " FROM floor f JOIN push_differences d ON d.room_id = f.room_id AND d.seq > f.seq"
    " AND d.variant = 0 WHERE f.is_joined = 1"
    " UNION ALL SELECT d.room_id, d.seq, d.position, d.verdict % 2 - d.usual % 2,"
    " d.verdict / 2 - d.usual / 2, d.thread_id"
    " FROM floor f JOIN push_spans s ON s.user_id = ? AND s.room_id = f.room_id"
    " JOIN push_differences d ON d.room_id = f.room_id AND d.seq > f.seq"
    " AND d.variant = s.variant AND d.position > s.since AND d.position <= s.until"
    " WHERE f.is_joined = 1"
    " UNION ALL SELECT p.room_id, p.seq, p.position, p.verdict % 2 - p.usual % 2,"
    " p.verdict / 2 - p.usual / 2, p.thread_id"
    " FROM floor f JOIN push_personal p ON p.user_id = ? AND p.room_id = f.room_id"
    " AND p.seq > f.seq"
)
# Takes the rooms, and the person three times.
_PLACES = (
    "asked AS (SELECT room_id FROM push_places"
    " WHERE room_id IN (??) AND user_id = ? AND thread_id = ''),"
    " place AS (SELECT room_id, thread_id, MAX(seq) AS seq FROM"
    " (SELECT p.room_id, p.thread_id, p.seq FROM asked a"
    " JOIN push_places p ON p.user_id = ? AND p.room_id = a.room_id"
    " UNION ALL SELECT r.room_id, r.thread_id, r.seq FROM asked a"
    " JOIN receipts r ON r.user_id = ? AND r.room_id = a.room_id"
    " AND r.receipt_type IN ('m.read', 'm.read.private')) AS every_place"
    " GROUP BY room_id, thread_id)"
)


@frozen
class Difference:
    """What an event means to everybody with a variant."""

    variant: int
    thread_id: str
    verdict: int
    usual: int


@frozen
class Personal:
    """What an event means to one person."""

    user_id: str
    thread_id: str
    verdict: int
    usual: int


@frozen
class Unread:
    """What is unread in one thread; ``newest`` is the last event that counted."""

    room_id: str
    thread_id: str
    notify: int
    highlight: int
    newest: int


@frozen
class Notified:
    """An event of which somebody was notified."""

    position: int
    event_id: str
    thread_id: str
    highlight: int


def find_rules(txn: Transaction, user_id: str) -> tuple[str, int] | None:
    """What a person changed about their rules, and at which position; None if nothing."""
    row = txn.one("SELECT rules, position FROM push_rules WHERE user_id = ?", user_id)
    return None if row is None else (row[0], row[1])


def put_rules(txn: WriteTransaction, user_id: str, rules: str, position: int) -> None:
    """Store what a person changed."""
    txn.later(
        "INSERT INTO push_rules (user_id, rules, position) VALUES (?, ?, ?)"
        " ON CONFLICT (user_id) DO UPDATE SET rules = excluded.rules,"
        " position = excluded.position",
        user_id,
        rules,
        position,
    )


def joined_rooms(txn: Transaction, user_id: str) -> list[str]:
    """The rooms that a person is in."""
    rows = txn.all("SELECT room_id FROM members WHERE user_id = ? AND membership = 'join'", user_id)
    return [row[0] for row in rows]


def open_spans(txn: Transaction) -> list[Row]:
    """Person, room, since when, variant and its rules: of every span that goes on."""
    return txn.all(
        "SELECT s.user_id, s.room_id, s.since, v.variant, v.rules FROM push_spans s"
        " JOIN push_variants v ON v.variant = s.variant"
        " JOIN members m ON m.user_id = s.user_id AND m.room_id = s.room_id"
        " WHERE s.until = ? AND m.membership = 'join'",
        FOREVER,
    )


def begin_spans(
    txn: WriteTransaction, user_id: str, variants: Mapping[str, int], since: int
) -> None:
    """From ``since`` on, other variants judge for a person: by room."""
    txn.many(
        "UPDATE push_spans SET until = ? WHERE user_id = ? AND room_id = ? AND until = ?",
        [(since, user_id, room_id, FOREVER) for room_id in variants],
    )
    txn.insert(
        "INSERT INTO push_spans (user_id, room_id, since, until, variant) VALUES ??",
        [(user_id, room_id, since, FOREVER, variant) for room_id, variant in variants.items()],
    )


def remove_empty_spans(txn: WriteTransaction, user_id: str, until: int) -> None:
    """Forget what ended at ``until`` and judged nothing, because nothing was sent meanwhile."""
    txn.later(
        "DELETE FROM push_spans WHERE user_id = ? AND until = ? AND since >="
        " (SELECT e.position FROM events e WHERE e.room_id = push_spans.room_id"
        " ORDER BY e.seq DESC LIMIT 1)",
        user_id,
        until,
    )


def put_variants(txn: WriteTransaction, rules: Mapping[int, str]) -> None:
    """Store the rules of variants."""
    txn.insert(
        "INSERT INTO push_variants (variant, rules) VALUES ?? ON CONFLICT DO NOTHING",
        rules.items(),
    )


def remove_unused_variants(txn: WriteTransaction) -> None:
    """Forget the rules of variants that nobody has any more."""
    txn.run(
        "DELETE FROM push_variants WHERE NOT EXISTS (SELECT 1 FROM push_spans s"
        " WHERE s.variant = push_variants.variant AND s.until = ?)",
        FOREVER,
    )


def begin_room(txn: WriteTransaction, user_id: str, room_id: str, seq: int) -> None:
    """A person has joined: what came before event ``seq`` is no concern of theirs."""
    txn.later("DELETE FROM push_places WHERE user_id = ? AND room_id = ?", user_id, room_id)
    move_place(txn, user_id, room_id, JOINED, seq)


def move_place(txn: WriteTransaction, user_id: str, room_id: str, thread_id: str, seq: int) -> None:
    """A person has read a thread up to event ``seq``, which is the room's newest."""
    txn.later(
        "INSERT INTO push_places (user_id, room_id, thread_id, seq) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_id, room_id, thread_id) DO UPDATE SET seq = excluded.seq",
        user_id,
        room_id,
        thread_id,
        seq,
    )


def find_thread(txn: Transaction, room_id: str, event_id: str) -> str | None:
    """The thread that an event is in, directly or over three events at most."""
    root: str | None = txn.value(
        "WITH RECURSIVE parents AS (SELECT rel_type, relates_to, 1 AS hop FROM events"
        " WHERE event_id = ? AND room_id = ?"
        " UNION ALL SELECT e.rel_type, e.relates_to, p.hop + 1 FROM parents p"
        " JOIN events e ON e.event_id = p.relates_to AND e.room_id = ?"
        " WHERE p.rel_type <> 'm.thread' AND p.hop < 3)"
        " SELECT relates_to FROM parents WHERE rel_type = 'm.thread' AND relates_to LIKE '$%'",
        event_id,
        room_id,
        room_id,
    )
    return root


def add_differences(
    txn: WriteTransaction,
    room_id: str,
    seq: int,
    position: int,
    differences: Iterable[Difference],
) -> None:
    """Store where an event means something else than usual."""
    txn.insert(
        "INSERT INTO push_differences (room_id, seq, variant, thread_id, position, verdict, usual)"
        " VALUES ??",
        [(room_id, seq, d.variant, d.thread_id, position, d.verdict, d.usual) for d in differences],
    )


def add_personal(
    txn: WriteTransaction, room_id: str, seq: int, position: int, people: Iterable[Personal]
) -> None:
    """Store to whom an event means something else than to others like them."""
    txn.insert(
        "INSERT INTO push_personal (user_id, room_id, seq, thread_id, position, verdict, usual)"
        " VALUES ??",
        [(p.user_id, room_id, seq, p.thread_id, position, p.verdict, p.usual) for p in people],
    )


def differences_at(txn: Transaction, room_id: str, seq: int) -> list[Difference]:
    """What differs about an event."""
    rows = txn.all(
        "SELECT variant, thread_id, verdict, usual FROM push_differences"
        " WHERE room_id = ? AND seq = ?",
        room_id,
        seq,
    )
    return [Difference(*row) for row in rows]


def personal_at(txn: Transaction, room_id: str, seq: int) -> list[Personal]:
    """To whom an event means something special."""
    rows = txn.all(
        "SELECT user_id, thread_id, verdict, usual FROM push_personal"
        " WHERE room_id = ? AND seq = ?",
        room_id,
        seq,
    )
    return [Personal(*row) for row in rows]


def remove_verdicts(txn: WriteTransaction, room_id: str, seq: int) -> None:
    """An event notifies nobody any more."""
    txn.run("UPDATE events SET verdict = 0 WHERE room_id = ? AND seq = ?", room_id, seq)
    txn.run("DELETE FROM push_differences WHERE room_id = ? AND seq = ?", room_id, seq)
    txn.run("DELETE FROM push_personal WHERE room_id = ? AND seq = ?", room_id, seq)


def stream_position(txn: Transaction) -> int:
    """How far the stream has come, as far as this transaction sees."""
    position: int = txn.value("SELECT position FROM stream")
    return position


def places(txn: Transaction, user_id: str, room_ids: Iterable[str]) -> list[Row]:
    """Up to where a person has read: room, thread (empty for all of them), number of the event."""
    return txn.among(
        f"WITH {_PLACES} SELECT room_id, thread_id, seq FROM place",
        room_ids,
        user_id,
        user_id,
        user_id,
    )


def unread(
    txn: Transaction, user_id: str, room_ids: Iterable[str], ignored: Collection[str]
) -> list[Unread]:
    """What a person has not read, by room and thread; nothing where all is read.

    What ``ignored`` people have sent does not count.
    """
    is_other = is_others = ""
    if ignored:
        # Only then: whoever ignores nobody is counted without reading the events themselves.
        is_other = f" AND e.sender NOT IN ({_marks(ignored)})"
        is_others = (
            " AND EXISTS (SELECT 1 FROM events e WHERE e.room_id = c.room_id AND e.seq = c.seq"
            f"{is_other})"
        )
    in_main = (
        "FROM events e WHERE e.room_id = f.room_id AND e.seq > f.main_seq AND e.verdict > 0"
        f" AND ({_IS_IN_THREAD}) IS NOT TRUE{is_other}"
    )
    rows = txn.among(
        f"WITH {_PLACES}, floor AS (SELECT room_id, 1 AS is_joined,"
        " MAX(CASE WHEN thread_id = '' THEN seq END) AS seq, MAX(seq) AS main_seq"
        " FROM place WHERE thread_id IN ('', 'main') GROUP BY room_id),"
        f" counted AS ({_SPECIAL}{_DIFFERENT})"
        " SELECT room_id, thread_id, CAST(SUM(notify) AS BIGINT), SUM(highlight), MAX(newest)"
        # Room by room: grouped by room, SQLite would sort the events first.
        f" FROM (SELECT f.room_id, 'main' AS thread_id, (SELECT COUNT(*) {in_main}) AS notify,"
        f" 0 AS highlight, (SELECT e.seq {in_main} ORDER BY e.seq DESC LIMIT 1) AS newest"
        " FROM floor f UNION ALL SELECT c.room_id, c.thread_id, c.notify, c.highlight, c.seq"
        " FROM counted c LEFT JOIN place t ON t.room_id = c.room_id AND t.thread_id = c.thread_id"
        f" WHERE c.seq > COALESCE(t.seq, 0){is_others}) AS added_up"
        " GROUP BY room_id, thread_id HAVING MAX(newest) > 0",
        room_ids,
        user_id,
        user_id,
        user_id,
        user_id,
        user_id,
        *ignored,
        *ignored,
        *ignored,
    )
    return [Unread(*row) for row in rows]


def notified(
    txn: Transaction,
    user_id: str,
    ignored: Collection[str],
    after: int,
    before: int,
    limit: int,
    *,
    highlights: bool,
) -> list[Notified]:
    """The newest events between two positions of which a person was notified, newest first.

    Of the rooms that they are in since they joined, and the invitations that they have; without
    what ``ignored`` people have sent.
    """
    rows = txn.all(
        "WITH joined AS (SELECT m.room_id, p.seq FROM members m"
        " JOIN push_places p ON p.user_id = m.user_id AND p.room_id = m.room_id"
        " AND p.thread_id = '' WHERE m.user_id = ? AND m.membership = 'join'),"
        # From the newest event back to the first position: nobody pays for what was before it.
        " floor AS (SELECT room_id, MAX(seq) AS seq, 1 AS is_joined FROM (SELECT room_id, seq"
        " FROM joined UNION ALL SELECT j.room_id, (SELECT e.seq FROM events e"
        " WHERE e.room_id = j.room_id AND e.position <= ? ORDER BY e.seq DESC LIMIT 1)"
        " FROM joined j) AS every_floor GROUP BY room_id"
        " UNION ALL SELECT m.room_id, m.seq - 1, 0 FROM members m"
        " WHERE m.user_id = ? AND m.membership = 'invite'),"
        f" counted AS ({_USUAL} AND e.position < ?{_DIFFERENT}),"
        " found AS (SELECT position, thread_id, SUM(highlight) AS highlight FROM counted"
        " WHERE position > ? AND position < ? GROUP BY position, thread_id"
        " HAVING SUM(notify) > 0 AND SUM(highlight) >= ?)"
        " SELECT f.position, e.event_id, f.thread_id, f.highlight FROM found f"
        " JOIN events e ON e.position = f.position"
        f" WHERE e.sender NOT IN ({_marks([user_id, *ignored])})"
        " ORDER BY f.position DESC LIMIT ?",
        user_id,
        after,
        user_id,
        before,
        user_id,
        user_id,
        after,
        before,
        int(highlights),
        user_id,
        *ignored,
        limit,
    )
    return [Notified(*row) for row in rows]


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))


def remove_person(txn: WriteTransaction, user_id: str) -> None:
    """Forget the rules of a person, and what they were notified of."""
    for table in ("push_rules", "push_spans", "push_places", "push_personal"):
        txn.run(f"DELETE FROM {table} WHERE user_id = ?", user_id)
