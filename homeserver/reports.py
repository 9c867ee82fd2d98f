"""Reports: what people find wrong, kept for the organizer."""

from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from homeserver.clock import Clock
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.stretches import EVER
from homeserver.rooms.visibility import Visibility
from schema.errors import NotFound
from storage import events, originals, reports, rooms
from storage.events import Event
from storage.reports import KeptReport, Report
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction

MAX_KEPT = 200
"""How many reports of one person are kept; the oldest go first."""


MAX_LISTED = 1000


@frozen
class Subject:
    """What a report is about, as far as it can be read."""

    room_name: str | None
    event: Event | None
    """If it was redacted, with what it said before, while that is kept."""


@frozen
class ReportBook:
    """The reports, for the organizer."""

    store: Store
    clock: Clock

    async def list(self, *, also_done: bool) -> "list[KeptReport]":
        """Those that wait, oldest first; or all of them. At most the newest 1000."""
        return await self.store.read(
            lambda txn: reports.every(txn, also_done=also_done, limit=MAX_LISTED)
        )

    async def get(self, report_id: int) -> tuple[KeptReport, Subject]:
        """One report, and what it is about.

        Raises:
            NotFound: there is no such report.
        """

        def work(txn: Transaction) -> tuple[KeptReport, Subject]:
            kept = _found(txn, report_id)
            room_id, event_id = kept.report.room_id, kept.report.event_id
            if room_id is None:
                return kept, Subject(None, None)
            name = events.state_event_at(txn, room_id, "m.room.name", "", EVER)
            event = None if event_id is None else _as_said(txn, room_id, event_id)
            text = None if name is None else name.content.get("name")
            return kept, Subject(text if isinstance(text, str) else None, event)

        return await self.store.read(work)

    async def done(self, report_ids: Sequence[int]) -> None:
        """The organizer is done with these; all of them, or none if one does not exist.

        Raises:
            NotFound: there is no such report.
        """

        def work(txn: WriteTransaction) -> None:
            for report_id in report_ids:
                _found(txn, report_id)
                reports.set_done(txn, report_id, self.clock())

        await self.store.write(work)


def _as_said(txn: Transaction, room_id: str, event_id: str) -> Event | None:
    event = events.find(txn, room_id, event_id)
    if event is None or not event.is_redacted:
        return event
    return evolve(event, json=originals.find(txn, event.position) or event.json)


def _found(txn: Transaction, report_id: int) -> KeptReport:
    kept = reports.find(txn, report_id)
    if kept is None:
        raise NotFound(f"There is no report number {report_id}")
    return kept


@frozen
class Reports:
    """Client-server API, "Reporting Content"."""

    store: Store
    rooms: RoomCache
    visibility: Visibility
    person_exists: Callable[[Transaction, str], bool]
    clock: Clock

    async def event(self, reporter: str, room_id: str, event_id: str, reason: str) -> None:
        """Report an event of a room that the reporter is in.

        Raises:
            NotFound: there is no such event, they may not see it, or they are not in the room.
        """
        room = await self.rooms.find(room_id)
        event = None
        if room is not None and room.state.membership(reporter) == "join":
            sight = await self.visibility.sight(room, reporter)
            event = await self.store.read(lambda txn: events.find(txn, room_id, event_id))
        if event is None or not sight.sees(event.seq):
            raise NotFound("There is no such event, or you are not in its room")
        sender = event.sender
        await self.store.write(
            lambda txn: self._add(txn, reporter, reason, room_id, event_id, sender)
        )

    async def room(self, reporter: str, room_id: str, reason: str) -> None:
        """Report a room. Says nothing of whether there is such a room."""

        def work(txn: WriteTransaction) -> None:
            if rooms.find(txn, room_id) is not None:
                self._add(txn, reporter, reason, room_id, None, None)

        await self.store.write(work)

    async def person(self, reporter: str, user_id: str, reason: str) -> None:
        """Report somebody. Says nothing of whether there is such a person."""

        def work(txn: WriteTransaction) -> None:
            if self.person_exists(txn, user_id):
                self._add(txn, reporter, reason, None, None, user_id)

        await self.store.write(work)

    def _add(
        self,
        txn: WriteTransaction,
        reporter: str,
        reason: str,
        room_id: str | None,
        event_id: str | None,
        user_id: str | None,
    ) -> None:
        reports.add(txn, Report(reporter, self.clock(), room_id, event_id, user_id, reason))
        reports.keep_newest(txn, reporter, MAX_KEPT)
