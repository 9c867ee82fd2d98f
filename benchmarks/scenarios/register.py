"""register: sign-ups with m.login.dummy, then logins with the password, also while people write."""

import asyncio
from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import Any

from attrs import frozen

from benchmarks.client.connection import Connection
from benchmarks.client.crowds import spread
from benchmarks.client.people import Person
from benchmarks.measure.figures import latencies
from benchmarks.scenario import Bench, Outcome, Scenario, option


@frozen
class Options:
    users: int = option(200, "accounts to make")
    logins: int = option(100, "logins, by different people")
    width: int = option(10, "requests at a time")
    writers: int = option(5, "people who write before and during the logins that come all at once")
    interval: int = option(20, "milliseconds from one message to the next, of all writers together")
    alone: float = option(4.0, "seconds that they write before")


async def run(bench: Bench, options: Options) -> Outcome:
    homeserver = bench.homeserver
    connections = [homeserver.connection() for _ in range(options.width)]
    names = [homeserver.name() for _ in range(options.users)]

    async def sign_up(number: int, connection: Connection) -> tuple[Person, float]:
        began = perf_counter()
        person, response = await homeserver.register(connection, names[number])
        return person, (response.came_at - began) * 1000

    async def log_in(number: int, connection: Connection) -> float:
        return (await homeserver.log_in(connection, made[number][0].user_id))[1].ms

    await bench.calm()
    async with bench.window() as window:
        made = await spread(options.users, connections, sign_up)
        register_s = window.so_far()[1]
        count = min(options.logins, options.users)
        began = perf_counter()
        logins = await spread(count, connections, log_in)
        login_s = perf_counter() - began
    registers = [ms for _, ms in made]
    outcome = Outcome(
        metrics={
            "register_per_s": options.users / register_s,
            **latencies("register", registers),
            "login_per_s": count / login_s,
            **latencies("login", logins),
            "cpu_ms_per_op": window.cpu_ms_per(options.users + count),
        },
        env=window.env,
    )
    outcome.distribute("register", registers)
    outcome.distribute("login", logins)

    writers = [person for person, _ in made[: options.writers]]
    room = await homeserver.room(writers[0], writers)
    every = options.interval / 1000
    for writer in writers:
        await writer.say(room)  # connections open, caches filled
    await bench.calm()
    alone = await _write_during(asyncio.sleep(options.alone), writers, room, every)
    at_once = spread(count, [homeserver.connection() for _ in range(count)], log_in)
    during = await _write_during(at_once, writers, room, every)
    for name, sends in (("send_alone", alone), ("send_during_logins", during)):
        outcome.metrics |= latencies(name, sends, (50, 99))
        outcome.distribute(name, sends)
    return outcome


async def _write_during(
    work: Coroutine[Any, Any, Any], writers: Sequence[Person], room: str, every: float
) -> list[float]:
    """Messages in turn, due every so many seconds until ``work`` is done: their milliseconds.

    A writer's next message waits for the answer to the last one; that counts as its latency.
    """
    working = asyncio.ensure_future(work)

    async def write(number: int) -> float:
        began = perf_counter()
        return ((await writers[number % len(writers)].say(room))[1].came_at - began) * 1000

    sends: list[asyncio.Future[float]] = []
    try:
        while not working.done():
            sends.append(asyncio.ensure_future(write(len(sends))))
            await asyncio.sleep(every)
        await working
        return await asyncio.gather(*sends)
    finally:
        for task in (working, *sends):
            task.cancel()


SCENARIO = Scenario("register", "sign-ups, then logins, also while people write", Options, run)
