"""size: how much a message adds to the database."""

from collections.abc import Mapping

import orjson
from attrs import evolve, frozen

from benchmarks.client.people import V3, Person, quote
from benchmarks.measure.figures import Figures, median
from benchmarks.measure.sizes import Sizes, sizes
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios.writing import fill

EVENTS = "events"
SAMPLE = 20


@frozen
class Options:
    messages: int = option(4000, "messages of each kind")
    members: int = option(10, "members of the room, who write them in turn")


async def run(bench: Bench, options: Options) -> Outcome:
    """The same messages in a room that the server encrypts, and in one that can be searched."""
    outcome = Outcome()
    people = await bench.homeserver.people(options.members)
    for kind, preset in (("private", "private_chat"), ("searched", "public_chat")):
        bench.homeserver.customs = evolve(bench.customs, preset=preset)
        room = await bench.homeserver.room(people[0], people)
        await fill(people, room, len(people), len(people))  # what everybody's first message adds
        await bench.calm()
        before = _sizes(bench)
        await fill(people, room, options.messages, len(people))
        await bench.calm()
        json = await _json(people[0], room)
        found = _figures(before, _sizes(bench), options.messages, json)
        outcome.metrics |= {f"{kind}.{name}": value for name, value in found.items()}
    return outcome


def _figures(before: Sizes, after: Sizes, messages: int, json: float) -> Figures:
    tables = _grown(before.tables, after.tables, messages)
    indexes = sum(_grown(before.indexes, after.indexes, messages).values())
    rows = sum(tables.values())
    return {
        "json_bytes": json,
        "event_bytes": tables.get(EVENTS, 0.0),
        "other_rows_bytes": rows - tables.get(EVENTS, 0.0),
        "index_bytes": indexes,
        "total_bytes": rows + indexes,
        "rows_per_json": rows / json,
    }


def _grown(before: Mapping[str, int], after: Mapping[str, int], messages: int) -> dict[str, float]:
    return {name: (size - before.get(name, 0)) / messages for name, size in after.items()}


def _sizes(bench: Bench) -> Sizes:
    return sizes(bench.process.folder, bench.process.database)


async def _json(person: Person, room: str) -> float:
    """The bytes of a signed event in canonical JSON: what has to be kept of it in any case."""
    wanted = {
        "event_format": "federation",
        "room": {"rooms": [room], "timeline": {"limit": SAMPLE, "types": ["m.room.message"]}},
    }
    path = f"{V3}/sync?timeout=0&filter={quote(orjson.dumps(wanted).decode())}"
    events = (await person.call("GET", path))["rooms"]["join"][room]["timeline"]["events"]
    for event in events:
        event.pop("unsigned", None)
    return median([len(orjson.dumps(event, option=orjson.OPT_SORT_KEYS)) for event in events]) or 0


SCENARIO = Scenario("size", "how much a message adds to the database", Options, run)
