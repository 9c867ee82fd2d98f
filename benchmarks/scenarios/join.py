"""join: a room is created with invitations, and everybody joins at once."""

from time import perf_counter

from attrs import frozen

from benchmarks.client.crowds import pool
from benchmarks.client.people import INVITED_AT_CREATION, V3, quote
from benchmarks.measure.figures import latencies
from benchmarks.scenario import Bench, Outcome, Scenario, option


@frozen
class Options:
    members: int = option(100, "people invited")
    width: int = option(10, "joins at a time")


async def run(bench: Bench, options: Options) -> Outcome:
    creator, *others = await bench.homeserver.people(options.members + 1)
    await bench.calm()
    invited = [person.user_id for person in others]
    wish = {"preset": "private_chat", "invite": invited[:INVITED_AT_CREATION]}
    wish |= bench.customs.create_extra
    async with bench.window() as window:
        answer, created = await creator.timed("POST", f"{V3}/createRoom", wish)
        path = f"{V3}/rooms/{quote(answer['room_id'])}"
        for user_id in invited[INVITED_AT_CREATION:]:
            await creator.call("POST", f"{path}/invite", {"user_id": user_id})
        began = perf_counter()
        answers = await pool(
            others, options.width, lambda person: person.timed("POST", f"{path}/join", {})
        )
        wall = perf_counter() - began
    joins = [response.ms for _, response in answers]
    joined = len((await creator.call("GET", f"{path}/joined_members"))["joined"])
    outcome = Outcome(
        metrics={
            "create_with_invites_ms": created.ms,
            "join_per_s": len(joins) / wall,
            **latencies("join", joins),
            "cpu_ms_per_member": window.cpu_ms_per(len(joins)),
            "members_missing": options.members + 1 - joined,
        },
        env=window.env,
    )
    outcome.distribute("join", joins)
    return outcome


SCENARIO = Scenario("join", "a room with invitations, everybody joins", Options, run)
