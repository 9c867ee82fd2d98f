"""The store: the one way to the database, the same for SQLite and PostgreSQL.

Reads run on a small pool of threads, each in a transaction of its own that sees one moment. Writes
go through the committer. The reactor thread never touches the database.
"""

from collections.abc import Callable
from threading import local
from time import perf_counter
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from schema.errors import Overloaded, Unavailable
from storage.committer import Committer
from storage.engine import Engine
from storage.migrate import migrate
from storage.restore import gaps
from storage.stream import Stream
from storage.transaction import Transaction, WriteTransaction

T = TypeVar("T")

MAX_READING = 2_000


class Meter(Protocol):
    """Who wants to know what the database costs."""

    def database(self, kind: str, queries: int, seconds: float) -> None:
        """One ``read`` or ``write`` is over. Called in the context of whoever asked for it."""


class Store:
    """Reading and writing, with functions that get a Transaction."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorFromThreads, engine: Engine, stream: Stream, meter: Meter
    ) -> None:
        self._reactor = reactor
        self._engine = engine
        self._stream = stream
        self._meter = meter
        self._mine = local()
        self._is_closed = False
        self._connections: list[Any] = []
        self._reading = 0
        self._readers = ThreadPool(engine.readers, engine.readers, name="hearth-readers")
        self._writer = ThreadPool(1, 1, name="hearth-writer")
        self._committer = Committer(reactor, self._writer, engine, stream)

    def open(self) -> None:
        """Bring the database to this version's schema, and start the threads. Blocks; once.

        Raises:
            SchemaTooNew: a newer version of Hearth has used this database.
        """
        connection = self._engine.connect(writing=True)
        try:
            position = migrate(self._engine, connection)
        finally:
            connection.close()
        self._stream.start_at(position, self.load(gaps))
        self._readers.start()
        self._writer.start()

    def close(self) -> None:
        """Finish what has been started, then let go of the database. Blocks."""
        self._is_closed = True
        self._writer.stop()
        self._readers.stop()
        self._committer.close()
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._engine.close()

    @property
    def waiting(self) -> int:
        """How many writes wait for the committer."""
        return self._committer.waiting

    @property
    def reading(self) -> int:
        """How many reads wait or are under way."""
        return self._reading

    def load(self, work: Callable[[Transaction], T]) -> T:
        """Read on the calling thread: for filling caches before the reactor runs."""
        connection = self._engine.connect(writing=False)
        try:
            return self._in_transaction(connection, work)[0]
        finally:
            connection.close()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` on a reader's thread and return its value.

        Raises:
            Overloaded: too much is waiting already.
            Unavailable: the database cannot be reached, or the server has stopped.
        """
        self._check_open()
        if self._reading >= MAX_READING:
            raise Overloaded("The server is overloaded; try again in a moment", retry_after_ms=2000)
        began = perf_counter()
        value, queries = await self._on_reader(work)
        self._meter.database("read", queries, perf_counter() - began)
        return value

    async def write(self, work: Callable[[WriteTransaction], T]) -> T:
        """Run ``work`` in the committer's next transaction; return its value after the commit.

        When this returns, the changes that the work announced are public and its hooks have run.
        A started write ends even if nobody waits for it any more.

        Raises:
            Overloaded: too much is waiting already.
            Unavailable: the database cannot be reached, or the server has stopped.
            whatever ``work`` raises; nothing of it is stored then.
        """
        self._check_open()
        began = perf_counter()
        written = await self._committer.submit(work)
        self._meter.database("write", written.queries, perf_counter() - began)
        if written.error is not None:
            raise written.error
        value: T = written.value
        return value

    def _on_reader(self, work: Callable[[Transaction], T]) -> "Deferred[tuple[T, int]]":
        """It counts until its turn has come, also when nobody waits for it any more."""
        done: Deferred[tuple[T, int]] = Deferred()
        self._reading += 1
        running = deferToThreadPool(self._reactor, self._readers, self._read_for, done, work)
        running.addBoth(self._have_read, done)
        return done

    def _have_read(self, result: Any, done: "Deferred[Any]") -> None:
        self._reading -= 1
        done.callback(result)

    def _check_open(self) -> None:
        # The threads are gone: whoever waited for them would wait for ever.
        if self._is_closed:
            raise Unavailable("The server has stopped")

    # From here on: on a reader's thread.

    def _read_for(self, done: "Deferred[Any]", work: Callable[[Transaction], T]) -> tuple[T, int]:
        if done.called:
            raise CancelledError  # whoever asked has left meanwhile
        return self._read(work)

    def _read(self, work: Callable[[Transaction], T]) -> tuple[T, int]:
        """Reading has no effects, so after a lost connection it is simply done again."""
        try:
            return self._in_transaction(self._connection(), work)
        except self._engine.errors as error:
            connection = self._mine.connection  # None: there was none to be had
            if connection is not None and not self._engine.is_lost(error, connection):
                raise
            self._forget_connection()
        try:
            return self._in_transaction(self._connection(), work)
        except self._engine.errors as error:
            self._forget_connection()
            self._log.error("The database cannot be reached: {error}", error=error)
            raise Unavailable(
                "The database cannot be reached now; try again in a moment"
            ) from error

    def _in_transaction(self, connection: Any, work: Callable[[Transaction], T]) -> tuple[T, int]:
        self._engine.begin(connection, writing=False)
        txn = Transaction(self._engine, connection)
        try:
            return work(txn), txn.queries
        finally:
            txn.close()
            connection.rollback()

    def _connection(self) -> Any:
        connection = getattr(self._mine, "connection", None)
        if connection is None:
            self._mine.connection = None
            connection = self._engine.connect(writing=False)
            self._mine.connection = connection
            self._connections.append(connection)
        return connection

    def _forget_connection(self) -> None:
        connection, self._mine.connection = self._mine.connection, None
        if connection is not None:
            self._connections.remove(connection)
            connection.close()
