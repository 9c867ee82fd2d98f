"""send: many people write at the same time, nobody is in /sync."""

from attrs import frozen

from benchmarks.client.crowds import pool, together
from benchmarks.client.people import Person
from benchmarks.measure.figures import latencies
from benchmarks.scenario import Bench, Outcome, Scenario, option


@frozen
class Options:
    senders: int = option(40, "people who write, each message after the other")
    rooms: int = option(20, "rooms they write in")
    members: int = option(5, "members of each room")
    total: int = option(4000, "messages in all")


async def run(bench: Bench, options: Options) -> Outcome:
    per_room = max(1, options.senders // options.rooms)
    size = options.members
    people = await bench.homeserver.people(options.rooms * size)
    groups = [people[i * size : (i + 1) * size] for i in range(options.rooms)]
    rooms = await pool(groups, 6, lambda group: bench.homeserver.room(group[0], group, width=2))
    writers = [
        (group[k % size], room)
        for group, room in zip(groups, rooms, strict=True)
        for k in range(per_room)
    ]
    for person, room in writers:
        await person.say(room)  # connections open, caches filled
    each = options.total // len(writers)
    await bench.calm()
    sends: list[float] = []

    async def write(person: Person, room: str) -> None:
        for _ in range(each):
            sends.append((await person.say(room))[1].ms)

    async with bench.window() as window:
        await together(write(person, room) for person, room in writers)
        wall = window.so_far()[1]
    count = len(sends)
    outcome = Outcome(
        metrics={
            "send_per_s": count / wall,
            **latencies("send", sends),
            "cpu_ms_per_event": window.cpu_ms_per(count),
        },
        env=window.env,
    )
    outcome.distribute("send", sends)
    return outcome


SCENARIO = Scenario("send", "many people write, nobody is in /sync", Options, run)
