"""Who contributes to an answer of /sync besides the rooms' timelines and state.

The parts are handed over by the composition root. At the live edge a part answers from memory.
``since`` and ``upto`` are positions of the stream; for typing and presence, which live in memory,
they are numbers of ``homeserver.sync.ephemeral``.
"""

from collections.abc import Collection
from typing import Any, Protocol


class Part(Protocol):
    """Contributes top-level keys of the answer, such as ``to_device`` or ``presence``."""

    async def since(
        self, user_id: str, device_id: str, since: int | None, upto: int
    ) -> tuple[dict[str, Any], bool]:
        """What happened after ``since`` and not after ``upto``; everything when it is None.

        The second value says whether there is news: something that a waiting /sync returns for.
        """


class RoomPart(Protocol):
    """Contributes keys to the rooms that a person has joined.

    ``ephemeral`` and ``account_data`` are lists of events, which are put together with those of
    other parts; anything else must be a key of its own.
    """

    async def since(
        self,
        user_id: str,
        since: int | None,
        upto: int,
        rooms: Collection[str],
        new: Collection[str],
    ) -> dict[str, dict[str, Any]]:
        """By room, what happened after ``since`` and not after ``upto``.

        ``new`` names those of ``rooms`` that the client sees for the first time: everything.
        """


class ToDevicePart(Protocol):
    """Contributes the to-device messages, which have a place of their own in the token."""

    async def since(
        self, user_id: str, device_id: str, acknowledged: int | None, upto: int
    ) -> tuple[list[Any], int]:
        """Messages after ``acknowledged``, and up to where the answer has them all.

        Coming back with a token acknowledges everything up to it; those are deleted.
        """


class CountsPart(Protocol):
    """Contributes the unread counts of rooms in which something happened."""

    async def counts(
        self, user_id: str, rooms: Collection[str], *, threads: bool = False
    ) -> dict[str, dict[str, Any]]:
        """By room, the keys ``unread_notifications`` and, for ``threads``, those of threads."""
