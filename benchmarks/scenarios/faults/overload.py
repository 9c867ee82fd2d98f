"""Far more than the server can do, or lets anybody do."""

import asyncio
from collections import Counter
from time import perf_counter
from typing import Any

import orjson

from benchmarks.client.chat import Talk
from benchmarks.client.connection import Heedful, Lost
from benchmarks.client.people import TEXT, V3, Person, quote
from benchmarks.measure.figures import Figures
from benchmarks.scenarios.faults.fault import Fault

OVERLOADED = (429, 503)
LOOK_SECONDS = 0.25


class Overload(Fault):
    """Others who send one message after the other over many connections, each as soon as it can.

    Everybody writes into a room of their own: it is the sending that is too much.
    """

    slows_nobody = False
    senders = 20
    connections = 500

    async def begin(self) -> None:
        """They all begin."""
        self._answers: Counter[int] = Counter()
        self._hasty = self._lost = 0
        self._most_waiting = 0.0
        people = await self.bench.homeserver.people(self.senders)
        rooms = [await self._room(person) for person in people]
        connections = [self.bench.homeserver.heedful() for _ in range(self.connections)]
        self._connections = connections
        self._began = perf_counter()
        self._ended = 0.0
        self._tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(
                self._flood(connection, people[number % len(people)], rooms[number % len(rooms)])
            )
            for number, connection in enumerate(connections)
        ]
        self._tasks.append(asyncio.create_task(self._look()))

    async def end(self) -> None:
        """They leave at once, answered or not."""
        self._ended = perf_counter()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._connections:
            connection.close()

    def figures(self, talk: Talk) -> Figures:
        """What they were told."""
        refused = sum(self._answers[status] for status in OVERLOADED)
        others = sum(self._answers.values()) - refused - self._answers[200]
        return {
            "flood_per_s": self._answers[200] / (self._ended - self._began),
            "flood_refused": refused,
            "refused_without_a_time": self._hasty,
            "flood_errors": others + self._lost,
            "writes_waiting_max": self._most_waiting,
        }

    async def _room(self, person: Person) -> str:
        answer = await person.call("POST", f"{V3}/createRoom", {"preset": "public_chat"})
        return str(answer["room_id"])

    async def _flood(self, connection: Heedful, person: Person, room: str) -> None:
        body = orjson.dumps({"msgtype": "m.text", "body": TEXT})
        path = f"{V3}/rooms/{quote(room)}/send/m.room.message/"
        while True:
            target = (path + person.homeserver.transaction()).encode()
            try:
                response = await connection.request(b"PUT", target, body, person.auth)
            except (Lost, OSError):
                self._lost += 1
                continue
            self._answers[response.status] += 1
            if response.status in OVERLOADED:
                self._hasty += not connection.retry_after
                await asyncio.sleep(response.json().get("retry_after_ms", 0) / 1000)

    async def _look(self) -> None:
        while True:
            waiting = await self.bench.gauge("hearth_writes_waiting")
            self._most_waiting = max(self._most_waiting, waiting)
            await asyncio.sleep(LOOK_SECONDS)


class Runaway(Overload):
    """One person's program that has lost its measure."""

    slows_nobody = True
    senders = 1
    connections = 50
