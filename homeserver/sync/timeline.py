"""The timeline of one room for one answer: which events, and what state goes with it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from attrs import evolve, frozen

from homeserver.rooms.cache import RoomCache
from homeserver.rooms.room import Room
from homeserver.rooms.visibility import Sight
from homeserver.sync.filters import DEFAULT_TIMELINE_LIMIT, RoomEventFilter
from storage import events
from storage.events import Event
from storage.store import Store
from storage.transaction import Transaction

MAX_LOOKED_AT = 5000
PAGE = 100


def allows(wanted: RoomEventFilter, event: Event) -> bool:
    """Whether a filter lets an event through. Its content is parsed only if that matters."""
    if not wanted.allows_room(event.room_id):
        return False
    if wanted.allows_all:
        return True
    content = {} if wanted.contains_url is None else event.content
    return wanted.allows_event(event.type, event.sender, content)


def limit_of(wanted: RoomEventFilter) -> int:
    """How many events a filter asks for."""
    return DEFAULT_TIMELINE_LIMIT if wanted.limit is None else wanted.limit


@frozen
class Timeline:
    """A stretch of a room without gaps, except for what its reader filters away.

    It ends where something begins that the reader may not see: the state may have changed there,
    and what the timeline does not show must be in the state before it.
    """

    events: Sequence[Event]
    before: int
    """The number of the event before the stretch: what came earlier is behind it."""
    upto: int
    """The number of the last event that the stretch covers."""
    limited: bool
    """Whether something lies between this and what the client has."""

    def until(self, seq: int) -> "Timeline":
        """The same for somebody who may see nothing after the event with this number."""
        return evolve(self, before=min(self.before, seq), upto=min(self.upto, seq))


class Timelines:
    """Finds timelines and the state around them, in memory when they are recent."""

    def __init__(self, store: Store, rooms: RoomCache) -> None:
        self._store = store
        self._rooms = rooms

    async def since(
        self, room: Room, since: int, upto: int, wanted: RoomEventFilter, sight: Sight | None
    ) -> Timeline:
        """What happened in ``room`` after position ``since`` and up to ``upto``.

        ``sight`` is None for somebody who was a member all the time and ignores nobody.
        """
        limit = limit_of(wanted)
        recent = self._rooms.recent(room.room_id, since, upto)
        if recent is None:
            timeline = self._after_gap(room, upto, wanted, sight)
            if timeline is None:
                timeline = await self._store.read(
                    lambda txn: _from_database(txn, room, since, upto, wanted, sight)
                )
            return timeline
        if not recent:
            seq = room.seq
            return Timeline([], seq, seq, limited=False)
        stretch = recent if sight is None else _unbroken(recent[::-1], sight)[::-1]
        chosen = _chosen(stretch, wanted, sight)
        before = (stretch or recent)[0].seq - 1
        if len(chosen) > limit:
            chosen = chosen[len(chosen) - limit :]
            before = chosen[0].seq - 1 if chosen else recent[-1].seq
        return Timeline(chosen, before, recent[-1].seq, limited=before >= recent[0].seq)

    def _after_gap(
        self, room: Room, upto: int, wanted: RoomEventFilter, sight: Sight | None
    ) -> Timeline | None:
        """The end of a timeline that begins before what is in memory, if that is all of it that
        the client gets."""
        recent = self._rooms.backwards(room.room_id, upto)
        if not recent:
            return None
        pages, after = partial(_in_memory, recent), recent[-1].seq - 1
        timeline = _assemble(pages, recent[0].seq, after, wanted, sight)
        return timeline if timeline is not None and timeline.limited else None

    async def newest(
        self, room: Room, upto: int, wanted: RoomEventFilter, sight: Sight
    ) -> Timeline:
        """The newest events of ``room`` up to position ``upto``, for a client that has none."""
        recent = self._rooms.backwards(room.room_id, upto)
        if recent:
            timeline = _assemble(partial(_in_memory, recent), recent[0].seq, 0, wanted, sight)
            if timeline is not None:
                return timeline
        return await self._store.read(lambda txn: _from_database(txn, room, 0, upto, wanted, sight))

    async def state_at(
        self, room: Room, seq: int, keys: Collection[tuple[str, str]] | None = None
    ) -> list[Event]:
        """The state of ``room`` after event ``seq``; only some of it if ``keys`` are given.

        What has not changed since is taken from memory.
        """
        if seq == 0:
            return []
        settled: list[Event] = []
        changed: list[Event] = []
        for event in room.state if keys is None else _some(room, keys):
            if event.seq <= seq:
                settled.append(event)
            elif "replaces_state" in event.unsigned or "redacted" in event.unsigned:
                changed.append(event)
        if changed:
            settled += await self._store.read(lambda txn: _older(txn, changed, seq))
        return settled

    async def state_between(self, room: Room, after: int, upto: int) -> list[Event]:
        """The newest of each piece of state that was set with ``after < seq <= upto``."""
        if after >= upto:
            return []
        recent = [event for event in room.state if event.seq > after]
        if all(event.seq <= upto for event in recent):
            return sorted(recent, key=lambda event: event.seq)
        found = await self._store.read(
            lambda txn: events.state_between(txn, room.room_id, after, upto)
        )
        newest = {(event.type, event.state_key): event for event in found}
        return sorted(newest.values(), key=lambda event: event.seq)

    async def envelopes(self, wanted: Sequence[Event]) -> Mapping[str, str]:
        """By event id, the part of each stored event that clients do not see."""
        ids = [event.event_id for event in wanted]
        found = await self._store.read(lambda txn: events.texts(txn, ids))
        return {event_id: envelope for event_id, (_, envelope) in found.items()}

    async def known_state(self, room: Room, position: int) -> int:
        """The number of an event up to which somebody knows the state who knew all of it at a
        position of the stream: the newest one, if only messages have followed."""
        if all(event.position <= position for event in room.state):
            return room.seq
        return await self.seq_at(room, position)

    async def seq_at(self, room: Room, position: int) -> int:
        """How far ``room`` had come at a position of the stream."""
        if room.position <= position:
            return room.seq
        recent = self._rooms.recent(room.room_id, position, room.position)
        if recent:
            return recent[0].seq - 1
        return await self._store.read(lambda txn: events.seq_at(txn, room.room_id, position))


def _some(room: Room, keys: Collection[tuple[str, str]]) -> list[Event]:
    found = (room.state.get(*key) for key in keys)
    return [event for event in found if event is not None]


def _older(txn: Transaction, changed: list[Event], seq: int) -> list[Event]:
    """What stood before the changes. A room's first moments have many; then it is one question."""
    room_id = changed[0].room_id
    if len(changed) > 8:
        keys = {(event.type, event.state_key) for event in changed}
        return [
            event
            for event in events.state_at(txn, room_id, seq)
            if (event.type, event.state_key) in keys
        ]
    found = (
        events.state_event_at(txn, room_id, event.type, event.state_key or "", seq)
        for event in changed
    )
    return [event for event in found if event is not None]


