"""idle: everybody is online and nobody writes."""

import asyncio

from attrs import frozen

from benchmarks.client.crowds import pool
from benchmarks.client.polling import Live
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios.writing import fill


@frozen
class Options:
    users: int = option(500, "people in long-poll")
    family: int = option(10, "members of each room")
    timeout: int = option(10000, "milliseconds of a long-poll")
    seconds: float = option(30.0, "length of the measurement")
    events: int = option(0, "messages written before, spread over the rooms")


async def run(bench: Bench, options: Options) -> Outcome:
    people = await bench.homeserver.people(options.users)
    size = options.family
    families = [people[i : i + size] for i in range(0, len(people), size)]
    rooms = await pool(
        families, 4, lambda family: bench.homeserver.room(family[0], family, width=2)
    )
    each = options.events // len(rooms)
    await pool(zip(families, rooms, strict=True), 20, lambda own: fill(own[0], own[1], each, 1))
    live = Live(people, options.timeout)
    try:
        settle = await live.start()
        for person in people:
            person.connection.close()
        settle += await bench.calm(120, below=40)
        before = live.responses
        async with bench.window() as window:
            await asyncio.sleep(options.seconds)
        count = live.responses - before
        return Outcome(
            metrics={
                "server_cpu_pct": window.env.get("server_cpu_pct"),
                "rss_mb": window.env.get("rss_end_mb"),
                "sync_responses_per_s": count / options.seconds,
                "cpu_ms_per_sync": window.cpu_ms_per(count),
                "settle_s": settle,
                **live.figures(),
            },
            env=window.env,
            notes=live.notes(),
        )
    finally:
        live.stop()


SCENARIO = Scenario("idle", "everybody is online, nobody writes", Options, run)
