"""Passwords: hashed with argon2id, on threads of their own so that nobody else waits."""

from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from schema.errors import InvalidParam, Unavailable, WeakPassword

T = TypeVar("T")

SHORTEST = 8
LONGEST_BYTES = 512
TIME_COST, MEMORY_KIB = 2, 32 * 1024
THREADS = 2
MAX_WAITING = 200


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
    """Makes and checks password hashes. Memory is bounded: so many at a time, the rest waits."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        *,
        time_cost: int = TIME_COST,
        memory_kib: int = MEMORY_KIB,
    ) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, THREADS, name="hearth-passwords")
        self._waiting = 0
        self._hasher = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=1, hash_len=32, salt_len=16
        )
        salt, digest = (b64encode(bytes(size)).rstrip(b"=").decode() for size in (16, 32))
        self._nobody = f"$argon2id$v=19$m={memory_kib},t={time_cost},p=1${salt}${digest}"

    def start(self) -> None:
        """Be ready to work."""
        self._pool.start()

    def stop(self) -> None:
        """End the threads. Blocks until they have finished."""
        self._pool.stop()

    async def hash(self, password: str) -> str:
        """The hash to store for a new password; ``check_new_password`` comes first."""
        return await self._in_thread(self._hasher.hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether the password belongs to the hash.

        Takes as long when ``stored`` is None, so that nobody learns which accounts exist.
        """
        if len(password.encode()) > LONGEST_BYTES:
            return False
        fits = await self._in_thread(self._fits, stored or self._nobody, password)
        return fits and stored is not None

    def _fits(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[..., T], *args: str) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many people log in at once; try again in a moment")
        self._waiting += 1
        try:
            return await deferToThreadPool(self._reactor, self._pool, work, *args)
        finally:
            self._waiting -= 1
