"""A fresh database for every run: a file in the data folder, or one on a PostgreSQL server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from urllib.parse import urlsplit

import psycopg2
from attrs import frozen

SERVER = "HEARTH_TEST_POSTGRES"
KINDS = ("sqlite", "postgres")


@frozen
class Database:
    """Where a server keeps its data; ``url`` is None for SQLite."""

    url: str | None = None

    @property
    def name(self) -> str | None:
        """The name of the PostgreSQL database."""
        return urlsplit(self.url).path[1:] if self.url else None


@contextmanager
def fresh_database(kind: str) -> Iterator[Database]:
    """A database that is gone afterwards. HEARTH_TEST_POSTGRES names the PostgreSQL server."""
    if kind == "sqlite":
        yield Database()
        return
    server = os.environ[SERVER]
    name = f"hearth_bench_{token_hex(4)}"
    _run(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    try:
        yield Database(urlsplit(server)._replace(path=f"/{name}").geturl())
    finally:
        _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def _run(server: str, statement: str) -> None:
    connection = psycopg2.connect(server)
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()
