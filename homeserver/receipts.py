"""Receipts and read markers: how far people have read."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from attrs import frozen

from homeserver.account_data import AccountData
from homeserver.clock import Clock
from homeserver.push.threads import thread_of
from homeserver.requester import Requester
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.visibility import Visibility
from schema.errors import Forbidden, InvalidParam, NotFound
from storage import events, receipts
from storage.receipts import UNTHREADED, Receipt, ReceiptMoved
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction

READ, PRIVATE, FULLY_READ = "m.read", "m.read.private", "m.fully_read"
TYPES = (READ, PRIVATE, FULLY_READ)


@frozen
class Receipts:
    """Client-server API, "Receipts" and "Read and unread markers"."""

    store: Store
    rooms: RoomCache
    account_data: AccountData
    clock: Clock

    async def move(
        self,
        requester: Requester,
        room_id: str,
        marks: Iterable[tuple[str, str]],
        thread_id: str | None = None,
    ) -> None:
        """Move receipts to events: pairs of type and event id. They never move backwards.

        Raises:
            Forbidden: the person is not in the room.
            NotFound: there is no such event in it.
            InvalidParam: the thread cannot have that receipt, or the event is not in it.
        """
        marks = list(marks)
        if thread_id is not None and (not thread_id or len(thread_id) > 255):
            raise InvalidParam("`thread_id` must be `main` or the id of a thread's first event")

        def work(txn: WriteTransaction) -> None:
            room = self.rooms.head(txn, room_id)
            if room.state.membership(requester.user_id) != "join":
                raise Forbidden("You are not a member of this room")
            for receipt_type, event_id in marks:
                event = events.find(txn, room_id, event_id)
                if event is None:
                    raise NotFound("There is no such event in this room")
                if receipt_type == FULLY_READ:
                    self._mark_fully_read(txn, requester.user_id, room_id, event_id)
                else:
                    self._put(txn, requester.user_id, receipt_type, thread_id, event)

        await self.store.write(work)

    def _put(
        self,
        txn: WriteTransaction,
        user_id: str,
        receipt_type: str,
        thread_id: str | None,
        event: events.Event,
    ) -> None:
        thread = UNTHREADED if thread_id is None else thread_id
        # Old clients mark a thread as read by its root, which is in the main timeline.
        if thread not in (UNTHREADED, event.event_id, thread_of(txn, event)):
            raise InvalidParam("The event is not in the thread that `thread_id` names")
        if receipts.find_seq(txn, event.room_id, user_id, receipt_type, thread) >= event.seq:
            return
        receipt = Receipt(
            event.room_id,
            user_id,
            receipt_type,
            thread,
            event.event_id,
            event.seq,
            self.clock(),
            txn.position(),
        )
        receipts.put(txn, receipt)
        rooms = (event.room_id,) if receipt_type == READ else ()
        txn.announce(
            ReceiptMoved(position=receipt.position, users=(user_id,), rooms=rooms, receipt=receipt)
        )

    def _mark_fully_read(
        self, txn: WriteTransaction, user_id: str, room_id: str, event_id: str
    ) -> None:
        self.account_data.keep(txn, user_id, room_id, FULLY_READ, {"event_id": event_id})


class ReceiptsPart:
    """What /sync says of receipts: at events that the person may see, by people they do not ignore.

    Those that moved since the start are in memory.
    """

    def __init__(self, store: Store, rooms: RoomCache, visibility: Visibility) -> None:
        self._store = store
        self._rooms = rooms
        self._visibility = visibility
        self._floor = self._last = 0
        self._recent: dict[str, dict[tuple[str, str, str], Receipt]] = defaultdict(dict)
        self._newest: dict[str, int] = {}

    def start_at(self, position: int) -> None:
        """From this position of the stream on, this sees every receipt."""
        self._floor = self._last = position

    def __len__(self) -> int:
        return sum(map(len, self._recent.values()))

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, ReceiptMoved):
                receipt = change.receipt
                key = (receipt.user_id, receipt.receipt_type, receipt.thread_id)
                self._recent[receipt.room_id][key] = receipt
                self._newest[receipt.room_id] = self._last = receipt.position

    async def since(
        self,
        user_id: str,
        since: int | None,
        upto: int,
        rooms: Collection[str],
        new: Collection[str],
    ) -> dict[str, dict[str, Any]]:
        """As a part of /sync in rooms."""
        found = [] if since is None else await self._moved(rooms, since, upto)
        fresh = rooms if since is None else new
        if fresh:
            found = [receipt for receipt in found if receipt.room_id not in fresh]
            found += await self._store.read(lambda txn: receipts.in_rooms(txn, fresh, 0, upto))
        by_room: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in found:
            if receipt.receipt_type == READ or receipt.user_id == user_id:
                by_room[receipt.room_id].append(receipt)
        sections = {}
        for room_id, moved in by_room.items():
            room = self._rooms.peek(room_id) or await self._rooms.get(room_id)
            sight = await self._visibility.sight(room, user_id)
            seen = [
                receipt
                for receipt in moved
                if sight.sees(receipt.seq) and receipt.user_id not in sight.ignored
            ]
            if seen:
                sections[room_id] = {"ephemeral": receipt_events(seen)}
        return sections

    async def _moved(self, rooms: Collection[str], since: int, upto: int) -> list[Receipt]:
        if self._last <= since:
            return []
        if since < self._floor:
            return await self._store.read(lambda txn: receipts.in_rooms(txn, rooms, since, upto))
        return [
            receipt
            for room_id in rooms
            if self._newest.get(room_id, 0) > since
            for receipt in self._recent[room_id].values()
            if since < receipt.position <= upto
        ]


def receipt_events(moved: Iterable[Receipt]) -> list[dict[str, Any]]:
    """One event for each thread: two receipts of one person at one event do not fit into one."""
    contents: dict[str, dict[str, Any]] = {}
    for receipt in moved:
        content = contents.setdefault(receipt.thread_id, {})
        people = content.setdefault(receipt.event_id, {}).setdefault(receipt.receipt_type, {})
        people[receipt.user_id] = {"ts": receipt.ts}
        if receipt.thread_id != UNTHREADED:
            people[receipt.user_id]["thread_id"] = receipt.thread_id
    return [{"type": "m.receipt", "content": content} for content in contents.values()]
