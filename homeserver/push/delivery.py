"""Telling push gateways: a line for each pusher, in order, and again until it has arrived.

Client-server API, "Push Notifications"; push gateway API. What is due is known in memory as the
stream brings it; after a start the database tells what is still due since a pusher was last told.
How far each pusher is gets written down from time to time: after a crash the last moments may be
told again, which gateways and clients know by the event id.
"""

from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, TypeVar

import orjson
from attrs import Factory, define
from twisted.internet.base import DelayedCall
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.task import deferLater
from twisted.logger import Logger

from federation_disabled.egress import Answer, Egress, EgressFailed, EgressRefused
from homeserver.clock import Clock
from homeserver.ignored_people import is_ignore_list
from homeserver.push.changes import Judged, PushersChanged
from homeserver.push.notices import Due, Notices
from homeserver.push.pushers import ENABLED, Pushers
from homeserver.push.sealing import Seal
from homeserver.push.spans import Spans
from homeserver.rooms.changes import EventAdded, EventRedacted
from homeserver.rooms.memberships import Memberships
from schema.errors import Unavailable
from storage import events, push, pushers
from storage.pushers import StoredPusher
from storage.receipts import ReceiptMoved
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction

MOST_DUE = 20
"""Notices that wait for one pusher; the oldest go first when it cannot be reached for long."""
MOST_AT_ONCE = 20
FIRST_WAIT, LONGEST_WAIT = 1, 3600
"""Seconds until a gateway that could not be told is asked again; twice as long each time."""
TOO_OLD_MS = 24 * 3600 * 1000
ANSWER_LIMIT, TIMEOUT = 64 * 1024, 20

T = TypeVar("T")
Json = dict[str, Any]
Background = Callable[[str, Coroutine[Any, Any, None]], None]


@define(eq=False)
class _Line:
    """What waits to be told to one pusher."""

    stored: StoredPusher
    pusher: Json
    due: deque[Due] = Factory(lambda: deque(maxlen=MOST_DUE))
    badge: int | None = None
    """What it was last told to be unread."""
    wants_badge: bool = False
    is_busy: bool = False
    failures: int = 0
    retry: DelayedCall | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.stored.user_id, self.stored.app_id, self.stored.fingerprint


@define(eq=False)
class _Loading:
    """Somebody's pushers are being read; meanwhile this is due."""

    due: list[Due] = Factory(list)
    is_outdated: bool = False


