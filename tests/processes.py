"""A server in a process of its own, started by its command line: it can be killed and restarted."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import treq
import yaml
from twisted.internet import reactor as default_reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.support import Server

ROOT = Path(__file__).parents[1]
STARTS_WITHIN = 30
STOPS_WITHIN = 5


class ServerProcess(Server):
    """Like ``Server``, but as people run it. ``kill`` and ``start`` go on with data and address."""

    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()
    """More of the command line."""
    file_size_limit: int | None = None
    """No file of the server grows beyond this many bytes: a disk that is full."""
    open_files_limit: int | None = None
    """The soft limit that the server is started with."""
    _address = ""

    @property
    def log(self) -> str:
        """Everything that it has written to its standard output and error."""
        file = self._folder / "log"
        return file.read_text("utf-8") if file.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def data(self) -> Path:
        """Where its data lie."""
        return self._folder

    @property
    def database_url(self) -> str:
        """The database, in the words of the configuration."""
        return self._database.setting

    async def start(self) -> "ServerProcess":
        """Start it, or start it again, and wait until it answers."""
        self.launch()
        deadline = monotonic() + STARTS_WITHIN
        while self.is_running and monotonic() < deadline:
            if await self._answers():
                return self
            await deferLater(default_reactor, 0.05)
        raise AssertionError(f"The server did not start:\n{self.log}")

    def launch(self) -> None:
        """Only start the process."""
        self._address = self._address or f"127.0.0.1:{free_port()}"
        self.base = f"http://{self._address}"
        settings = {
            "public_url": f"{self.base}/",
            "listen": [self._address],
            "data_dir": ".",
            "database": self._database.setting,
            "registration": {"mode": "open"},
            "rate_limits": {"enabled": False},
            "rooms": {"self_room": False, "encrypt": []},
            "metrics": {"listen": None},
            **self._settings,
        }
        file = self._folder / "hearth.yaml"
        file.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "homeserver", "serve", "--config", str(file.resolve())]
        command += self.options
        if self.open_files_limit is not None:
            ulimit = f'ulimit -S -n {self.open_files_limit}; exec "$@"'
            command = ["bash", "-c", ulimit, "bash", *command]
        if self.file_size_limit is not None:
            blocks = self.file_size_limit // 1024
            command = ["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash", *command]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    async def kill(self) -> None:
        """SIGKILL, as if somebody had pulled the plug of the process."""
        if self.process is not None:
            self.process.kill()
            await deferToThread(self.process.wait)
            self.process = None

    async def stop(self) -> None:
        """SIGTERM, which it follows in time."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await deferToThread(process.wait, STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            await deferToThread(process.wait)
            raise AssertionError(f"The server did not stop:\n{self.log}") from None

    async def _answers(self) -> bool:
        try:
            response = await treq.get(
                f"{self.base}/_matrix/client/versions",
                persistent=False,
                timeout=5,
                reactor=default_reactor,
            )
            await response.content()
        except Exception:
            return False
        return bool(response.code == 200)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
