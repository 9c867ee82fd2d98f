"""What people report to the organizer."""

from attrs import frozen

from storage.transaction import WriteTransaction


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


def keep_newest(txn: WriteTransaction, reporter: str, count: int) -> None:
    """Forget all but the newest reports of one person."""
    txn.run(
        "DELETE FROM reports WHERE reporter = ? AND report_id <= (SELECT report_id FROM reports"
        " WHERE reporter = ? ORDER BY report_id DESC LIMIT 1 OFFSET ?)",
        reporter,
        reporter,
        count,
    )
