"""growth: what operations cost while the neighbourhood grows: in people, in rooms, in messages."""

from collections.abc import Awaitable, Callable
from itertools import cycle, islice
from typing import Any

from attrs import frozen

from benchmarks.client.crowds import pool
from benchmarks.client.people import V3, Person, quote
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios.writing import fill

WRITERS = 20
IN_A_ROOM = 5


@frozen
class Options:
    people: str = option("100,500,2000", "people in one room, one size after the other")
    rooms: str = option(
        "100,1000,4000", "other rooms, of five people each, one number after the other"
    )
    messages: str = option("10000,100000,1000000", "messages in the one room, after all that")
    repeat: int = option(200, "how often each operation is measured")


async def run(bench: Bench, options: Options) -> Outcome:
    """Processor time of server and database for each operation; a picture shows how it grows."""
    outcome = Outcome()
    [first] = await bench.homeserver.people(1)
    room: str = (await first.call("POST", f"{V3}/createRoom", {"preset": "public_chat"}))["room_id"]
    people = [first]
    for size in map(int, options.people.split(",")):
        newcomers = await bench.homeserver.people(size - len(people))
        await pool(newcomers, 8, lambda person: person.call("POST", f"{V3}/join/{quote(room)}"))
        people += newcomers
        await _measure(bench, people, room, options, outcome, "people", size)
    made = 0
    others = cycle(people[1:])
    for count in map(int, options.rooms.split(",")):
        groups = [list(islice(others, IN_A_ROOM)) for _ in range(count - made)]
        made = count
        await pool(groups, 8, lambda group: bench.homeserver.room(group[0], group, width=1))
        await _measure(bench, people, room, options, outcome, "rooms", count)
    written = 0
    for count in map(int, options.messages.split(",")):
        await fill(people[:WRITERS], room, count - written, WRITERS)
        written = count
        await _measure(bench, people, room, options, outcome, "messages", count)
    return outcome


async def _measure(
    bench: Bench,
    people: list[Person],
    room: str,
    options: Options,
    outcome: Outcome,
    what: str,
    size: int,
) -> None:
    me, path = people[0], f"{V3}/rooms/{quote(room)}"

    operations: dict[str, tuple[int, Callable[[], Awaitable[Any]]]] = {
        "send": (options.repeat, lambda: me.say(room)),
        "first_sync": (
            max(10, options.repeat // 5),
            lambda: me.call("GET", f"{V3}/sync?timeout=0&filter={quote(lazy)}"),
        ),
        "page": (
            max(10, options.repeat // 5),
            lambda: me.call("GET", f"{path}/messages?dir=b&limit=100"),
        ),
        "one_message_sync": (
            options.repeat,
            lambda: me.call("GET", f"{V3}/sync?timeout=0&since={quote(since)}"),
        ),
        "members": (10, lambda: me.call("GET", f"{path}/joined_members")),
    }
    lazy = await me.filter_id(20)
    started = await _restart(bench)
    curves = outcome.growth.setdefault(what, {})
    for name, (times, operation) in operations.items():
        since = (await me.call("GET", f"{V3}/sync?timeout=0&filter={quote(lazy)}"))["next_batch"]
        await me.say(room)
        await operation()
        await bench.calm()
        async with bench.window() as window:
            for _ in range(times):
                await operation()
        cost = window.cpu_ms_per(times) or 0.0
        outcome.metrics[f"{what}{size}.{name}_cpu_ms"] = cost
        curves.setdefault(name, []).append((size, cost))
    outcome.metrics[f"{what}{size}.start_ms"] = started
    outcome.metrics[f"{what}{size}.rss_mb"] = bench.probe.memory()
    outcome.env = window.env


async def _restart(bench: Bench) -> float:
    await bench.process.stop()
    started = await bench.process.start()
    bench.look_again()
    bench.probe.refresh()
    return started


SCENARIO = Scenario("growth", "what operations cost as people and messages grow", Options, run)
