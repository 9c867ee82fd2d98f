"""PostgreSQL through psycopg2, for instances that outgrow one file or one process."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extras import execute_batch

from storage.engine import Matching

_ISOLATION = psycopg2.extensions


@lru_cache(maxsize=2_000)
def _translated(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


class PostgresEngine:
    """A database on a PostgreSQL server (14 or later)."""

    name = "postgres"
    errors: type[Exception] = psycopg2.Error
    readers = 4

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self, *, writing: bool) -> Any:
        connection = psycopg2.connect(
            self._url,
            connect_timeout=5,
            application_name="hearth",
            keepalives_idle=30,
            options="-c client_encoding=UTF8",
        )
        connection.set_session(
            isolation_level=(
                _ISOLATION.ISOLATION_LEVEL_READ_COMMITTED
                if writing
                else _ISOLATION.ISOLATION_LEVEL_REPEATABLE_READ
            ),
            readonly=not writing,
        )
        return connection

    def begin(self, connection: Any, *, writing: bool) -> None:
        """psycopg2 begins by itself, together with the first statement."""

    def lock_stream(self) -> str:
        """The row lock is held until commit, so positions are given in commit order everywhere."""
        return "SELECT position FROM stream FOR UPDATE"

    def dialect(self, sql: str) -> str:
        return _translated(sql)

    def execute_many(self, cursor: Any, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """A hundred rows in each round trip; psycopg2's own executemany takes one for each row."""
        execute_batch(cursor, sql, rows, page_size=100)

    def execute_all(self, cursor: Any, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        cursor.execute(b";".join(cursor.mogrify(sql, params) for sql, params in statements))

    def schema(self, sql: str) -> str:
        return sql

    def found_by(self, words: Sequence[tuple[str, bool]]) -> Matching:
        """Between quotes nothing is a part of the query language."""
        return Matching(
            tables="search_texts t",
            position="t.position",
            condition="t.words @@ CAST(? AS tsquery)",
            parameter=" & ".join(
                f"'{word}'{':*' if is_prefix else ''}" for word, is_prefix in words
            ),
        )

    def is_lost(self, error: Exception, connection: Any) -> bool:
        return connection.closed != 0 or isinstance(
            error, (psycopg2.OperationalError, psycopg2.InterfaceError)
        )

    def close(self) -> None:
        """Nothing outlives the connections."""
