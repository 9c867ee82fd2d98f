"""Rooms in memory: the newest moment of each, and the tail of its timeline.

The reactor thread reads what is public; the writer thread reads the same, plus what earlier work of
its transaction has done. The committer starts no transaction before the last one is public, so the
two never disagree about what is committed.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from homeserver.rooms.changes import EventAdded, EventRedacted
from homeserver.rooms.room import Room, RoomState
from homeserver.rooms.versions import get_version
from schema.errors import NotFound
from storage import events, rooms
from storage.events import Event
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction

TAIL = 64
SHORT = 21
"""So many events are fetched for somebody who sees a room for the first time: one more than most
clients ask for, since that one tells whether there are more."""


class Tail:
    """The newest events of a room without a gap, so that the live edge needs no query."""

    def __init__(self, begins_after: int) -> None:
        self.begins_after = begins_after
        """Every event with a higher position on the stream is here."""
        self._events: deque[Event] = deque()

    def append(self, event: Event) -> None:
        """One more event; the database may have had it before it was public."""
        if self._events and event.seq <= self._events[-1].seq:
            return
        self._events.append(event)
        if len(self._events) > TAIL:
            self.begins_after = self._events.popleft().position

    def prepend(self, older: Sequence[Event]) -> None:
        """What came before, oldest first, as far as it joins on."""
        for event in reversed(older):
            first = self._events[0].seq if self._events else event.seq + 1
            if event.seq == first - 1:
                self._events.appendleft(event)
                # Nothing lies between an event and the one before it, wherever that is.
                self.begins_after = event.position - 1

    @property
    def is_short(self) -> bool:
        """Whether it may be too short for a first look at the room."""
        return len(self._events) < SHORT and (not self._events or self._events[0].seq > 1)

    def backwards(self, upto: int) -> list[Event]:
        """The events up to position ``upto``, newest first."""
        return [event for event in reversed(self._events) if event.position <= upto]

    def replace(self, event: Event) -> None:
        """An event has been redacted."""
        for index, old in enumerate(self._events):
            if old.seq == event.seq:
                self._events[index] = event

    def between(self, since: int, upto: int) -> list[Event] | None:
        """The events after position ``since`` and up to ``upto``, oldest first.

        None when some of them may be too old to be here.
        """
        if since < self.begins_after:
            return None
        found = []
        for event in reversed(self._events):
            if event.position <= since:
                break
            if event.position <= upto:
                found.append(event)
        found.reverse()
        return found


class RoomCache:
    """The rooms that somebody has asked for since the start; as many as the neighbourhood has."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: dict[str, Room] = {}
        self._tails: dict[str, Tail] = {}
        self._begun_at = 0
        self._redactions = 0

    def start_at(self, position: int) -> None:
        """From this position of the stream on, the cache sees every event."""
        self._begun_at = position

    def __len__(self) -> int:
        return len(self._rooms)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, EventAdded):
                event = change.event
                self._rooms[event.room_id] = change.room
                tail = self._tails.get(event.room_id)
                if tail is None:
                    tail = self._tails[event.room_id] = Tail(self._begun_at)
                tail.append(event)
            elif isinstance(change, EventRedacted):
                self._redactions += 1
                self._rooms[change.event.room_id] = change.room
                if change.event.room_id in self._tails:
                    self._tails[change.event.room_id].replace(change.event)

    def peek(self, room_id: str) -> Room | None:
        """The room if it is in memory."""
        return self._rooms.get(room_id)

    def may_have_changed(self, room_id: str, since: int) -> bool:
        """Whether the room may have events after a position. False is certain."""
        room = self._rooms.get(room_id)
        return self._begun_at > since if room is None else room.position > since

    def recent(self, room_id: str, since: int, upto: int) -> list[Event] | None:
        """The room's events after ``since`` and up to ``upto``; None when memory is too short."""
        tail = self._tails.get(room_id)
        if tail is None:
            return [] if since >= self._begun_at else None
        return tail.between(since, upto)

    def backwards(self, room_id: str, upto: int) -> list[Event]:
        """The room's events up to position ``upto``, newest first, as far as memory reaches."""
        tail = self._tails.get(room_id)
        return [] if tail is None else tail.backwards(upto)

    async def warm(self, room_ids: Collection[str], *, tails: bool) -> None:
        """Have rooms in memory, with one look at the database for all that are not.

        With ``tails``, also the newest events of each.
        """
        cold = [room_id for room_id in room_ids if room_id not in self._rooms]
        short = [room_id for room_id in room_ids if self._is_short(room_id)] if tails else cold
        if not cold and not short:
            return
        redactions = self._redactions
        found = await self._store.read(
            lambda txn: (load_many(txn, cold), events.newest(txn, short, SHORT))
        )
        rooms, newest = found
        for room in rooms:
            # What the stream has made public meanwhile is newer.
            self._rooms.setdefault(room.room_id, room)
        if redactions != self._redactions:
            return  # an event may have lost its content since it was read
        for room_id, older in newest.items():
            self._tails.setdefault(room_id, Tail(self._begun_at)).prepend(older)

    def _is_short(self, room_id: str) -> bool:
        tail = self._tails.get(room_id)
        return tail is None or tail.is_short

    async def find(self, room_id: str) -> Room | None:
        """The room now, or None if there is none."""
        room = self._rooms.get(room_id)
        if room is None:
            room = await self._store.read(lambda txn: load(txn, room_id))
            if room is not None:
                # What the stream has made public meanwhile is newer.
                room = self._rooms.setdefault(room_id, room)
        return room

    async def get(self, room_id: str) -> Room:
        """The room now.

        Raises:
            NotFound: there is none.
        """
        room = await self.find(room_id)
        if room is None:
            raise NotFound(f"There is no room {room_id}")
        return room

    def head(self, txn: WriteTransaction, room_id: str) -> Room:
        """On the writer thread: the room as this transaction has left it so far.

        Raises:
            NotFound: there is none.
        """
        room: Room | None = txn.overlay.get(room_id) or self._rooms.get(room_id)
        if room is None:
            room = load(txn, room_id)
            if room is None:
                raise NotFound(f"There is no room {room_id}")
            txn.overlay[room_id] = room
        return room


def load(txn: Transaction, room_id: str) -> Room | None:
    """The room as the database has it."""
    return next(iter(load_many(txn, [room_id])), None)


def load_many(txn: Transaction, room_ids: Iterable[str]) -> list[Room]:
    """Those of these rooms that there are, as the database has them."""
    found = rooms.find_many(txn, room_ids)
    known = [row.room_id for row in found]
    newest, states = events.newest(txn, known, 1), events.states(txn, known)
    loaded = []
    for row in found:
        if row.room_id in newest:
            [last] = newest[row.room_id]
            state, version = RoomState.of(states[row.room_id]), get_version(row.version)
            loaded.append(
                Room(row.room_id, version, row.kind, state, last.seq, last.position, last.event_id)
            )
    return loaded
