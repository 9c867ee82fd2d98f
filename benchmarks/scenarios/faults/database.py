"""The database does not answer for a while."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from time import perf_counter, sleep

import psutil

from benchmarks.client.chat import Talk
from benchmarks.measure.figures import Figures
from benchmarks.scenarios.faults.fault import Fault

AFTER = 1.0
FOR = 5.0
THROW_AWAY = "hearth-postgres."


class DatabasePaused(Fault):
    """PostgreSQL stands still as a whole; SQLite is locked for writing, as by a backup."""

    slows_nobody = False
    _pausing: "asyncio.Task[None] | None" = None
    _returned_at = 0.0

    async def begin(self) -> None:
        """One second from now."""
        self._pausing = asyncio.create_task(self._pause())

    async def end(self) -> None:
        """It has returned long since, unless something else failed."""
        if self._pausing is not None:
            await self._pausing

    def figures(self, talk: Talk) -> Figures:
        """How long after its return everything had arrived that was due before it."""
        began, ended = self._returned_at - FOR, self._returned_at
        waited = {number for number, at in talk.planned.items() if began < at < ended}
        late = [each.at for each in self.chat.arrivals(talk) if each.number in waited]
        return {
            "due_while_away": len(waited),
            "flow_returned_s": max(late, default=ended) - ended,
        }

    async def _pause(self) -> None:
        await asyncio.sleep(AFTER)
        process = self.bench.process
        if process.database is not None:
            await _stand_still(process.database)
        elif process.file is not None:
            await asyncio.to_thread(_lock, process.file)
        self._returned_at = perf_counter()


async def _stand_still(database: str) -> None:
    """The whole throw-away server that has this database, its backends first."""
    found = [
        each for each in psutil.process_iter(["cmdline"]) if _names(each, "postgres", database)
    ]
    parent = found[0].parent() if found else None
    if parent is None or not _names(parent, "postgres", THROW_AWAY):
        raise RuntimeError("Only a PostgreSQL that `tests/tools/with-postgres` started is paused")
    processes = [*parent.children(recursive=True), parent]
    try:
        _signal(processes, signal.SIGSTOP)
        await asyncio.sleep(FOR)
    finally:
        _signal(processes[::-1], signal.SIGCONT)


def _names(process: psutil.Process, *words: str) -> bool:
    with suppress(psutil.Error):
        title = " ".join(process.cmdline())
        return all(word in title for word in words)
    return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _lock(file: Path) -> None:
    """Nobody else can begin to write; whoever reads goes on."""
    with closing(sqlite3.connect(file, timeout=FOR, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        sleep(FOR)
        connection.execute("ROLLBACK")
