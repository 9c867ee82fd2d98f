"""chatter: many rooms, everybody in long-poll, messages, typing and receipts at a fixed rate.

The load is open: it comes when it is due, whether the server keeps up or not.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from time import perf_counter

from attrs import define, field, frozen

from benchmarks.client.connection import Lost, Response
from benchmarks.client.crowds import pool
from benchmarks.client.people import V3, Person, Refused, quote
from benchmarks.client.polling import Live
from benchmarks.measure.figures import latencies, percentile
from benchmarks.measure.window import Window
from benchmarks.scenario import Bench, Outcome, Scenario, option

TIMEOUT_MS = 30_000
ANSWER_WITHIN = 90
LAST_ANSWERS_WITHIN = 100


@frozen
class Options:
    users: int = option(100, "people")
    rooms: int = option(20, "rooms")
    members: int = option(10, "members of each room")
    rate: float = option(50.0, "messages per second, of all together")
    ephemeral: float = option(10.0, "typing notices and receipts per second")
    seconds: float = option(20.0, "how long")
    drain: float = option(60.0, "seconds after the last one is due until the queue is given up")


@frozen
class Chatroom:
    room_id: str
    members: list[int]


@define
class _Load:
    """What is sent, what came of it."""

    people: Sequence[Person]
    rooms: Sequence[Chatroom]
    live: Live
    newest: dict[str, str] = field(factory=dict)
    planned: dict[int, float] = field(factory=dict)
    room_of: dict[int, Chatroom] = field(factory=dict)
    answers: dict[int, Response] = field(factory=dict)
    ephemeral_ms: list[float] = field(factory=list)
    failures: list[str] = field(factory=list)
    over: bool = False
    turns: list[asyncio.Lock] = field(init=False)

    def __attrs_post_init__(self) -> None:
        # A person's calls queue up behind each other, as those of one client do.
        self.turns = [asyncio.Lock() for _ in self.people]

    async def write(self, number: int, room: Chatroom, writer: int) -> None:
        async with self.turns[writer]:
            if self.over:
                return
            try:
                answer, self.answers[number] = await self.people[writer].say(
                    room.room_id, self.live.mark(number), timeout=ANSWER_WITHIN
                )
                self.newest[room.room_id] = answer["event_id"]
            except (Lost, Refused, OSError) as error:
                self.failures.append(repr(error)[:300])

    async def stir(self, number: int, room: Chatroom, who: int) -> None:
        """A typing notice or, every second time, a receipt."""
        began = perf_counter()
        person = self.people[who]
        path = f"{V3}/rooms/{quote(room.room_id)}"
        async with self.turns[who]:
            if self.over:
                return
            if number % 2:
                method = "POST"
                path += f"/receipt/m.read/{quote(self.newest[room.room_id])}"
                body = {}
            else:
                method = "PUT"
                path += f"/typing/{quote(person.user_id)}"
                body = {"typing": number % 4 == 0, "timeout": 20000}
            try:
                await person.call(method, path, body, timeout=ANSWER_WITHIN)
                self.ephemeral_ms.append((perf_counter() - began) * 1000)
            except (Lost, Refused, OSError) as error:
                self.failures.append(repr(error)[:300])


async def run(bench: Bench, options: Options) -> Outcome:
    people = await bench.homeserver.people(options.users)
    groups = _groups(options)
    ids = await pool(
        groups,
        6,
        lambda group: bench.homeserver.room(people[group[0]], [people[i] for i in group], width=2),
    )
    rooms = [Chatroom(*pair) for pair in zip(ids, groups, strict=True)]
    live = Live(people, TIMEOUT_MS)
    try:
        settle = await live.start()
        load = _Load(people, rooms, live)
        for room in rooms:
            for member in room.members:
                answer, _ = await people[member].say(room.room_id)
                load.newest[room.room_id] = answer["event_id"]
        settle += await bench.calm(90)
        responses = live.responses
        async with bench.window() as window:
            began = perf_counter()
            await _talk(load, options)
            done_at = max(answer.came_at for answer in load.answers.values())
            wanted = sum(len(load.room_of[number].members) for number in load.answers)
            # An answered message is lost only if nothing at all arrives any more.
            await live.wait(wanted)
        outcome = _outcome(load, window, options)
        outcome.metrics |= {
            "achieved_per_s": len(load.answers) / (done_at - began),
            "lost": wanted - sum(1 for each in live.arrivals if each.number in load.answers),
            "sync_responses": live.responses - responses,
            "settle_s": settle,
            **live.figures(),
        }
        outcome.notes += live.notes()
        return outcome
    finally:
        live.stop()


def _groups(options: Options) -> list[list[int]]:
    """Everybody in equally many rooms, all rooms equally full."""
    groups: list[list[int]] = [[] for _ in range(options.rooms)]
    for k in range(options.rooms * options.members // options.users):
        for person in range(options.users):
            groups[(person + k * (person // options.rooms + 1)) % options.rooms].append(person)
    return groups


async def _talk(load: _Load, options: Options) -> None:
    """Everything when it is due; back when all of it is answered or given up."""
    chance = random.Random(11)
    total = int(options.rate * options.seconds)
    stirs = int(options.ephemeral * options.seconds)
    plan = [(number / options.rate, 0, number) for number in range(total)]
    plan += [((number + 0.5) / options.ephemeral, 1, number) for number in range(stirs)]
    tasks = []
    began = perf_counter()
    for at, kind, number in sorted(plan):
        wait = began + at - perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        room = load.rooms[chance.randrange(options.rooms)]
        who = chance.choice(room.members)
        if kind == 0:
            load.planned[number] = began + at
            load.room_of[number] = room
            tasks.append(asyncio.create_task(load.write(number, room, who)))
        else:
            tasks.append(asyncio.create_task(load.stir(number, room, who)))
    await asyncio.wait(tasks, timeout=options.drain)
    load.over = True
    await asyncio.wait(tasks, timeout=LAST_ANSWERS_WITHIN)  # what is in flight still finishes


def _outcome(load: _Load, window: Window, options: Options) -> Outcome:
    """Delivery counts from the planned time of the message, so that queueing shows."""
    began = min(load.planned.values())
    deliveries = []
    by_second = defaultdict(list)
    for arrival in load.live.arrivals:
        planned = load.planned[arrival.number]
        deliveries.append((arrival.at - planned) * 1000)
        by_second[int(planned - began)].append(deliveries[-1])
    puts = [answer.ms for answer in load.answers.values()]
    outcome = Outcome(
        metrics={
            **latencies("delivery", deliveries, maximum=True),
            **latencies("put", puts),
            **latencies("typing_receipt", load.ephemeral_ms, (50, 99)),
            "cpu_ms_per_event": window.cpu_ms_per(len(load.answers)),
            "not_sent": int(options.rate * options.seconds) - len(load.answers),
            "failed_calls": len(load.failures),
        },
        env=window.env,
        notes=load.failures[:3],
    )
    outcome.distribute("delivery", deliveries)
    outcome.distribute("put", puts)
    for percent in (50, 99):
        outcome.seconds[f"delivery p{percent}"] = [
            (second, percentile(ms, percent) or 0.0) for second, ms in sorted(by_second.items())
        ]
    return outcome


SCENARIO = Scenario("chatter", "messages, typing, receipts at a fixed rate", Options, run)
