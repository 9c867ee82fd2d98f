"""messages: somebody scrolls back through a whole room, twice."""

from time import perf_counter

from attrs import frozen

from benchmarks.client.people import V3, Person, quote
from benchmarks.measure.figures import latencies
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios.writing import fill


@frozen
class Options:
    events: int = option(5000, "messages in the room")
    page: int = option(100, "events in a page")
    members: int = option(16, "members, who wrote them in turn")
    cold: bool = option(False, "restart the server before measuring: nothing is in its memory")


async def run(bench: Bench, options: Options) -> Outcome:
    people = await bench.homeserver.people(options.members)
    room = await bench.homeserver.room(people[0], people)
    began = perf_counter()
    await fill(people, room, options.events, len(people))
    outcome = Outcome(metrics={"setup_s": perf_counter() - began})
    if options.cold:
        await bench.restart()
    await bench.calm()
    pages = 0
    size = missing = 0
    async with bench.window() as window:
        for name, reader in (("first", people[0]), ("again", people[1])):
            began = perf_counter()
            latency, size, count = await _scroll(reader, room, options)
            outcome.metrics[f"{name}_events_per_s"] = count / (perf_counter() - began)
            outcome.metrics |= latencies(f"{name}_page", latency, (50, 99))
            outcome.distribute(f"page, {name} time", latency)
            missing += max(0, options.events - count)
            pages = len(latency)
    outcome.metrics["page_kb"] = size / pages / 1024
    outcome.metrics["cpu_ms_per_page"] = window.cpu_ms_per(2 * pages)
    outcome.metrics["events_missing"] = missing
    outcome.env = window.env
    return outcome


async def _scroll(reader: Person, room: str, options: Options) -> tuple[list[float], int, int]:
    """Backwards to the beginning: milliseconds by page, bytes, events."""
    wanted = quote('{"lazy_load_members":true}')
    path = f"{V3}/rooms/{quote(room)}/messages?dir=b&limit={options.page}&filter={wanted}"
    latency: list[float] = []
    size = count = 0
    place = ""
    for _ in range(options.events // options.page * 2 + 20):
        answer, response = await reader.timed("GET", path + place)
        latency.append(response.ms)
        size += len(response.body)
        count += len(answer["chunk"])
        if "end" not in answer or not answer["chunk"]:
            break
        place = f"&from={quote(answer['end'])}"
    return latency, size, count


SCENARIO = Scenario("messages", "back through a whole room, twice", Options, run)
