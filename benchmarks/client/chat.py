"""People in many rooms who talk at a fixed rate, all of them in long-poll meanwhile.

The load is open: it comes when it is due, whether the server keeps up or not.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from time import perf_counter

from attrs import define, field, frozen

from benchmarks.client.connection import Lost, Response
from benchmarks.client.crowds import pool
from benchmarks.client.people import V3, Homeserver, Person, Refused, quote
from benchmarks.client.polling import Arrival, Live

TIMEOUT_MS = 30_000
ANSWER_WITHIN = 90
LAST_ANSWERS_WITHIN = 100


@frozen
class Pace:
    """Messages, and typing notices and receipts, per second of all together; and for how long.

    ``drain`` are the seconds after the last one is due until the queue is given up.
    """

    rate: float
    ephemeral: float
    seconds: float
    drain: float


@frozen
class Chatroom:
    room_id: str
    members: list[int]


@define
class Talk:
    """A stretch of talking: what was due when, and what came of it."""

    planned: dict[int, float] = field(factory=dict)
    room_of: dict[int, Chatroom] = field(factory=dict)
    answers: dict[int, Response] = field(factory=dict)
    ephemeral_ms: list[float] = field(factory=list)
    failures: list[str] = field(factory=list)
    is_over: bool = False

    @property
    def wanted(self) -> int:
        """How many deliveries the messages lead to that were acknowledged."""
        return sum(len(self.room_of[number].members) for number in self.answers)

    @property
    def not_sent(self) -> int:
        """How many messages were due and were not acknowledged."""
        return len(self.planned) - len(self.answers)

    @property
    def put_ms(self) -> list[float]:
        """How long each message took to be acknowledged, from when its client began to send it."""
        return [answer.ms for answer in self.answers.values()]

    def late(self, arrival: Arrival) -> float:
        """The milliseconds from when the message was due, so that queueing shows."""
        return (arrival.at - self.planned[arrival.number]) * 1000


class Chat:
    """The people, their rooms, and the next message."""

    def __init__(self, people: Sequence[Person], rooms: Sequence[Chatroom]) -> None:
        self.people = people
        self.rooms = rooms
        self.live = Live(people, TIMEOUT_MS)
        self._newest: dict[str, str] = {}
        self._chance = random.Random(11)
        self._next = 0
        # A person's calls queue up behind each other, as those of one client do.
        self._turns = [asyncio.Lock() for _ in people]

    async def start(self) -> float:
        """Everybody into long-poll, and a first word of each; the seconds of coming online."""
        settle = await self.live.start()
        for room in self.rooms:
            for member in room.members:
                answer, _ = await self.people[member].say(room.room_id)
                self._newest[room.room_id] = answer["event_id"]
        return settle

    async def talk(self, pace: Pace) -> Talk:
        """Everything when it is due; back when all of it is answered or given up."""
        talk, chance = Talk(), self._chance
        first, stirs = self._next, int(pace.ephemeral * pace.seconds)
        self._next += int(pace.rate * pace.seconds)
        plan = [((number - first) / pace.rate, 0, number) for number in range(first, self._next)]
        plan += [((number + 0.5) / pace.ephemeral, 1, number) for number in range(stirs)]
        tasks = []
        began = perf_counter()
        for at, kind, number in sorted(plan):
            wait = began + at - perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            room = self.rooms[chance.randrange(len(self.rooms))]
            who = chance.choice(room.members)
            if kind == 0:
                talk.planned[number] = began + at
                talk.room_of[number] = room
                tasks.append(asyncio.create_task(self._write(talk, number, room, who)))
            else:
                tasks.append(asyncio.create_task(self._stir(talk, number, room, who)))
        await asyncio.wait(tasks, timeout=pace.drain)
        talk.is_over = True
        await asyncio.wait(tasks, timeout=LAST_ANSWERS_WITHIN)  # what is in flight still finishes
        return talk

    async def heard(self, talk: Talk, before: int = 0) -> None:
        """Until everybody has what was acknowledged, after ``before`` arrivals of other talks.

        An acknowledged message is lost only if nothing at all arrives any more.
        """
        await self.live.wait(before + talk.wanted)

    def arrivals(self, talk: Talk) -> Iterator[Arrival]:
        """What arrived of it, in the order in which it did."""
        return (each for each in self.live.arrivals if each.number in talk.planned)

    def lost(self, talk: Talk) -> int:
        """How many deliveries of acknowledged messages are missing."""
        return talk.wanted - sum(1 for each in self.arrivals(talk) if each.number in talk.answers)

    async def _write(self, talk: Talk, number: int, room: Chatroom, writer: int) -> None:
        async with self._turns[writer]:
            if talk.is_over:
                return
            try:
                answer, talk.answers[number] = await self.people[writer].say(
                    room.room_id, self.live.mark(number), timeout=ANSWER_WITHIN
                )
                self._newest[room.room_id] = answer["event_id"]
            except (Lost, Refused, OSError) as error:
                talk.failures.append(repr(error)[:300])

    async def _stir(self, talk: Talk, number: int, room: Chatroom, who: int) -> None:
        """A typing notice or, every second time, a receipt."""
        began = perf_counter()
        person = self.people[who]
        path = f"{V3}/rooms/{quote(room.room_id)}"
        async with self._turns[who]:
            if talk.is_over:
                return
            if number % 2:
                method = "POST"
                path += f"/receipt/m.read/{quote(self._newest[room.room_id])}"
                body = {}
            else:
                method = "PUT"
                path += f"/typing/{quote(person.user_id)}"
                body = {"typing": number % 4 == 0, "timeout": 20000}
            try:
                await person.call(method, path, body, timeout=ANSWER_WITHIN)
                talk.ephemeral_ms.append((perf_counter() - began) * 1000)
            except (Lost, Refused, OSError) as error:
                talk.failures.append(repr(error)[:300])


async def chatrooms(homeserver: Homeserver, users: int, rooms: int, members: int) -> Chat:
    """New people in new rooms: everybody in equally many, all rooms equally full."""
    people = await homeserver.people(users)
    groups: list[list[int]] = [[] for _ in range(rooms)]
    for k in range(rooms * members // users):
        for person in range(users):
            groups[(person + k * (person // rooms + 1)) % rooms].append(person)
    ids = await pool(
        groups,
        6,
        lambda group: homeserver.room(people[group[0]], [people[i] for i in group], width=2),
    )
    return Chat(people, [Chatroom(*pair) for pair in zip(ids, groups, strict=True)])
