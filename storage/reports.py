"""What people report to the organizer."""

from attrs import frozen

from storage.transaction import Row, Transaction, WriteTransaction


@frozen
class Report:
    """A report of an event (all three are named), of a room, or of a person."""

    reporter: str
    received_at: int
    room_id: str | None
    event_id: str | None
    user_id: str | None
    reason: str


def add(txn: WriteTransaction, report: Report) -> None:
    """Keep a report."""
    txn.run(
        "INSERT INTO reports"
        " (report_id, reporter, received_at, room_id, event_id, user_id, reason)"
        " SELECT COALESCE(MAX(report_id), 0) + 1, ?, ?, ?, ?, ?, ? FROM reports",
        report.reporter,
        report.received_at,
        report.room_id,
        report.event_id,
        report.user_id,
        report.reason,
    )


@frozen
class KeptReport:
    """A report as the organizer reads it; ``done_at`` is None while it waits for them."""

    report_id: int
    report: Report
    done_at: int | None


_SELECT = (
    "SELECT report_id, done_at, reporter, received_at, room_id, event_id, user_id, reason"
    " FROM reports"
)


def every(txn: Transaction, *, also_done: bool, limit: int) -> list[KeptReport]:
    """The newest reports, oldest first; without those that are done, unless they are wanted."""
    which = "" if also_done else " WHERE done_at IS NULL"
    rows = txn.all(f"{_SELECT}{which} ORDER BY report_id DESC LIMIT ?", limit)
    return [_kept(row) for row in reversed(rows)]


def find(txn: Transaction, report_id: int) -> KeptReport | None:
    """One report."""
    row = txn.one(f"{_SELECT} WHERE report_id = ?", report_id)
    return None if row is None else _kept(row)


def set_done(txn: WriteTransaction, report_id: int, done_at: int) -> None:
    """The organizer is done with a report; once is enough."""
    txn.run(
        "UPDATE reports SET done_at = ? WHERE report_id = ? AND done_at IS NULL", done_at, report_id
    )


def _kept(row: Row) -> KeptReport:
    return KeptReport(row[0], Report(*row[2:]), row[1])


def keep_newest(txn: WriteTransaction, reporter: str, count: int) -> None:
    """Forget all but the newest reports of one person."""
    txn.run(
        "DELETE FROM reports WHERE reporter = ? AND report_id <= (SELECT report_id FROM reports"
        " WHERE reporter = ? ORDER BY report_id DESC LIMIT 1 OFFSET ?)",
        reporter,
        reporter,
        count,
    )
