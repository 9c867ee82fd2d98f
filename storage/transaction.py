"""What a piece of work gets from the store: SQL, and the next position of the stream."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from storage.engine import Engine, Key, Matching, Statement
from storage.stream import Change

Row = tuple[Any, ...]
Hook = Callable[[], None]
Work = Callable[["WriteTransaction"], Any]

_PORTION = 512


class Transaction:
    """SQL inside one transaction. Returns values, never cursors.

    Work that gets it may run again after a failed attempt, so it must not do anything but SQL,
    ``announce`` and ``after_commit``.
    """

    def __init__(self, engine: Engine, connection: Any) -> None:
        self._engine = engine
        self._cursor = connection.cursor()
        self._kept: list[Statement] = []
        self.queries = self.writes = 0

    def _execute(self, sql: str, params: tuple[Any, ...]) -> Any:
        self.queries += 1
        if not sql.startswith("SELECT"):
            self.writes += 1
        statement = self._engine.dialect(sql)
        if self._kept:
            self._send((statement, params))
        else:
            self._cursor.execute(statement, params)
        return self._cursor

    def _send(self, *last: Statement) -> None:
        self._engine.execute_all(self._cursor, [*self._kept, *last])
        # Not if that failed: whoever came next may take it for theirs, but the end fails as well.
        self._kept = []

    def all(self, sql: str, *params: Any) -> list[Row]:
        """Every row that the statement gives."""
        rows: list[Row] = self._execute(sql, params).fetchall()
        return rows

    def one(self, sql: str, *params: Any) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._execute(sql, params).fetchone()
        return row

    def value(self, sql: str, *params: Any) -> Any:
        """The first column of the first row, or None."""
        row = self._execute(sql, params).fetchone()
        return None if row is None else row[0]

    def run(self, sql: str, *params: Any) -> int:
        """How many rows the statement changed."""
        count: int = self._execute(sql, params).rowcount
        return count

    def insert(self, sql: str, rows: Iterable[tuple[Key, ...]]) -> None:
        """A statement that stores ``rows``, for which its ``VALUES ??`` stands."""
        self._write_now()
        self._engine.insert(self._cursor, sql, list(rows))

    def many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """The same statement for each row of parameters."""
        self._write_now()
        self._engine.execute_many(self._cursor, self._engine.dialect(sql), list(rows))

    def _write_now(self) -> None:
        self.queries += 1
        self.writes += 1
        if self._kept:
            self._send()

    def among(self, sql: str, values: Iterable[Any], *params: Any) -> list[Row]:
        """Every row of a statement whose ``IN (??)`` stands for ``values``, which come first.

        Asked in portions, so that any number of values will do; the order of rows is then only
        that of a portion.
        """
        everything = list(values)
        rows: list[Row] = []
        for start in range(0, len(everything), _PORTION):
            statement, given = self._engine.among(sql, everything[start : start + _PORTION])
            rows += self.all(statement, *given, *params)
        return rows

    def for_each(self, sql: str, keys: Sequence[tuple[Key, ...]], *params: Any) -> list[Row]:
        """Every row of a statement whose ``VALUES ??`` stands for ``keys``, which come first.

        Asked in portions, in which the last key may come more than once. The columns are called
        column1, column2, ...
        """
        rows: list[Row] = []
        for start in range(0, len(keys), _PORTION):
            statement, given = self._engine.for_each(sql, keys[start : start + _PORTION])
            rows += self.all(statement, *given, *params)
        return rows

    def found_by(self, words: Sequence[tuple[str, bool]]) -> Matching:
        """How to find the rows of ``search_texts t`` that have all these words.

        A word comes with whether it may be only the beginning of one; it holds letters and digits.
        """
        return self._engine.found_by(words)

    def close(self) -> None:
        self._cursor.close()


class WriteTransaction(Transaction):
    """A transaction of the committer: the only kind that can change something."""

    def __init__(self, engine: Engine, connection: Any, works: Sequence[Work] = ()) -> None:
        super().__init__(engine, connection)
        self.works = works
        """All that is done in this transaction, so that one can ask the database for others."""
        self._begun_at: int = self.value(engine.lock_stream())
        self._position = self._begun_at
        self.changes: list[Change] = []
        self.hooks: list[Hook] = []
        self.overlay: dict[Any, Any] = {}
        """What work that is not public yet has made of cached values; undone if it fails."""

    def later(self, sql: str, *params: Any) -> None:
        """A statement that changes something and gives nothing back, sent with the next one.

        The next one finds it done. If it fails, that one raises, or the commit does.
        """
        self.queries += 1
        self.writes += 1
        self._kept.append((self._engine.dialect(sql), params))

    def position(self) -> int:
        """The next position of the stream; it is public once this transaction has committed."""
        self._position += 1
        return self._position

    def leap(self, count: int) -> tuple[int, int]:
        """Leave out so many positions for ever; the first and the last of them."""
        first = self._position + 1
        self._position += count
        return first, self._position

    @property
    def last_position(self) -> int:
        """The position that was given last, by this transaction or before it."""
        return self._position

    def announce(self, change: Change) -> None:
        """Publish ``change`` on the stream after the commit."""
        self.changes.append(change)

    def after_commit(self, hook: Hook) -> None:
        """Call ``hook`` on the reactor thread once the data is safe, before the caller's answer."""
        self.hooks.append(hook)

    @property
    def has_positions(self) -> bool:
        """Whether this transaction has moved the stream."""
        return self._position != self._begun_at

    @property
    def effects(self) -> tuple[int, int, int, int]:
        """What changes with whatever work does; the same before and after work that did nothing."""
        return self.writes, self._position, len(self.changes), len(self.hooks)

    def finish(self) -> None:
        """Send what is left, and how far the stream has come. The committer calls it last.

        What somebody hears of moves the stream in any case: it tells a commit from none.
        """
        if self.hooks and not self.has_positions:
            self.position()
        if self.has_positions:
            self.later("UPDATE stream SET position = ?", self._position)
        if self._kept:
            self._send()