def _unbroken(newest_first: Sequence[Event], sight: Sight, begun: bool = False) -> list[Event]:
    """The newest stretch that may be seen whole. Until it has ``begun``, events are skipped."""
    found: list[Event] = []
    for event in newest_first:
        if sight.sees(event.seq):
            found.append(event)
        elif found or begun:
            break
    return found


def _chosen(stretch: Sequence[Event], wanted: RoomEventFilter, sight: Sight | None) -> list[Event]:
    """What the client wants of what may be seen, without those whom the person ignores."""
    if sight is None:
        return [event for event in stretch if allows(wanted, event)]
    chosen = [event for event in stretch if allows(wanted, sight.seen(event))]
    if sight.ignored:
        chosen = [event for event in chosen if not sight.hides(event)]
    return chosen


_Pages = Callable[[int, int], Sequence[Event] | None]
"""Gives so many events up to a number, newest first; None if it does not have them."""


def _in_memory(recent: Sequence[Event], upto: int, count: int) -> Sequence[Event] | None:
    return [event for event in recent if event.seq <= upto][:count] or None


def _from_database(
    txn: Transaction,
    room: Room,
    since: int,
    upto: int,
    wanted: RoomEventFilter,
    sight: Sight | None,
) -> Timeline:
    last = events.seq_at(txn, room.room_id, upto)
    after = events.seq_at(txn, room.room_id, since) if since else 0

    def page(upto: int, count: int) -> Sequence[Event]:
        return events.backwards(txn, room.room_id, upto, after, count)

    timeline = _assemble(page, last, after, wanted, sight)
    assert timeline is not None  # the database has everything
    return timeline


def _assemble(
    pages: _Pages, last: int, after: int, wanted: RoomEventFilter, sight: Sight | None
) -> Timeline | None:
    """What may be seen and is wanted of the events after one number and up to another.

    None if the pages end before it is certain.
    """
    limit = limit_of(wanted)
    chosen: list[Event] = []
    at, looked_at, begun = last, 0, False
    while at > after and len(chosen) <= limit and looked_at < MAX_LOOKED_AT:
        page = pages(at, max(limit + 1, PAGE))
        if page is None:
            return None
        if not page:
            break
        stretch = page if sight is None else _unbroken(page, sight, begun)
        chosen += _chosen(stretch, wanted, sight)
        begun = begun or bool(stretch)
        if begun and (not stretch or stretch[-1] is not page[-1]):
            at = stretch[-1].seq - 1 if stretch else at
            break
        at = page[-1].seq - 1
        looked_at += len(page)
    limited = len(chosen) > limit or at > after
    before = at
    if len(chosen) > limit:
        chosen = chosen[:limit]
        before = chosen[-1].seq - 1 if chosen else last
    chosen.reverse()
    return Timeline(chosen, before, last, limited)
