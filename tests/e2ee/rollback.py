"""Going back to an earlier state of a server's database, as somebody does who restores a backup."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
from twisted.internet import reactor as default_reactor

from homeserver.assembly.database import engine_for
from homeserver.config import load
from storage.store import Store
from storage.stream import Stream
from storage.transaction import WriteTransaction
from tests.olm_devices import Meter
from tests.support import Server, WireTest


class Backup:
    """A copy of the database of a server, on whichever engine it runs."""

    def __init__(self, case: WireTest, server: Server) -> None:
        self._server = server
        self._folder = Path(server._folder)
        self._name = f"hearth_{uuid4().hex}"
        case.addCleanup(self._drop, self._name)

    async def take(self) -> "Backup":
        """Copy the database as it is now; the server is stopped for it, and started again."""
        await self._server.stop()
        if self._is_on_postgres:
            self._run(f"CREATE DATABASE {self._name} TEMPLATE {self._server._database.name}")
        else:
            shutil.copy(self._file, self._copy)
        await self._server.start()
        return self

    async def restore(self, *works: Callable[[WriteTransaction], Any]) -> None:
        """Make the database what it was, do some work on it, and start the server again."""
        await self._server.stop()
        if self._is_on_postgres:
            name = self._server._database.name
            self._drop(name)
            self._run(f"CREATE DATABASE {name} TEMPLATE {self._name}")
        else:
            shutil.copy(self._copy, self._file)
        for work in works:
            store = Store(
                default_reactor,
                engine_for(load(self._folder / "hearth.yaml")),
                Stream(),
                Meter(),
            )
            store.open()
            await store.write(work)
            store.close()
        await self._server.start()

    @property
    def _is_on_postgres(self) -> bool:
        return not self._server._database.setting.startswith("sqlite:")

    @property
    def _file(self) -> Path:
        return self._folder / "hearth.db"

    @property
    def _copy(self) -> Path:
        return self._folder / "backup.db"

    def _drop(self, name: str) -> None:
        if self._is_on_postgres:
            self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, sql: str) -> None:
        connection = psycopg2.connect(os.environ["HEARTH_TEST_POSTGRES"])
        connection.autocommit = True
        connection.cursor().execute(sql)
        connection.close()
