"""Unread counts: how many events somebody has been notified of and has not read.

A person's counter of a room is summed up from the database when it is first needed, and then kept
up by adding what the stream has brought since; so at the live edge counting makes no query. Moving
a receipt to the end of the unread events empties it, anything else has it summed up anew.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from attrs import Factory, define

from homeserver.ignored_people import IgnoredPeople, is_ignore_list
from homeserver.push.changes import Judged
from homeserver.push.spans import Spans
from homeserver.rooms.changes import EventAdded
from storage import push
from storage.events import Event
from storage.freshness import Freshness
from storage.push import MAIN
from storage.receipts import UNTHREADED, Receipt, ReceiptMoved
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction

MAX_COUNTERS = 50_000
MAX_JUDGED = 64
EVERY_ROOM = ""
_READS = ("m.read", "m.read.private")


@define
class _Thread:
    """What is unread in one thread, and the last event that counted."""

    notify: int = 0
    highlight: int = 0
    newest: int = 0


@define
class Counter:
    """What one person has not read in one room, as of position ``upto``."""

    upto: int
    floor: int = 0
    """The number of the event up to which everything is read."""
    places: dict[str, int] = Factory(dict)
    """By thread: the number of the event up to which it is read."""
    threads: dict[str, _Thread] = Factory(dict)

    def read(self, thread_id: str, seq: int) -> bool:
        """The person has read up to event ``seq``. False: it takes the database to tell the rest.

        With ``UNTHREADED``, every thread.
        """
        if seq <= (self.floor if thread_id == UNTHREADED else self._place(thread_id)):
            return True
        if thread_id == UNTHREADED:
            self.floor = seq
            concerned = [each for each in self.threads if self.places.get(each, 0) < seq]
        else:
            self.places[thread_id] = seq
            concerned = [thread_id] if thread_id in self.threads else []
        if any(self.threads[each].newest > seq for each in concerned):
            return False
        for each in concerned:
            del self.threads[each]
        return True

    def has_read(self, thread_id: str, seq: int) -> bool:
        """Whether the event with this number, in this thread, has been read."""
        return seq <= self._place(thread_id)

    def add(self, judged: Judged, verdict: int) -> None:
        """Count an event, or count it no more."""
        if judged.seq <= self._place(judged.thread_id):
            return
        sign = -1 if judged.is_redacted else 1
        thread = self.threads.setdefault(judged.thread_id, _Thread())
        thread.notify += sign * (verdict & 1)
        thread.highlight += sign * (verdict >> 1)
        thread.newest = max(thread.newest, judged.seq)

    def _place(self, thread_id: str) -> int:
        return max(self.floor, self.places.get(thread_id, 0))

    def as_json(self, *, by_thread: bool) -> dict[str, Any]:
        """For /sync: together, or by thread."""
        if not by_thread:
            return {"unread_notifications": _as_json(self.threads.values())}
        main = [thread for name, thread in self.threads.items() if name == MAIN]
        others = {
            name: _as_json([thread])
            for name, thread in self.threads.items()
            if name != MAIN and thread.notify
        }
        counts: dict[str, Any] = {"unread_notifications": _as_json(main)}
        if others:
            counts["unread_thread_notifications"] = others
        return counts


def _as_json(threads: Iterable[_Thread]) -> dict[str, int]:
    notify = highlight = 0
    for thread in threads:
        notify += thread.notify
        highlight += thread.highlight
    return {"notification_count": notify, "highlight_count": highlight}


class _Recent:
    """What was judged in a room lately: everything after position ``begins_after``."""

    def __init__(self, begins_after: int) -> None:
        self.begins_after = begins_after
        self.newest = begins_after
        self._judged: deque[Judged] = deque()

    def append(self, judged: Judged) -> None:
        self._judged.append(judged)
        self.newest = judged.position
        if len(self._judged) > MAX_JUDGED:
            self.begins_after = self._judged.popleft().position

    def after(self, position: int) -> list[Judged]:
        """Oldest first."""
        found = []
        for judged in reversed(self._judged):
            if judged.position <= position:
                break
            found.append(judged)
        found.reverse()
        return found


class PushCountsPart:
    """What /sync says of unread notifications ("Receiving notifications")."""

    def __init__(
        self, store: Store, spans: Spans, ignored: IgnoredPeople, max_counters: int = MAX_COUNTERS
    ) -> None:
        self._store = store
        self._spans = spans
        self._ignored = ignored
        self._max_counters = max_counters
        self._begun_at = 0
        self._recent: dict[str, _Recent] = {}
        self._counters: OrderedDict[tuple[str, str], Counter] = OrderedDict()
        self._moved = Freshness()

    def start_at(self, position: int) -> None:
        """From this position of the stream on, this sees every event and every receipt."""
        self._begun_at = position
        self._moved = Freshness(position)

    def __len__(self) -> int:
        return len(self._counters)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, Judged):
                recent = self._recent.get(change.room_id)
                if recent is None:
                    recent = self._recent[change.room_id] = _Recent(self._begun_at)
                recent.append(change)
            elif isinstance(change, ReceiptMoved):
                self._note_receipt(change.receipt)
            elif isinstance(change, EventAdded) and change.event.type == "m.room.member":
                self._note_membership(change.event)
            elif is_ignore_list(change):
                self._begin_anew(change.users[0], change.position)

    async def counts(
        self, user_id: str, rooms: Collection[str], *, threads: bool = False
    ) -> dict[str, dict[str, Any]]:
        """As a part of /sync, for rooms that the person has joined.

        With ``threads`` each thread is counted for itself, and the main timeline as one.
        """
        counters = await self._counters_of(user_id, rooms)
        return {
            room_id: counter.as_json(by_thread=threads) for room_id, counter in counters.items()
        }

    async def has_read(self, user_id: str, room_id: str, thread_id: str, seq: int) -> bool:
        """Whether a person who has joined a room has read an event of it, by its number."""
        counters = await self._counters_of(user_id, [room_id])
        return room_id not in counters or counters[room_id].has_read(thread_id, seq)

    async def _counters_of(self, user_id: str, rooms: Collection[str]) -> dict[str, Counter]:
        counters = {}
        missing = []
        for room_id in rooms:
            counter = self._current(user_id, room_id)
            if counter is None:
                missing.append(room_id)
            else:
                counters[room_id] = counter
        if missing:
            ignored = self._ignored.of(user_id)
            summed = await self._store.read(lambda txn: _sum_up(txn, user_id, missing, ignored))
            for room_id, counter in summed.items():
                self._keep(user_id, room_id, counter)
            counters |= summed
        return counters

    def _current(self, user_id: str, room_id: str) -> Counter | None:
        """The counter as of now; None if the database has to be asked."""
        counter = self._counters.get((user_id, room_id))
        if counter is None:
            return None
        recent = self._recent.get(room_id)
        if recent is not None and not self._bring_up(counter, user_id, recent):
            del self._counters[user_id, room_id]
            return None
        self._counters.move_to_end((user_id, room_id))
        return counter

    def _bring_up(self, counter: Counter, user_id: str, recent: _Recent) -> bool:
        """Add what was judged since; False if memory does not have all of it."""
        if counter.upto >= recent.newest:
            return True
        if counter.upto < recent.begins_after:
            return False
        ignored = self._ignored.of(user_id)
        for judged in recent.after(counter.upto):
            if judged.sender == user_id:
                if not counter.read(judged.thread_id, judged.seq):
                    return False
                continue
            if judged.sender in ignored:
                continue
            span = self._spans.find(user_id, judged.room_id)
            if span is not None and judged.judged_at <= span.since:
                # Other rules judged it, of which memory knows no more.
                return False
            counter.add(judged, judged.verdict(user_id, self._spans.variant(span).number))
        counter.upto = recent.newest
        return True

    def _keep(self, user_id: str, room_id: str, counter: Counter) -> None:
        if any(
            self._moved.may_have_changed(key, counter.upto)
            for key in ((user_id, room_id), (user_id, EVERY_ROOM))
        ):
            # It is right for the moment that was asked for, but a receipt has moved since, or the
            # person has come to ignore somebody.
            return
        self._counters[user_id, room_id] = counter
        if len(self._counters) > self._max_counters:
            self._counters.popitem(last=False)

    def _note_receipt(self, receipt: Receipt) -> None:
        if receipt.receipt_type in _READS:
            key = receipt.user_id, receipt.room_id
            self._moved.touch(key, receipt.position)
            counter = self._counters.get(key)
            if counter is not None and not counter.read(receipt.thread_id, receipt.seq):
                del self._counters[key]

    def _begin_anew(self, user_id: str, position: int) -> None:
        """Others count for this person from now on, also among what they have not read yet."""
        self._moved.touch((user_id, EVERY_ROOM), position)
        for key in [key for key in self._counters if key[0] == user_id]:
            del self._counters[key]

    def _note_membership(self, event: Event) -> None:
        """Whoever comes back begins anew, also if somebody counted while they were away."""
        key = event.state_key or "", event.room_id
        self._moved.touch(key, event.position)
        self._counters.pop(key, None)


def _sum_up(
    txn: Transaction, user_id: str, room_ids: Collection[str], ignored: Collection[str]
) -> dict[str, Counter]:
    position = push.stream_position(txn)
    counters: dict[str, Counter] = defaultdict(lambda: Counter(position))
    for room_id, thread_id, seq in push.places(txn, user_id, room_ids):
        if thread_id == UNTHREADED:
            counters[room_id].floor = seq
        else:
            counters[room_id].places[thread_id] = seq
    for unread in push.unread(txn, user_id, room_ids, ignored):
        counters[unread.room_id].threads[unread.thread_id] = _Thread(
            unread.notify, unread.highlight, unread.newest
        )
    return dict(counters)
