"""How much of the disk a database uses: its tables, and what is there only to find things."""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from attrs import frozen

from benchmarks.targets.databases import SERVER


@frozen
class Sizes:
    """Bytes of whole pages, by the name of the table."""

    tables: Mapping[str, int]
    indexes: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.tables.values()) + sum(self.indexes.values())


def sizes(folder: Path, database: str | None) -> Sizes:
    """Of the SQLite file in the data folder, or of a PostgreSQL database.

    Raises:
        RuntimeError: this SQLite cannot tell.
    """
    return _of_file(next(folder.rglob("*.db"))) if database is None else _of_postgres(database)


def _of_file(file: Path) -> Sizes:
    """What a full text index keeps in tables of its own counts as an index."""
    tables: dict[str, int] = {}
    indexes: dict[str, int] = {}
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT s.tbl_name, s.type = 'index' OR t.type = 'shadow', SUM(d.pgsize)"
            " FROM dbstat d JOIN sqlite_schema s ON s.name = d.name"
            " LEFT JOIN pragma_table_list t ON t.name = s.name AND t.schema = 'main'"
            " WHERE d.aggregate = 1 GROUP BY 1, 2"
        ).fetchall()
    except sqlite3.OperationalError as error:
        raise RuntimeError(f"This SQLite was built without dbstat: {error}") from error
    finally:
        connection.close()
    for table, is_index, size in rows:
        (indexes if is_index else tables)[table] = size
    return Sizes(tables, indexes)


def _of_postgres(database: str) -> Sizes:
    url = urlsplit(os.environ[SERVER])._replace(path=f"/{database}").geturl()
    connection = psycopg2.connect(url)
    try:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        rows = cursor.fetchall()
    finally:
        connection.close()
    return Sizes({row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows})
