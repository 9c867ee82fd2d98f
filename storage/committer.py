"""The committer: one writer that takes everything waiting and commits it together.

Under load many requests share one fsync; when idle nothing waits. The next batch begins only after
the changes of the last one are public, so work always finds caches that agree with the database.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from schema.errors import Overloaded, Unavailable
from storage.engine import Engine
from storage.stream import Change, Stream
from storage.transaction import Hook, Work, WriteTransaction

MAX_BATCH = 200
MAX_WAITING = 5_000


@frozen
class Written:
    """What one piece of work came to: its value or its exception, and what it cost."""

    value: Any
    error: Exception | None
    queries: int
    seconds: float


@define
class Attempt:
    """One transaction that committed: its works' results and everything to do afterwards."""

    results: list[Written] = field(factory=list)
    changes: list[Change] = field(factory=list)
    hooks: list[Hook] = field(factory=list)
    overlay: dict[Any, Any] = field(factory=dict)
    position: int | None = None


class _Lost(Unavailable):
    """The database cannot be reached, or it is not known what it did last."""

    def __init__(self) -> None:
        super().__init__("The database cannot be reached now; try again in a moment")


def _failed(error: Exception, count: int) -> Attempt:
    return Attempt(results=[Written(None, error, 0, 0.0)] * count)


class Committer:
    """Runs writing work in order, in batches, on one thread with one connection."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorFromThreads, pool: ThreadPool, engine: Engine, stream: Stream
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._engine = engine
        self._stream = stream
        self._connection: Any = None
        self._doubtful: Attempt | None = None
        self._waiting: deque[tuple[Work, Deferred[Written]]] = deque()
        self._busy = False

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for their transaction."""
        return len(self._waiting)

    def submit(self, work: Work) -> "Deferred[Written]":
        """Run ``work`` in the next transaction. The Deferred fires after its commit.

        Raises:
            Overloaded: too much is waiting already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded("The server is overloaded; try again in a moment", retry_after_ms=2000)
        done: Deferred[Written] = Deferred()
        self._waiting.append((work, done))
        if not self._busy:
            self._busy = True
            self._start_batch()
        return done

    def close(self) -> None:
        """Let go of the connection. Only after the thread pool has stopped."""
        self._drop_connection()

    def _start_batch(self) -> None:
        count = min(len(self._waiting), MAX_BATCH)
        batch = [self._waiting.popleft() for _ in range(count)]
        works = [work for work, _ in batch]
        running = deferToThreadPool(self._reactor, self._pool, self._commit, works)
        running.addBoth(self._publish, [done for _, done in batch])

    def _publish(
        self, attempts: "Sequence[Attempt] | Failure", callers: "Sequence[Deferred[Written]]"
    ) -> None:
        if isinstance(attempts, Failure):
            self._log.failure("The committer itself failed", failure=attempts)
            error = Unavailable("The database does not answer; try again in a moment")
            attempts = [Attempt(results=[Written(None, error, 0, 0.0)] * len(callers))]
        for attempt in attempts:
            if attempt.position is not None:
                self._guarded(partial(self._stream.publish, attempt.position, attempt.changes))
                for hook in attempt.hooks:
                    self._guarded(hook)
        results = [result for attempt in attempts for result in attempt.results]
        for caller, result in zip(callers, results, strict=True):
            caller.callback(result)
        if self._waiting:
            self._start_batch()
        else:
            self._busy = False

    def _guarded(self, call: Callable[[], None]) -> None:
        """A follower's mistake must not keep the callers of committed work waiting."""
        try:
            call()
        except Exception:
            self._log.failure("A follower of the stream failed")

    # From here on: on the writer thread.

    def _commit(self, works: Sequence[Work]) -> list[Attempt]:
        """Commit all together; if the database fails, or work that has written already, each alone.

        What those commit becomes public only when all are done, so each hands what it has made of
        cached values to the next one.
        """
        overlay: dict[Any, Any] = {}
        settled = self._settle(overlay)
        # Who asked for it has been refused long since; but it has happened, so it becomes public.
        attempts = [] if settled is None else [evolve(settled, results=[])]
        attempt, error = self._attempt(works, overlay)
        if error is None:
            return [*attempts, attempt]
        if len(works) == 1 or isinstance(error, _Lost):
            return [*attempts, _failed(error, len(works))]
        for index, work in enumerate(works):
            attempt, error = self._attempt([work], overlay)
            if isinstance(error, _Lost):
                return [*attempts, _failed(error, len(works) - index)]
            attempts.append(attempt if error is None else _failed(error, 1))
        return attempts

    def _attempt(
        self, works: Sequence[Work], overlay: dict[Any, Any]
    ) -> tuple[Attempt, Exception | None]:
        """One transaction, on top of what ``overlay`` holds; it is kept up if that commits."""
        attempt = Attempt()
        try:
            self._begin()
            txn = WriteTransaction(self._engine, self._connection, works)
            txn.overlay.update(overlay)
            for work in works:
                attempt.results.append(self._run(txn, work))
            txn.finish()
            txn.close()
        except Exception as error:
            return attempt, self._roll_back(error)
        attempt.changes, attempt.hooks, attempt.overlay = txn.changes, txn.hooks, txn.overlay
        attempt.position = txn.last_position
        try:
            self._connection.commit()
        except Exception as error:
            refusal = self._roll_back(error)
            if isinstance(refusal, _Lost) and txn.has_positions:
                self._doubtful = attempt
                settled = self._settle(overlay)
                if settled is not None:
                    return settled, None
            return attempt, refusal
        overlay.update(attempt.overlay)
        return attempt, None

    def _run(self, txn: WriteTransaction, work: Work) -> Written:
        """Run one piece of work. Refused before it has written, it leaves nothing to undo."""
        queries, effects, began = txn.queries, txn.effects, perf_counter()
        value, refusal = None, None
        try:
            value = work(txn)
        except Exception as error:
            if isinstance(error, self._engine.errors) or txn.effects != effects:
                raise
            refusal = error
        return Written(value, refusal, txn.queries - queries, perf_counter() - began)

    def _begin(self) -> None:
        if self._doubtful is not None:
            raise _Lost()  # until it is settled, memory may be behind the database
        if self._connection is None:
            self._connection = self._engine.connect(writing=True)
        self._engine.begin(self._connection, writing=True)

    def _settle(self, overlay: dict[Any, Any]) -> Attempt | None:
        """What became of a commit during which the connection was lost: the attempt, if it is done.

        Every commit that somebody hears of moves the stream. So it shows, once the database can be
        reached again and its server has ended the old connection's transaction.
        """
        attempt, self._doubtful = self._doubtful, None
        if attempt is None:
            return None
        try:
            self._begin()
            cursor = self._connection.cursor()
            cursor.execute(self._engine.lock_stream())
            (position,) = cursor.fetchone()
            self._connection.rollback()
        except Exception as error:
            self._roll_back(error)
            self._doubtful = attempt
            return None
        if position != attempt.position:
            return None
        overlay.update(attempt.overlay)
        return attempt

    def _roll_back(self, error: Exception) -> Exception:
        """Undo the attempt; what the caller may hear of it."""
        lost = isinstance(error, _Lost) or (
            isinstance(error, self._engine.errors)
            and (self._connection is None or self._engine.is_lost(error, self._connection))
        )
        if not lost:
            try:
                self._connection.rollback()
            except self._engine.errors:
                lost = True
        if lost:
            self._drop_connection()
            self._log.error("The database cannot be reached: {error}", error=error)
            return _Lost()
        return error

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except self._engine.errors as error:
                self._log.debug("Closing a lost connection: {error}", error=error)
