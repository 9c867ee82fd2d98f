"""Time and randomness, handed in so that tests can set them."""

from collections.abc import Callable
from datetime import UTC, datetime
from secrets import token_urlsafe
from time import time

Clock = Callable[[], int]
"""Milliseconds since the epoch."""


def system_clock() -> int:
    """The time of this machine, in milliseconds since the epoch."""
    return int(time() * 1000)


def as_datetime(moment: int) -> datetime:
    """A moment as the standard library has it, in UTC."""
    return datetime.fromtimestamp(moment / 1000, UTC)


TokenSource = Callable[[], str]
"""Makes a secret that nobody can guess."""


def random_token() -> str:
    """256 random bits from the operating system, safe in a URL."""
    return token_urlsafe(32)
