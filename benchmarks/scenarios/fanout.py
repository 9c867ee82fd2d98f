"""fanout: one room, all members in long-poll; how long until everybody has a message?"""

import asyncio
from collections import defaultdict
from time import perf_counter

from attrs import frozen

from benchmarks.client.polling import Live
from benchmarks.measure.figures import latencies, median
from benchmarks.scenario import Bench, Outcome, Scenario, option

TIMEOUT_MS = 30_000


@frozen
class Options:
    members: str = option("100,500", "sizes of the room, one after the other")
    events: int = option(20, "messages")
    interval: float = option(1.0, "seconds between them")


async def run(bench: Bench, options: Options) -> Outcome:
    outcome = Outcome()
    for size in options.members.split(","):
        outcome.add(f"n{size}", await _room(bench, int(size), options))
    return outcome


async def _room(bench: Bench, size: int, options: Options) -> Outcome:
    """Latency is from the start of the PUT to the arrival at each receiver, the sender included."""
    began = perf_counter()
    people = await bench.homeserver.people(size)
    room = await bench.homeserver.room(people[0], people)
    setup = perf_counter() - began
    live = Live(people, TIMEOUT_MS)
    try:
        settle = await live.start()
        await people[0].say(room)  # opens the sender's connection
        settle += await bench.calm(90)
        responses, size_before = live.responses, live.bytes
        sent_at: dict[int, float] = {}
        puts = []
        async with bench.window() as window:
            began = perf_counter()
            for number in range(options.events):
                await asyncio.sleep(max(0, began + number * options.interval - perf_counter()))
                _, response = await people[0].say(room, live.mark(number))
                sent_at[number] = response.sent_at
                puts.append(response.ms)
            await live.wait(size * options.events)
        delays = defaultdict(list)
        for arrival in live.arrivals:
            delays[arrival.number].append((arrival.at - sent_at[arrival.number]) * 1000)
        every = [delay for one in delays.values() for delay in one]
        lasts = [max(one) for one in delays.values()]
        outcome = Outcome(
            metrics={
                **latencies("delivery", every, maximum=True),
                "last_receiver_p50_ms": median(lasts),
                "last_receiver_max_ms": max(lasts, default=None),
                **latencies("put", puts, (50, 99)),
                "lost": size * options.events - len(every),
                "cpu_ms_per_event": window.cpu_ms_per(options.events),
                "cpu_ms_per_delivery": window.cpu_ms_per(len(every)),
                "sync_responses": live.responses - responses,
                "sync_bytes_per_delivery": (live.bytes - size_before) / max(1, len(every)),
                "settle_s": settle,
                "setup_s": setup,
                **live.figures(),
            },
            env=window.env,
            notes=live.notes(),
        )
        outcome.distribute("delivery", every)
        outcome.receive(list(delays.values()))
        return outcome
    finally:
        live.stop()
        for person in people:
            person.connection.close()


SCENARIO = Scenario("fanout", "one room, everybody in /sync, one writes", Options, run)
