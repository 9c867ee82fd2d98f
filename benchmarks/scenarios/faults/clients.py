"""Clients that behave badly, or all come at once."""

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from benchmarks.client.chat import Talk
from benchmarks.client.connection import Lost, Response
from benchmarks.client.crowds import together
from benchmarks.client.people import V3, Person, Refused
from benchmarks.measure.figures import Figures, percentile
from benchmarks.scenarios.faults.fault import Fault

ONE_IN = 10
SLOW_BYTES = 1024
SLOW_SECONDS = 0.1
SILENT = 1000
SILENT_TOGETHER = 20
SILENT_SECONDS = 1.0
UPLOAD_PER_SECOND = 10_000_000
UPLOAD_SIZE = 10_000_000
PORTION = 65_536
LOGINS = 100


class SlowReaders(Fault):
    """One in ten has a second client that asks for whole /sync answers without end.

    Every other one of them never reads, the rest read ten KiB per second.
    """

    async def begin(self) -> None:
        """They connect, and do not take what they get."""
        people = self.chat.people
        self._bytes = 0
        self._tasks: list[asyncio.Task[None]] = []
        for number, person in enumerate(people[::ONE_IN]):
            works = await self._client(person, reads=number % 2 == 1)
            self._tasks += [asyncio.create_task(work) for work in works]
        await self.bench.calm(10)  # until all buffers on the way to them are full

    async def end(self) -> None:
        """They leave."""
        await _stop(self._tasks)

    def figures(self, talk: Talk) -> Figures:
        """What the slow ones read."""
        return {"slowly_read_kb": self._bytes / 1024}

    async def _client(self, person: Person, *, reads: bool) -> list[Coroutine[Any, Any, None]]:
        loop = asyncio.get_running_loop()
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, _address(self.bench.process.url))
        request = b"GET %b/sync?full_state=true HTTP/1.1\r\nHost: x\r\n%b\r\n" % (
            V3.encode(),
            person.auth,
        )

        async def ask() -> None:
            with connection, suppress(OSError):
                while True:
                    await loop.sock_sendall(connection, request)

        async def read() -> None:
            with suppress(OSError):
                while part := await loop.sock_recv(connection, SLOW_BYTES):
                    self._bytes += len(part)
                    await asyncio.sleep(SLOW_SECONDS)

        return [ask(), read()] if reads else [ask()]


class Silent(Fault):
    """A thousand connections that say nothing."""

    async def begin(self) -> None:
        """They connect within a second."""
        self._writers: list[asyncio.StreamWriter] = []
        self._dialled = asyncio.create_task(self._dial())

    async def end(self) -> None:
        """They hang up."""
        await self._dialled
        for writer in self._writers:
            writer.transport.abort()

    def figures(self, talk: Talk) -> Figures:
        """How many there were."""
        return {"silent_connections": len(self._writers)}

    async def _dial(self) -> None:
        host, port = _address(self.bench.process.url)
        began = perf_counter()
        for first in range(0, SILENT, SILENT_TOGETHER):
            ahead = first / SILENT * SILENT_SECONDS - (perf_counter() - began)
            await asyncio.sleep(max(0.0, ahead))
            dialled = [asyncio.open_connection(host, port) for _ in range(SILENT_TOGETHER)]
            self._writers += [writer for _, writer in await together(dialled)]


class Upload(Fault):
    """Somebody uploads files of 10 MB, one after the other, each within a second."""

    async def begin(self) -> None:
        """They begin."""
        self._stored = self._refused = 0
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """They break off."""
        await _stop([self._task])

    def figures(self, talk: Talk) -> Figures:
        """What arrived."""
        return {"files_stored": self._stored, "files_refused": self._refused}

    async def _run(self) -> None:
        host, port = _address(self.bench.process.url)
        reader, writer = await asyncio.open_connection(host, port)
        head = (
            b"POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: x\r\n%b"
            b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
        ) % (self.chat.people[0].auth, UPLOAD_SIZE)
        noise = os.urandom(PORTION)
        try:
            while True:
                writer.write(head)
                began, sent = perf_counter(), 0
                while sent < UPLOAD_SIZE:
                    portion = noise[: UPLOAD_SIZE - sent]
                    writer.write(portion)
                    await writer.drain()
                    sent += len(portion)
                    ahead = sent / UPLOAD_PER_SECOND - (perf_counter() - began)
                    await asyncio.sleep(max(0.0, ahead))
                answer = await reader.readuntil(b"\r\n\r\n")
                size = int(answer.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(size)
                is_stored = answer.startswith(b"HTTP/1.1 200")
                self._stored += is_stored
                self._refused += not is_stored
        finally:
            writer.transport.abort()


class Logins(Fault):
    """A hundred people log in at the same moment."""

    async def begin(self) -> None:
        """They ask; with more logins than people, some of them on several devices."""
        self._answers: list[Response] = []
        self._failures = 0
        people, homeserver = self.chat.people, self.bench.homeserver

        async def log_in(number: int) -> None:
            person = people[number % len(people)]
            try:
                _, response = await homeserver.log_in(homeserver.connection(), person.user_id)
                self._answers.append(response)
            except (Lost, Refused, OSError):
                self._failures += 1

        self._tasks = [asyncio.create_task(log_in(number)) for number in range(LOGINS)]

    async def end(self) -> None:
        """All of them are in."""
        await asyncio.wait(self._tasks)

    def figures(self, talk: Talk) -> Figures:
        """How long they took."""
        times = [answer.ms for answer in self._answers]
        return {
            "logged_in": len(times),
            "logins_refused": self._failures,
            "login_p50_ms": percentile(times, 50),
            "login_max_ms": max(times, default=None),
        }


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


async def _stop(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
