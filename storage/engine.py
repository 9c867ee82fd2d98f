"""What the store asks of a database engine; ``sqlite`` and ``postgres`` are the two that exist."""

from collections.abc import Sequence
from typing import Any, Protocol

from attrs import frozen

Statement = tuple[str, tuple[Any, ...]]
"""SQL and its parameters."""

Key = str | int


@frozen
class Matching:
    """How an engine finds the rows of ``search_texts t`` that have some words."""

    tables: str
    position: str
    """The column that this engine can go along, from either end, without sorting."""
    condition: str
    parameter: str


class Engine(Protocol):
    """One kind of database: how to connect, to begin, and to read its errors."""

    name: str
    errors: type[Exception]
    readers: int

    def connect(self, *, writing: bool) -> Any:
        """A new DB-API connection, outside any transaction."""

    def begin(self, connection: Any, *, writing: bool) -> None:
        """Start a transaction. A writing one waits until it is the only one."""

    def lock_stream(self) -> str:
        """The statement that reads the stream's position and keeps other writers out."""

    def dialect(self, sql: str) -> str:
        """The statement in the words of this engine (``?`` placeholders come in)."""

    def among(self, sql: str, values: Sequence[Key]) -> Statement:
        """The statement with ``values`` for its ``IN (??)``; at least one."""

    def for_each(self, sql: str, keys: Sequence[tuple[Key, ...]]) -> Statement:
        """The statement with ``keys`` for its ``VALUES ??``, some perhaps twice; at least one.

        The columns are called column1, column2, ...
        """

    def insert(self, cursor: Any, sql: str, rows: Sequence[tuple[Key, ...]]) -> None:
        """Execute the statement with ``rows`` for its ``VALUES ??``."""

    def execute_many(self, cursor: Any, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """The same statement, in this engine's words, for each row, in few round trips."""

    def execute_all(self, cursor: Any, statements: Sequence[Statement]) -> None:
        """Statements in this engine's words, in order, in one round trip; the last one's result."""

    def schema(self, sql: str) -> str:
        """The statement of a migration in the words of this engine."""

    def found_by(self, words: Sequence[tuple[str, bool]]) -> Matching:
        """How to find the rows of ``search_texts t`` that have all these words.

        A word comes with whether it may be only the beginning of one; it holds letters and digits.
        """

    def is_lost(self, error: Exception, connection: Any) -> bool:
        """Whether the error means that the connection, not the statement, is at fault."""

    def close(self) -> None:
        """Let go of what outlives the connections."""