class PushDelivery:
    """Follows the stream, and tells pushers what concerns them."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: Store,
        seal: Seal,
        all_pushers: Pushers,
        memberships: Memberships,
        spans: Spans,
        notices: Notices,
        egress: Egress,
        background: Background,
        clock: Clock,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._seal = seal
        self._pushers = all_pushers
        self._memberships = memberships
        self._spans = spans
        self._notices = notices
        self._egress = egress
        self._background = background
        self._clock = clock
        self._lines: dict[str, dict[tuple[str, str, str], _Line]] = {}
        self._loading: dict[str, _Loading] = {}
        self._at_once = DeferredSemaphore(MOST_AT_ONCE)
        self._upto = 0
        self._asking: set[Deferred[Answer]] = set()
        self._is_taken_up = False
        self._is_unwritten = False
        self._is_over = False

    def __len__(self) -> int:
        in_lines = sum(len(line.due) for lines in self._lines.values() for line in lines.values())
        return in_lines + sum(len(loading.due) for loading in self._loading.values())

    def start_at(self, position: int) -> None:
        """From this position of the stream on, this sees everything."""
        self._upto = position

    def start(self) -> None:
        """Take up what was due when the server stopped."""
        self._background("Taking up push notifications", self._take_up())

    async def stop(self) -> None:
        """Begin nothing any more, and write down how far everybody is."""
        self._is_over = True
        for lines in self._lines.values():
            for line in lines.values():
                if line.retry is not None:
                    line.retry.cancel()
        for asked in [*self._asking]:
            asked.cancel()
        await self.note()

    async def note(self) -> None:
        """Write down how far everybody is; from time to time."""
        if not self._is_unwritten or not self._is_taken_up or self._loading:
            return
        self._is_unwritten = False
        behind = [
            (line.due[0].event.position - 1, *line.key)
            for lines in self._lines.values()
            for line in lines.values()
            if line.due
        ]
        upto = self._upto
        await self._store.write(lambda txn: pushers.told(txn, upto, behind))

    def follow(self, changes: Sequence[Change]) -> None:
        """Follower of the stream: what concerns somebody with a pusher joins their line."""
        self._upto = changes[-1].position
        added: dict[int, EventAdded] | None = None
        for change in changes:
            if isinstance(change, PushersChanged):
                self._load_soon(change.user_id, badge=0)
            elif not self._lines and not self._loading:
                continue
            elif isinstance(change, Judged) and not change.is_redacted:
                if added is None:
                    added = {e.position: e for e in changes if isinstance(e, EventAdded)}
                self._judged(change, added[change.position])
            elif isinstance(change, EventRedacted):
                self._redacted(change)
            elif isinstance(change, ReceiptMoved) and change.receipt.user_id in self._lines:
                self._badge(change.receipt.user_id)
            elif is_ignore_list(change):
                self._badge(change.users[0])

    def _judged(self, judged: Judged, added: EventAdded) -> None:
        joined = self._memberships.joined(judged.room_id)
        concerned = {user_id for user_id in self._owners() if user_id in joined}
        for user_id in concerned | (judged.by_person.keys() & self._owners()):
            if user_id == judged.sender:
                self._badge(user_id)
                continue
            if self._notices.ignores(user_id, judged.sender):
                continue
            span = self._spans.find(user_id, judged.room_id)
            verdict = judged.verdict(user_id, self._spans.variant(span).number)
            if verdict & 1:
                self._add(user_id, Due(added.event, judged.thread_id, bool(verdict & 2)))

    def _owners(self) -> set[str]:
        return self._lines.keys() | self._loading.keys()

    def _add(self, user_id: str, due: Due) -> None:
        if user_id in self._loading:
            self._loading[user_id].due.append(due)
            return
        for line in self._lines[user_id].values():
            line.due.append(due)
            self._go_on(line)

    def _redacted(self, change: EventRedacted) -> None:
        for lines in self._lines.values():
            for line in lines.values():
                for due in [each for each in line.due if each.event.seq == change.event.seq]:
                    if due.event.event_id == change.event.event_id:
                        line.due.remove(due)
        for loading in self._loading.values():
            event_id = change.event.event_id
            loading.due = [due for due in loading.due if due.event.event_id != event_id]
            # What has been read already may hold it, too.
            loading.is_outdated = True

    def _badge(self, user_id: str) -> None:
        for line in self._lines.get(user_id, {}).values():
            line.wants_badge = True
            self._go_on(line)

    # Which pushers there are, and what they have missed.

    async def _take_up(self) -> None:
        for user_id in await self._read_at_last(pushers.owners):
            self._load_soon(user_id, badge=None)
        self._is_taken_up = True

    def _load_soon(self, user_id: str, badge: int | None) -> None:
        """``badge`` is what a phone shows that has not been told of anything by this process."""
        if user_id in self._loading:
            self._loading[user_id].is_outdated = True
        elif not self._is_over:
            self._loading[user_id] = _Loading()
            self._background("Looking for pushers", self._load(user_id, badge))

    async def _load(self, user_id: str, badge: int | None) -> None:
        loading = self._loading[user_id]
        try:
            loading.is_outdated = True
            while loading.is_outdated:
                loading.is_outdated = False
                stored, missed, read_at = await self._read(user_id)
        finally:
            del self._loading[user_id]
        before = self._lines.pop(user_id, {})
        lines = {}
        for each in stored:
            text = self._seal.open(each.sealed)
            if text is None:
                continue
            pusher = {**orjson.loads(text), "pushkey_ts": each.pushkey_ts}
            line = _Line(each, pusher, badge=badge)
            known = before.pop(line.key, None)
            if known is None:
                line.due.extend(due for due in missed if due.event.position > each.since)
                line.due.extend(due for due in loading.due if due.event.position > read_at)
            else:
                known.stored, known.pusher, line = each, pusher, known
                line.due.extend(loading.due)
            lines[line.key] = line
        for gone in before.values():
            gone.due.clear()
            gone.wants_badge = False
        if lines:
            self._lines[user_id] = lines
        for line in lines.values():
            self._go_on(line)

    async def _read(self, user_id: str) -> tuple[list[StoredPusher], list[Due], int]:
        ignored = self._notices.ignored.of(user_id)
        return await self._read_at_last(lambda txn: _read(txn, user_id, ignored))

    async def _read_at_last(self, work: Callable[[Transaction], T]) -> T:
        """Ask the database until it answers; who is not found now would never be told anything."""
        while True:
            try:
                return await self._store.read(work)
            except Unavailable:
                if self._is_over:
                    raise
            await deferLater(self._reactor, FIRST_WAIT)

    # One line.

    def _may_tell(self, line: _Line) -> bool:
        """Whether something is due, and nobody looks whether the pusher is still there."""
        is_held = self._is_over or line.stored.user_id in self._loading
        return bool(line.due or line.wants_badge) and not is_held

    def _go_on(self, line: _Line) -> None:
        if self._may_tell(line) and not (line.is_busy or line.retry):
            line.is_busy = True
            self._background("Telling a push gateway", self._work(line))

    async def _work(self, line: _Line) -> None:
        try:
            while self._may_tell(line):
                await self._at_once.acquire()
                try:
                    has_arrived = await self._next(line)
                except Unavailable:  # the database: what is unread has to be counted again
                    has_arrived, line.wants_badge = False, True
                finally:
                    self._at_once.release()
                if not has_arrived:
                    self._later(line)
                    return
                line.failures = 0
                self._is_unwritten = True
        finally:
            line.is_busy = False

    async def _next(self, line: _Line) -> bool:
        """Tell the next thing, or find that there is no need to; whether that is settled."""
        user_id = line.stored.user_id
        if not line.pusher.get(ENABLED, True):
            # Silenced: what comes meanwhile is not told later either.
            line.due.clear()
            line.wants_badge = False
            return True
        if not line.due:
            line.wants_badge = False
            unread = await self._notices.unread(user_id)
            if line.due:
                # What has become due meanwhile brings the number along.
                line.wants_badge = True
                return True
            if unread == line.badge:
                return True
            if not await self._tell(line, self._notices.badge(line.pusher, unread), unread):
                line.wants_badge = True
                return False
            return True
        due = line.due[0]
        is_old = self._clock() - due.event.origin_server_ts > TOO_OLD_MS
        if not is_old and not await self._notices.is_read(user_id, due):
            unread = await self._notices.unread(user_id)
            notice = await self._notices.about(user_id, line.pusher, due, unread)
            if not await self._tell(line, notice, unread):
                return False
        if line.due and line.due[0] is due:
            line.due.popleft()
        return True

    async def _tell(self, line: _Line, notice: Json, unread: int) -> bool:
        """Ask the gateway; False if that has to be tried again."""
        if line.stored.user_id in self._loading:
            return False
        url = line.pusher["data"]["url"]
        asking = self._egress.post_json(url, notice, limit=ANSWER_LIMIT, timeout=TIMEOUT)
        asked = Deferred.fromCoroutine(asking)
        self._asking.add(asked)
        try:
            rejected = _rejected(await asked)
        except (EgressFailed, EgressRefused) as problem:
            if not line.failures:
                self._log.warn(
                    "A push gateway of {user} could not be told: {problem}",
                    user=line.stored.user_id,
                    problem=str(problem),
                )
            return False
        except CancelledError:
            return False
        finally:
            self._asking.discard(asked)
        line.badge = unread
        if line.pusher["pushkey"] in rejected:
            self._log.info("A gateway knows a pusher of {user} no more", user=line.stored.user_id)
            line.due.clear()
            await self._pushers.remove(*line.key)
        return True

    def _later(self, line: _Line) -> None:
        seconds = min(FIRST_WAIT * 2 ** min(line.failures, 20), LONGEST_WAIT)
        line.failures += 1
        if not self._is_over:
            line.retry = self._reactor.callLater(seconds, self._try_again, line)

    def _try_again(self, line: _Line) -> None:
        line.retry = None
        self._go_on(line)


def _rejected(answer: Answer) -> list[Any]:
    """The pushkeys that a gateway does not know any more."""
    if answer.status != 200:
        raise EgressFailed(f"The gateway answered with status {answer.status}")
    body = answer.json()
    rejected = body.get("rejected") if isinstance(body, dict) else None
    return rejected if isinstance(rejected, list) else []


def _read(
    txn: Transaction, user_id: str, ignored: Collection[str]
) -> tuple[list[StoredPusher], list[Due], int]:
    """Somebody's pushers, what they may have missed, oldest first, and as of which position."""
    stored = pushers.of_person(txn, user_id)
    position = push.stream_position(txn)
    since = min((each.since for each in stored), default=position)
    found = push.notified(txn, user_id, ignored, since, position + 1, MOST_DUE, highlights=False)
    missed = found[::-1]
    sent = events.find_many(txn, [each.event_id for each in missed])
    due = [Due(sent[each.event_id], each.thread_id, bool(each.highlight)) for each in missed]
    return stored, due, position
