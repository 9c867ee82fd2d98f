"""Passwords: hashed with argon2id, in a process of its own that steps back for everybody else.

One hash takes 45 ms of a processor and 32 MiB, which is what makes guessing dear. So there is one
at a time, and who waits for their turn costs nothing meanwhile, not even a look into the database:
whoever writes does not feel a hundred people who log in at once.
"""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import DeferredLock

from homeserver.password_hasher import PasswordHasher
from schema.errors import InvalidParam, LimitExceeded, Unavailable, WeakPassword

SHORTEST = 8
LONGEST_BYTES = 512
TIME_COST, MEMORY_KIB = 2, 32 * 1024
MAX_WAITING = 200
TRY_AGAIN_MS = 5_000


def check_new_password(password: str) -> None:
    """Refuse a password that nobody should begin to use.

    Raises:
        WeakPassword: it is too short.
        InvalidParam: it is too long.
    """
    if len(password) < SHORTEST:
        raise WeakPassword(f"The password must have at least {SHORTEST} characters")
    if len(password.encode()) > LONGEST_BYTES:
        raise InvalidParam(f"The password must not be longer than {LONGEST_BYTES} bytes")


class Passwords:
    """Makes and checks password hashes, one at a time; the rest waits, up to ``MAX_WAITING``."""

    def __init__(
        self,
        reactor: Any,
        *,
        time_cost: int = TIME_COST,
        memory_kib: int = MEMORY_KIB,
    ) -> None:
        self._reactor = reactor
        self._door = DeferredLock()
        self._waiting = 0
        self._is_stopped = False
        self._hasher = PasswordHasher(reactor, time_cost, memory_kib)
        salt, digest = (b64encode(bytes(size)).rstrip(b"=").decode() for size in (16, 32))
        self._nobody = f"$argon2id$v=19$m={memory_kib},t={time_cost},p=1${salt}${digest}"

    async def stop(self) -> None:
        """End at once, also a hash that has begun; who waits is refused."""
        self._is_stopped = True
        await self._hasher.stop()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """When everybody who came before has had theirs. The next one begins a reactor turn later.

        Raises:
            LimitExceeded: too many wait already.
            Unavailable: the server has stopped.
        """
        if self._waiting >= MAX_WAITING:
            raise LimitExceeded(
                "Too many people log in at once; try again in a few seconds",
                retry_after_ms=TRY_AGAIN_MS,
            )
        self._waiting += 1
        try:
            await self._door.acquire()
            try:
                self._check_running()
                yield
            finally:
                self._reactor.callLater(0, self._door.release)
        finally:
            self._waiting -= 1

    async def hash(self, password: str) -> str:
        """The hash to store for a new password; ``check_new_password`` comes first.

        Raises:
            LimitExceeded: see ``turn``.
            Unavailable: the server has stopped, or has no process for it.
        """
        async with self.turn():
            return await self._hasher.hash(password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether the password belongs to the hash. Within a ``turn``, which comes before the hash
        is looked up.

        Takes as long when ``stored`` is None, so that nobody learns which accounts exist.

        Raises:
            Unavailable: see ``hash``.
        """
        if len(password.encode()) > LONGEST_BYTES:
            return False
        self._check_running()
        fits = await self._hasher.fits(stored or self._nobody, password)
        return fits and stored is not None

    def _check_running(self) -> None:
        if self._is_stopped:
            raise Unavailable("The server has stopped")
