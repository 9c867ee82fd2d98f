"""A server process: started by its command line, stopped by SIGTERM."""

import asyncio
import random
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from benchmarks.client.connection import Connection, Lost, Origin

STARTS_WITHIN = 120
STOPS_WITHIN = 20
LOG = "server.log"


class Process:
    """One server in the foreground. Its output is in ``log``."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        url: str,
        environment: Mapping[str, str] | None = None,
        metrics_url: str | None = None,
        database: str | None = None,
        file: Path | None = None,
    ) -> None:
        self._command = command
        self.folder = folder
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self.url = url
        self.metrics_url = metrics_url
        self.database = database
        """What the title of this server's PostgreSQL backends contains; None with SQLite."""
        self.file = file
        """The database of this server, if it is a file."""
        self.log = folder / LOG
        self.started_within = 0.0
        """The milliseconds that the first start took, with a data folder that was empty."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> float:
        """Start; the milliseconds until the first 200 on /versions.

        Raises:
            RuntimeError: it ended, or did not answer in time. The message has its last words.
        """
        began = perf_counter()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self.folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while not await self._answers():
            if self._process.returncode is not None or perf_counter() - began > STARTS_WITHIN:
                await self.stop()
                raise RuntimeError(f"The server did not start:\n{self.last_words()}")
            await asyncio.sleep(0.01)
        took = (perf_counter() - began) * 1000
        self.started_within = self.started_within or took
        return took

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for a server that does not follow."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOPS_WITHIN)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def restart(self) -> None:
        """Stop and start on the same data: nothing is in memory any more."""
        await self.stop()
        await self.start()

    def last_words(self, lines: int = 25) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def _answers(self) -> bool:
        connection = Connection(Origin(self.url))
        try:
            answer = await connection.request(b"GET", b"/_matrix/client/versions", timeout=2)
            return answer.status == 200
        except (Lost, OSError, TimeoutError):
            return False
        finally:
            connection.close()


def free_port() -> int:
    """A port below those that outgoing connections get: no client takes it in the meantime."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
