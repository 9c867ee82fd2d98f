"""Has passwords hashed by ``password_worker``, a process that is there while it is needed.

A thread would share Python's lock with everybody else. With a low priority it may be put aside
while it holds the lock, and the whole server with it; without one it takes others their processor.
"""

import sys
from collections import deque
from pathlib import Path
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

from schema.errors import Unavailable

WORKER = Path(__file__).with_name("password_worker.py")
SILENCE_SECONDS = 60


class PasswordHasher:
    """Has passwords hashed and checked, one after the other."""

    _log = Logger()

    def __init__(self, reactor: Any, time_cost: int, memory_kib: int) -> None:
        self._reactor = reactor
        self._command = [sys.executable, "-I", str(WORKER), str(time_cost), str(memory_kib)]
        self._worker: _Worker | None = None

    async def hash(self, password: str) -> str:
        """A new hash.

        Raises:
            Unavailable: the process could not be started, or was ended meanwhile.
        """
        return str(await self._ready().ask(password, None))

    async def fits(self, stored: str, password: str) -> bool:
        """Whether the password belongs to the hash.

        Raises:
            Unavailable: see ``hash``.
        """
        return bool(await self._ready().ask(password, stored))

    async def stop(self) -> None:
        """End the process; who waits for it is refused."""
        if self._worker is not None:
            self._worker.end()
            await self._worker.ended

    def _ready(self) -> "_Worker":
        if self._worker is None or self._worker.is_ending:
            worker = _Worker(self._reactor)
            try:
                # Nothing of this process is handed on: no environment, no open file.
                self._reactor.spawnProcess(worker, self._command[0], self._command, env={})
            except OSError as error:
                self._log.error("No process for passwords can be started: {error}", error=error)
                raise _unavailable() from error
            self._worker = worker
        return self._worker


class _Worker(ProcessProtocol):
    """One process. It is ended when it says nothing for long, for lack of questions or not."""

    _log = Logger()
    transport: Any

    def __init__(self, reactor: Any) -> None:
        self.is_ending = False
        self.ended: Deferred[None] = Deferred()
        self._reactor = reactor
        self._asked: deque[Deferred[Any]] = deque()
        self._begun = b""

    def ask(self, password: str, stored: str | None) -> "Deferred[Any]":
        """What the process answers."""
        self._silence.reset(SILENCE_SECONDS)
        answer: Deferred[Any] = Deferred()
        self._asked.append(answer)
        self.transport.write(orjson.dumps([password, stored]) + b"\n")
        return answer

    def end(self) -> None:
        """End the process, whatever it does; ``ended`` fires when it has."""
        if not self.is_ending:
            self.is_ending = True
            self.transport.signalProcess("KILL")

    def connectionMade(self) -> None:
        """The process has been started."""
        self._silence = self._reactor.callLater(SILENCE_SECONDS, self.end)

    def outReceived(self, data: bytes) -> None:
        """Answers come in the order of the questions."""
        if not self.is_ending:
            self._silence.reset(SILENCE_SECONDS)
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._asked.popleft().callback(orjson.loads(line))

    def errReceived(self, data: bytes) -> None:
        """It has failed."""
        self._log.error("The process for passwords: {said}", said=data.decode(errors="replace"))

    def processExited(self, reason: Any) -> None:
        """Nobody can ask it any more; what it has answered may still come."""
        self.is_ending = True

    def processEnded(self, reason: Any) -> None:
        """Whoever waits, waits in vain."""
        if self._silence.active():
            self._silence.cancel()
        for waiting in self._asked:
            waiting.errback(_unavailable())
        self.ended.callback(None)


def _unavailable() -> Unavailable:
    return Unavailable("Passwords cannot be checked now; try again in a moment")
