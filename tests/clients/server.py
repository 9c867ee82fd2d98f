"""The homeserver under test, started by its real command line on a database of its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import signal
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from echo_bot import Registration
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
STOPS_WITHIN = 5
STARTS_WITHIN = 30


class PostgresDatabase:
    """A fresh database on the server that ``server_url`` names; dropped at the end."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._name = f"hearth_clients_{secrets.token_hex(6)}"

    def __enter__(self) -> str:
        self._run(f'CREATE DATABASE "{self._name}"')
        return urlsplit(self._server_url)._replace(path=f"/{self._name}").geturl()

    def __exit__(self, *_: object) -> None:
        self._run(f'DROP DATABASE "{self._name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        connection = psycopg2.connect(self._server_url)
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()


class Server:
    """One server process; ``kill`` and ``start`` again go on with the same data and port."""

    def __init__(self, python: str, folder: Path, database: str) -> None:
        self._python = python
        self._folder = folder
        self._database = database
        self._port, self._metrics_port = free_port(), free_port()
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.log = folder / "server.log"
        self.echo = Registration(folder, free_port())

    def configure(self) -> list[str]:
        """Write the configuration file and return the command line that serves it."""
        self.echo.write()
        settings = {
            "server_name": "localhost",
            "public_url": f"{self.url}/",
            "listen": [f"127.0.0.1:{self._port}"],
            "data_dir": "data",
            "database": self._database,
            "registration": {"mode": "open"},
            "rate_limits": {"enabled": False},
            "application_services": [str(self.echo.file)],
            "metrics": {"listen": f"127.0.0.1:{self._metrics_port}"},
        }
        file = self._folder / "hearth.yaml"
        file.write_text(json.dumps(settings, indent=2))  # JSON is YAML
        return [self._python, "-m", "homeserver", "serve", "--config", str(file)]

    async def __aenter__(self) -> Server:
        self._command = self.configure()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    async def start(self) -> None:
        """Start the process and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, cwd=ROOT, stdout=log, stderr=log
            )
        try:
            await until("the server answers", self._answers, STARTS_WITHIN)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words()}") from None

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, which the server follows in time and with exit code 0."""
        assert self._process is not None
        if self._process.returncode is not None:
            raise AssertionError("The server was gone already")
        self._process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self._process.wait(), STOPS_WITHIN)
        except TimeoutError:
            raise AssertionError(f"The server did not stop within {STOPS_WITHIN} s") from None
        if code != 0:
            raise AssertionError(f"The server ended with {code}:\n{self.last_words()}")

    async def make_family(self, name: str, roster: dict[str, str]) -> str:
        """A family conversation, made as the families service makes it; the server restarts."""
        await self.stop()
        people = [f"{user_id}={role}" for user_id, role in roster.items()]
        script = Path(__file__).with_name("family_room.py")
        making = await asyncio.create_subprocess_exec(
            self._python,
            str(script),
            self._command[-1],
            name,
            *people,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await making.communicate()
        await self.start()
        return printed.decode().strip()

    def tracebacks(self) -> list[str]:
        """The lines of the log that report a failure nobody expected."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Traceback (most recent call last)" in line]

    def last_words(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def _answers(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            raise AssertionError("The server ended at once")
        return await asyncio.to_thread(self._versions_answered)

    def _versions_answered(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/_matrix/client/versions")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def free_port() -> int:
    """A port below those that outgoing connections get: no client takes it during a restart."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
