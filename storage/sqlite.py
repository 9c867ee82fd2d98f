"""The embedded default: one SQLite file in WAL mode, every commit on the disk before its answer."""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from storage.engine import Key, Matching, Statement

BUSY_SECONDS = 10


def _row(columns: int) -> str:
    return f"({', '.join('?' * columns)})"


class SqliteEngine:
    """A database in one file. Readers never wait for the writer, nor it for them."""

    name = "sqlite"
    errors: type[Exception] = sqlite3.Error
    readers = 4

    def __init__(self, path: Path) -> None:
        self._path = path

    def connect(self, *, writing: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # What is deleted or redacted is overwritten, whatever SQLite was built with.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA cache_size = -8000" if writing else "PRAGMA cache_size = -4000")
        connection.execute("PRAGMA temp_store = MEMORY")
        if not writing:
            connection.execute("PRAGMA query_only = ON")
        return connection

    def begin(self, connection: sqlite3.Connection, *, writing: bool) -> None:
        connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    def lock_stream(self) -> str:
        return "SELECT position FROM stream"

    def dialect(self, sql: str) -> str:
        return sql

    def among(self, sql: str, values: Sequence[Key]) -> Statement:
        return sql.replace("??", ", ".join("?" * len(values))), tuple(values)

    def for_each(self, sql: str, keys: Sequence[tuple[Key, ...]]) -> Statement:
        """Filled up to a power of two with the last key: few different statements to prepare."""
        count = 1 << (len(keys) - 1).bit_length()
        keys = [*keys, *[keys[-1]] * (count - len(keys))]
        rows = ", ".join([_row(len(keys[0]))] * count)
        return sql.replace("??", rows), tuple(chain.from_iterable(keys))

    def insert(self, cursor: sqlite3.Cursor, sql: str, rows: Sequence[tuple[Key, ...]]) -> None:
        if rows:
            cursor.executemany(sql.replace("??", _row(len(rows[0]))), rows)

    def execute_many(
        self, cursor: sqlite3.Cursor, sql: str, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        cursor.executemany(sql, rows)

    def execute_all(self, cursor: sqlite3.Cursor, statements: Sequence[Statement]) -> None:
        for sql, params in statements:
            cursor.execute(sql, params)

    def schema(self, sql: str) -> str:
        """A key of whole numbers is the row's own address when SQLite reads INTEGER."""
        return sql.replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY")

    def found_by(self, words: Sequence[tuple[str, bool]]) -> Matching:
        """Between quotes nothing is a part of FTS5's query language."""
        return Matching(
            # FTS5 goes along its own rowid only; SQLite does not know that t.position is the same.
            tables="search_index i CROSS JOIN search_texts t ON t.position = i.rowid",
            position="i.rowid",
            condition="search_index MATCH ?",
            parameter=" ".join(f'"{word}"{"*" if is_prefix else ""}' for word, is_prefix in words),
        )

    def is_lost(self, error: Exception, connection: sqlite3.Connection) -> bool:
        """A full or missing disk is not the statement's fault; the file is opened anew."""
        return isinstance(error, sqlite3.OperationalError) and any(
            sign in str(error) for sign in ("disk", "unable to open", "locked", "readonly")
        )

    def close(self) -> None:
        """Nothing outlives the connections."""
