"""send-one: one person writes one message after the other."""

from attrs import frozen

from benchmarks.measure.figures import latencies
from benchmarks.scenario import Bench, Outcome, Scenario, option


@frozen
class Options:
    members: int = option(5, "members of the room")
    total: int = option(300, "messages")


async def run(bench: Bench, options: Options) -> Outcome:
    people = await bench.homeserver.people(options.members)
    room = await bench.homeserver.room(people[0], people)
    for _ in range(10):
        await people[0].say(room)
    await bench.calm()
    sends = []
    async with bench.window() as window:
        for _ in range(options.total):
            sends.append((await people[0].say(room))[1].ms)
    outcome = Outcome(
        metrics={
            "send_per_s": 1000 * len(sends) / sum(sends),
            **latencies("send", sends, (50, 99)),
            "cpu_ms_per_event": window.cpu_ms_per(len(sends)),
        },
        env=window.env,
    )
    outcome.distribute("send", sends)
    return outcome


SCENARIO = Scenario("send-one", "one person writes, one message after the other", Options, run)
