"""PostgreSQL through psycopg2, for instances that outgrow one file or one process."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import parse_dsn
from psycopg2.extras import execute_batch

from storage.engine import Key, Matching, Statement

_ISOLATION = psycopg2.extensions


_TYPES = {str: "text", int: "bigint"}


def _array(values: Sequence[Key]) -> str:
    """As PostgreSQL reads arrays."""
    quoted = (str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return '{"' + '","'.join(quoted) + '"}'


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
        wishes = {
            "gssencmode": "disable",  # to try Kerberos takes a megabyte
            **parse_dsn(self._url),
            "connect_timeout": 5,
            "application_name": "hearth",
            "keepalives_idle": 30,
            "options": "-c client_encoding=UTF8",
        }
        connection = psycopg2.connect(**wishes)
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

    def among(self, sql: str, values: Sequence[Key]) -> Statement:
        """One parameter, which costs half of what a list does. Of a single value more is known."""
        if len(values) == 1:
            return sql.replace("??", "?"), (values[0],)
        return sql.replace("IN (??)", "= ANY (?)"), (_array(values),)

    def for_each(self, sql: str, keys: Sequence[tuple[Key, ...]]) -> Statement:
        """The same, with one parameter for each column."""
        columns = list(zip(*keys, strict=True))
        if len(keys) == 1:
            return sql.replace("??", f"({', '.join('?' * len(columns))})"), keys[0]
        arrays = ", ".join(f"CAST(? AS {_TYPES[type(column[0])]}[])" for column in columns)
        names = ", ".join(f"column{number}" for number, _ in enumerate(columns, 1))
        table = f"SELECT * FROM unnest({arrays}) AS keys ({names})"
        return sql.replace("VALUES ??", table), tuple(map(_array, columns))

    def insert(self, cursor: Any, sql: str, rows: Sequence[tuple[Key, ...]]) -> None:
        if rows:
            statement, given = self.for_each(sql, rows)
            cursor.execute(_translated(statement), given)

    def execute_many(self, cursor: Any, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """A hundred rows in each round trip; psycopg2's own executemany takes one for each row."""
        execute_batch(cursor, sql, rows, page_size=100)

    def execute_all(self, cursor: Any, statements: Sequence[Statement]) -> None:
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
