"""Hands a service its transactions: one at a time, in order, each until it is acknowledged.

Application Service API, "Pushing events".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from orjson import Fragment
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from federation_disabled.egress import EgressFailed, EgressRefused
from homeserver.bridges.outside import Outside
from homeserver.bridges.registration import Registration
from homeserver.bridges.transactions import Composer
from homeserver.clock import Clock
from schema.errors import MatrixError
from storage import bridges
from storage.bridges import Letter, Progress
from storage.store import Store
from storage.stream import Change, Stream
from storage.to_device import Device

SECONDS_TO_ANSWER = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Between attempts, in seconds; each pause is twice the last one."""
SHORTEST_PAUSE_MS = 1000
"""Between attempts that the service itself causes by calling."""
MOST_UNWRITTEN = 1000
"""So many positions may be looked at again after a restart."""


@frozen
class Exits:
    """Where a pusher writes to."""

    store: Store
    stream: Stream
    outside: Outside
    handed_over: Callable[[Mapping[Device, int]], None]
    """The queues of devices have been emptied up to these positions."""


class Pusher:
    """Keeps one service up to date."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        service: Registration,
        composer: Composer,
        exits: Exits,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._service = service
        self._composer = composer
        self._exits = exits
        self._position = self._written = 0
        self._letter: Letter | None = None
        self._is_kept = False
        self._has_news = True
        self._is_stopping = False
        self._sleeping: Deferred[None] | None = None
        self._running: Deferred[None] | None = None
        self._recall: Any = None
        self._tried_at = 0
        self._waits_for_service = False
        self._failed_in_a_row = 0
        self.failures = 0
        """Attempts in vain since the start."""

    # How it goes, for who wants to know.

    @property
    def behind(self) -> int:
        """How many positions of the stream the service has not got past."""
        return max(0, self._exits.stream.position - self._position)

    @property
    def waiting_seconds(self) -> float:
        """How long the oldest transaction has been waiting for its acknowledgement."""
        return 0.0 if self._letter is None else (self._clock() - self._letter.created_at) / 1000

    # What happens to it.

    def start(self, progress: Progress) -> None:
        """Begin where the service was."""
        self._position = self._written = progress.position
        self._letter, self._is_kept = progress.letter, True
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """End what is under way; what is not acknowledged will be sent again."""
        self._is_stopping = True
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await running

    def follow(self, changes: Sequence[Change]) -> None:
        """Follower of the stream. What is no concern of the service costs no query."""
        if [change for change in changes if self._composer.concerns(change)]:
            self.wake()
        elif self._is_idle:
            self._position = self._exits.stream.position
            if self._position - self._written > MOST_UNWRITTEN:
                self.wake()

    def wake(self) -> None:
        """There may be news."""
        self._has_news = True
        if not self._waits_for_service:
            self._rouse()

    def called(self) -> None:
        """The service has sent a request: if it was down, it is back, so do not let it wait."""
        if self._waits_for_service and self._recall is None:
            wait = max(0, self._tried_at + SHORTEST_PAUSE_MS - self._clock())
            self._recall = self._reactor.callLater(wait / 1000, self._rouse)

    @property
    def _is_idle(self) -> bool:
        return self._sleeping is not None and not self._waits_for_service and not self._has_news

    # What it does.

    async def _run(self) -> None:
        try:
            # A request that is cancelled may fail in its own way, so the flag has the last word.
            while not self._is_stopping:
                try:
                    await self._step()
                except (EgressFailed, EgressRefused) as error:
                    await self._pause(str(error))
                except MatrixError as error:  # the database is away
                    await self._pause(error.error)
                except CancelledError:
                    raise
                except Exception:
                    self._log.failure("A transaction for {id} failed", id=self._service.id)
                    await self._pause("see above")
        except CancelledError:
            return

    async def _step(self) -> None:
        """Send what is there; or see whether something is there; or wait for it."""
        if self._letter is not None:
            await self._send(self._letter)
        elif self._has_news:
            self._has_news = False
            await self._compose()
        else:
            await self._sleep(None)

    async def _compose(self) -> None:
        composed = await self._composer.compose(self._position, self._exits.stream.position)
        service_id, letter, upto = self._service.id, composed.letter, composed.upto
        if letter is not None:
            if composed.is_kept:
                await self._exits.store.write(lambda txn: bridges.keep(txn, service_id, letter))
            self._letter, self._is_kept = letter, composed.is_kept
        else:
            self._position = upto
            if upto - self._written > MOST_UNWRITTEN:
                await self._exits.store.write(lambda txn: bridges.advance(txn, service_id, upto))
                self._written = upto
        if composed.has_more:
            self._has_news = True

    async def _send(self, letter: Letter) -> None:
        self._tried_at = self._clock()
        answer = await self._exits.outside.ask(
            self._service,
            "PUT",
            "transactions",
            letter.txn_id,
            body=Fragment(letter.body),
            timeout=SECONDS_TO_ANSWER,
        )
        if not 200 <= answer.status < 300:
            raise EgressFailed(f"It answered {answer.status}")
        if self._is_kept:
            service_id = self._service.id
            await self._exits.store.write(lambda txn: bridges.acknowledge(txn, service_id, letter))
            self._exits.handed_over(letter.to_device)
            self._written = letter.upto
        self._position = max(self._position, letter.upto)
        self._letter = None
        if self._failed_in_a_row:
            self._log.info("The application service {id} is back", id=self._service.id)
            self._failed_in_a_row = 0

    async def _pause(self, reason: str) -> None:
        """Wait before the next attempt, longer each time."""
        if self._is_stopping:
            return
        self.failures += 1
        if not self._failed_in_a_row:
            self._log.warn(
                "The application service {id} gets what is for it later, not now: {reason}",
                id=self._service.id,
                reason=reason,
            )
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failed_in_a_row, 10))
        self._failed_in_a_row += 1
        self._has_news = True
        self._waits_for_service = True
        try:
            await self._sleep(pause)
        finally:
            self._waits_for_service = False
            recall, self._recall = self._recall, None
            if recall is not None and recall.active():
                recall.cancel()

    async def _sleep(self, seconds: float | None) -> None:
        self._sleeping = Deferred()
        if seconds is not None:
            self._sleeping.addTimeout(seconds, self._reactor, onTimeoutCancel=_nothing)
        try:
            await self._sleeping
        finally:
            self._sleeping = None

    def _rouse(self) -> None:
        if self._sleeping is not None and not self._sleeping.called:
            self._sleeping.callback(None)


def _nothing(result: object, seconds: float) -> None:
    """The time has passed, which is what was wanted."""
