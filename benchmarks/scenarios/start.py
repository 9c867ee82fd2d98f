"""start: how long until the server answers, and what it costs when nobody is there."""

import asyncio

from attrs import frozen

from benchmarks.client.crowds import pool
from benchmarks.measure.figures import median
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios.writing import fill

WRITERS = 20


@frozen
class Options:
    times: int = option(3, "starts")
    idle: float = option(60.0, "seconds that the last one is watched while idle")
    events: int = option(0, "messages in the database before the first start")


async def run(bench: Bench, options: Options) -> Outcome:
    """Stop, start, wait for the first 200; so many times over. Then sit idle."""
    first = bench.process.started_within
    if options.events:
        people = await bench.homeserver.people(WRITERS)
        rooms = await pool(people, 4, lambda person: bench.homeserver.room(person, [person]))
        each = options.events // WRITERS
        await pool(
            zip(people, rooms, strict=True), WRITERS, lambda own: fill([own[0]], own[1], each, 1)
        )
    ready, memory, cpu = [], [], []
    for _ in range(options.times):
        await bench.process.stop()
        ready.append(await bench.process.start())
        bench.look_again()
        bench.probe.refresh()
        memory.append(bench.probe.memory())
        cpu.append(bench.probe.cpu())
    async with bench.window() as window:
        await asyncio.sleep(options.idle)
    return Outcome(
        metrics={
            "first_start_ms": first,
            "start_ms": median(ready),
            "start_cpu_s": median(cpu),
            "rss_at_start_mb": median(memory),
            "rss_after_idle_mb": bench.probe.memory(),
            "idle_cpu_pct": window.env.get("server_cpu_pct"),
        },
        env=window.env,
    )


SCENARIO = Scenario("start", "start, and memory and processor when idle", Options, run)
