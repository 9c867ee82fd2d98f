"""Clients that are always in /sync, and a record of when each message reached each of them."""

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import orjson
from attrs import frozen

from benchmarks.client.connection import Lost, Response
from benchmarks.client.crowds import pool
from benchmarks.client.people import V3, Marks, Person, quote

TIMELINE_LIMIT = 50
PAUSE_AFTER_ERROR = 0.5

Sink = Callable[[int, Response], None]


class Poller:
    """One client in long-poll; ``sink(index, response)`` is called for every answer."""

    def __init__(self, person: Person, index: int, sink: Sink, timeout_ms: int) -> None:
        self._person = person
        self._index = index
        self._sink = sink
        self._timeout_ms = timeout_ms
        self._connection = person.homeserver.connection()
        self._task: asyncio.Task[None] | None = None
        self.responses = self.limited = 0
        self.errors: list[str] = []

    async def start(self) -> None:
        """The first /sync; afterwards the client stays in long-poll."""
        person = self._person
        query = f"filter={quote(await person.filter_id(TIMELINE_LIMIT))}"
        presence = person.homeserver.customs.set_presence
        if presence:
            query += f"&set_presence={presence}"
        answer, _ = await person.homeserver.call(
            self._connection, "GET", f"{V3}/sync?timeout=0&{query}", auth=person.auth
        )
        path = f"{V3}/sync?timeout={self._timeout_ms}&{query}&since="
        self._task = asyncio.create_task(self._run(path, answer["next_batch"]))

    async def _run(self, path: str, since: str) -> None:
        patience = self._timeout_ms / 1000 + 120
        while True:
            target = (path + quote(since)).encode()
            try:
                response = await self._connection.request(
                    b"GET", target, None, self._person.auth, timeout=patience
                )
            except (TimeoutError, Lost, OSError) as error:
                await self._failed(repr(error))
                continue
            if response.status != 200:
                await self._failed(f"{response.status} {response.body[:200]!r}")
                continue
            self.responses += 1
            answer: dict[str, Any] = orjson.loads(response.body)
            since = answer["next_batch"]
            for room in answer.get("rooms", {}).get("join", {}).values():
                if room.get("timeline", {}).get("limited"):
                    self.limited += 1
            self._sink(self._index, response)

    async def _failed(self, how: str) -> None:
        self.errors.append(how)
        await asyncio.sleep(PAUSE_AFTER_ERROR)

    def stop(self) -> None:
        """Leave /sync at once."""
        if self._task is not None:
            self._task.cancel()
        self._connection.close()


@frozen
class Arrival:
    """Message ``number`` reached receiver ``receiver``."""

    receiver: int
    number: int
    at: float


class Live:
    """People in long-poll, and a log of which marked message reached whom, and when."""

    def __init__(self, people: Sequence[Person], timeout_ms: int) -> None:
        self._calm_seconds = people[0].homeserver.customs.calm_seconds
        self._marks = Marks(people[0].homeserver.nonce)
        self._timeout_ms = timeout_ms
        self._seen: set[tuple[int, int]] = set()
        self._pollers = [Poller(p, i, self._arrived, timeout_ms) for i, p in enumerate(people)]
        self.arrivals: list[Arrival] = []
        self.duplicates = 0
        self.bytes = 0

    def mark(self, number: int) -> str:
        """What to write into message ``number``."""
        return self._marks.mark(number)

    @property
    def responses(self) -> int:
        return sum(poller.responses for poller in self._pollers)

    async def start(self, width: int = 16, patience: float = 90.0) -> float:
        """Everybody into long-poll; back when the traffic of coming online has died down.

        The seconds that this dying down took.
        """
        await pool(self._pollers, width, lambda poller: poller.start())
        began = busy_at = perf_counter()
        # Long-polls that ran out are no traffic: a trickle of them is allowed per half second.
        trickle = max(3.0, len(self._pollers) / (self._timeout_ms / 1000))
        last: int | None = None
        while perf_counter() - began < patience:
            now = self.responses
            if last is not None and now - last > trickle:
                busy_at = perf_counter()
            last = now
            if perf_counter() - busy_at > 1.5 * self._calm_seconds:
                break
            await asyncio.sleep(0.5)
        return perf_counter() - began

    async def wait(self, count: int, stall: float = 30, limit: float = 240) -> None:
        """Until so many arrivals are logged; given up when none has come for ``stall`` seconds."""
        began = moved_at = perf_counter()
        seen = -1
        while len(self.arrivals) < count:
            now = perf_counter()
            if len(self.arrivals) != seen:
                seen, moved_at = len(self.arrivals), now
            if now - moved_at >= stall or now - began >= limit:
                break
            await asyncio.sleep(0.02)

    def figures(self) -> dict[str, Any]:
        """What went wrong in /sync, and how often a timeline had a gap."""
        return {
            "sync_errors": sum(len(poller.errors) for poller in self._pollers),
            "sync_limited": sum(poller.limited for poller in self._pollers),
            "duplicates": self.duplicates,
        }

    def notes(self) -> list[str]:
        """The first few errors, in words."""
        errors = [error for poller in self._pollers for error in poller.errors]
        return [f"/sync failed: {error}" for error in errors[:3]]

    def stop(self) -> None:
        """Everybody leaves."""
        for poller in self._pollers:
            poller.stop()

    def _arrived(self, receiver: int, response: Response) -> None:
        self.bytes += len(response.body)
        for number in self._marks.found_in(response.body):
            if (receiver, number) in self._seen:
                self.duplicates += 1
            else:
                self._seen.add((receiver, number))
                self.arrivals.append(Arrival(receiver, number, response.came_at))
