"""`hearth reports`: what people have reported, for the organizer.

On a terminal as tables; elsewhere plain: a line for each report, or for each fact about one.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from homeserver.cli.beside import beside_server
from homeserver.clock import system_clock
from homeserver.reports import ReportBook, Subject
from storage.events import Event
from storage.reports import KeptReport, Report
from storage.store import Store

_HEADS = ("Number", "Received", "By", "About", "Reason", "Done")


def show_list(file: Path, *, also_done: bool) -> None:
    """Print the reports that wait, or all of them."""

    async def work(store: Store) -> None:
        kept = await ReportBook(store, system_clock).list(also_done=also_done)
        print_list(Console(), kept, also_done=also_done)

    beside_server(file, work)


def show_one(file: Path, report_id: int) -> None:
    """Print a report and what it is about."""

    async def work(store: Store) -> None:
        kept, subject = await ReportBook(store, system_clock).get(report_id)
        print_one(Console(), kept, subject)

    beside_server(file, work)


def done(file: Path, report_ids: Sequence[int]) -> None:
    """Note that reports have been dealt with."""

    async def work(store: Store) -> None:
        await ReportBook(store, system_clock).done(report_ids)

    beside_server(file, work)


def print_list(console: Console, reports: Sequence[KeptReport], *, also_done: bool) -> None:
    """A row for each report."""
    columns = len(_HEADS) if also_done else len(_HEADS) - 1
    rows = [_row(kept)[:columns] for kept in reports]
    if not console.is_terminal:
        _print_plain(console, rows)
    elif not rows:
        console.print("Nobody has reported anything that is not done.")
    else:
        table = Table(*_HEADS[:columns])
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)


def print_one(console: Console, kept: KeptReport, subject: Subject) -> None:
    """A row for each fact."""
    report = kept.report
    facts = {
        "Number": str(kept.report_id),
        "Received": _time(report.received_at),
        "By": report.reporter,
        "Done": "" if kept.done_at is None else _time(kept.done_at),
        "Reason": _printable(report.reason),
        "Room": report.room_id or "",
        "Room name": _printable(subject.room_name or ""),
        "Person": report.user_id or "",
        "Event": report.event_id or "",
    }
    if report.event_id is not None:
        facts["Sent"] = "" if subject.event is None else _time(subject.event.origin_server_ts)
        facts["Content"] = _content(subject.event)
    known = [(name, value) for name, value in facts.items() if value]
    if not console.is_terminal:
        _print_plain(console, known)
        return
    table = Table(show_header=False)
    for name, value in known:
        table.add_row(name, Text(value))
    console.print(table)


def _print_plain(console: Console, rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        print("\t".join(row), file=console.file)


def _row(kept: KeptReport) -> tuple[str, ...]:
    report = kept.report
    return (
        str(kept.report_id),
        _time(report.received_at),
        report.reporter,
        _about(report),
        _printable(report.reason),
        "" if kept.done_at is None else _time(kept.done_at),
    )


def _about(report: Report) -> str:
    if report.event_id is not None:
        return f"a message of {report.user_id}"
    return f"the room {report.room_id}" if report.user_id is None else report.user_id


def _content(event: Event | None) -> str:
    """What somebody has said, as far as the server can read it."""
    if event is None:
        return "not there any more"
    if event.type == "m.room.encrypted":
        return "encrypted: only the people in the room can read it"
    said = _printable(f"{event.type} {orjson.dumps(event.content).decode()}")
    if event.is_redacted:
        return f"redacted since; it said: {said}" if event.content else "redacted"
    return said


def _printable(text: str) -> str:
    """What people have written, without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(" ", "minutes")
