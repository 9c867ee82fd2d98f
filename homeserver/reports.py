"""Reports: what people find wrong, kept for the organizer."""

from collections.abc import Callable

from attrs import frozen

from homeserver.clock import Clock
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.visibility import Visibility
from schema.errors import NotFound
from storage import events, reports, rooms
from storage.reports import Report
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction

MAX_KEPT = 200
"""How many reports of one person are kept; the oldest go first."""


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
