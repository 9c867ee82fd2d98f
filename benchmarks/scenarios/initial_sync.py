"""initial-sync: the first /sync of a big account, and the catch-up after a while offline."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import orjson
from attrs import frozen

from benchmarks.client.connection import Response
from benchmarks.client.crowds import pool
from benchmarks.client.people import V3, Person, quote
from benchmarks.measure.figures import Figures, median
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios.writing import fill

TIMELINE_LIMIT = 20


@frozen
class Options:
    rooms: int = option(50, "rooms of the account")
    members: int = option(50, "members of each room")
    events: int = option(200, "messages in each room")
    repeat_sync: int = option(5, "how often each sync is repeated")
    missed: int = option(1000, "messages missed while offline")
    hot_rooms: int = option(10, "rooms that these were written in")
    cold: bool = option(False, "restart the server before measuring: nothing is in its memory")


async def run(bench: Bench, options: Options) -> Outcome:
    began = perf_counter()
    people = await bench.homeserver.people(options.members)
    rooms = await _rooms(bench, people, options)
    setup = perf_counter() - began
    if options.cold:
        await bench.restart()
    me, other = people[0], people[1]
    outcome = Outcome()
    await bench.calm()
    filters = {"lazy": await me.filter_id(TIMELINE_LIMIT, True)}
    filters["full"] = await me.filter_id(TIMELINE_LIMIT, False)
    async with bench.window() as window:
        for name in ("full", "lazy"):
            answer, figures = await _first_syncs(me, filters[name], options)
            outcome.metrics |= {f"{name}_{key}": value for key, value in figures.items()}
    outcome.env = window.env
    missing = [room for room in rooms if room not in answer["rooms"]["join"]]
    outcome.metrics["rooms_missing"] = len(missing)

    began = perf_counter()
    hot = rooms[: options.hot_rooms]
    await pool(hot, 5, lambda room: fill([other], room, options.missed // len(hot), 1))
    setup += perf_counter() - began
    await bench.calm()
    outcome.metrics |= await _catch_up(bench, me, answer["next_batch"], options)
    outcome.metrics["setup_s"] = setup
    return outcome


async def _rooms(bench: Bench, people: Sequence[Person], options: Options) -> list[str]:
    """Different creators, so that several rooms are built side by side."""
    others = people[1:]

    async def make(number: int) -> str:
        return await bench.homeserver.room(others[number % len(others)], people, width=3)

    async def write(numbered: tuple[int, str]) -> None:
        number, room = numbered
        await fill([others[number % len(others)]], room, options.events, 1)

    rooms = await pool(range(options.rooms), 4, make)
    await pool(list(enumerate(rooms)), 8, write)
    return rooms


async def _sync(person: Person, wanted: str, since: str = "") -> tuple[Any, Response]:
    path = f"{V3}/sync?timeout=0&filter={quote(wanted)}"
    return await person.timed(
        "GET", path + (f"&since={quote(since)}" if since else ""), timeout=300
    )


async def _first_syncs(me: Person, wanted: str, options: Options) -> tuple[Any, Figures]:
    """The answer, and what it took: at first, again, and on new devices.

    A new device's answer cannot come from a cache of whole answers.
    """
    answer, response = await _sync(me, wanted)
    joined = answer["rooms"]["join"].values()
    again = [(await _sync(me, wanted))[1].ms for _ in range(options.repeat_sync)]
    fresh = []
    for _ in range(options.repeat_sync):
        login, _ = await me.homeserver.log_in(me.connection, me.user_id)
        device = Person(me.homeserver, login)
        fresh.append((await _sync(device, wanted))[1].ms)
        device.connection.close()
    return answer, {
        "first_ms": response.ms,
        "size_kb": len(response.body) / 1024,
        "rooms": len(joined),
        "state_events": sum(len(room.get("state", {}).get("events", [])) for room in joined),
        "repeat_ms": median(again),
        "newdevice_ms": median(fresh),
    }


async def _catch_up(bench: Bench, me: Person, since: str, options: Options) -> Figures:
    """/sync from before the missed messages; a slightly different filter each time, as above."""
    cpu = bench.probe.cpu()
    latency = []
    for number in range(1 + options.repeat_sync):
        wanted = {
            "room": {
                "timeline": {"limit": TIMELINE_LIMIT},
                "state": {"lazy_load_members": True},
            },
            "presence": {"limit": 100 + number},
        }
        answer, response = await _sync(me, orjson.dumps(wanted).decode(), since)
        latency.append(response.ms)
    joined = answer["rooms"]["join"].values()
    spent = 1000 * (bench.probe.cpu() - cpu) / len(latency)
    return {
        "catchup_first_ms": latency[0],
        "catchup_repeat_ms": median(latency[1:]),
        "catchup_size_kb": len(response.body) / 1024,
        "catchup_limited_rooms": sum(1 for room in joined if room["timeline"].get("limited")),
        "catchup_cpu_ms": spent if bench.probe else None,
    }


SCENARIO = Scenario("initial-sync", "the first /sync of a big account; catching up", Options, run)
