"""limit: send, send-one, fanout and idle against the toy, which does nothing but answer.

What it reaches is the limit of the web server on this machine today; other figures count in
proportion to it.
"""

from attrs import frozen

from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios import fanout, idle, send, send_one
from benchmarks.targets.toy import toy


@frozen
class Options:
    total: int = option(4000, "messages of send")
    one: int = option(300, "messages of send-one")
    members: str = option("100,500", "sizes of the room of fanout")
    events: int = option(20, "messages of fanout")
    interval: float = option(1.0, "seconds between these")
    users: int = option(500, "people of idle")
    seconds: float = option(30.0, "length of idle")


async def run(bench: Bench, options: Options) -> Outcome:
    """All four, one after the other."""
    outcome = Outcome()
    outcome.add("send", await send.run(bench, send.Options(total=options.total)))
    outcome.add("send-one", await send_one.run(bench, send_one.Options(total=options.one)))
    one_room = fanout.Options(options.members, options.events, options.interval)
    outcome.add("fanout", await fanout.run(bench, one_room))
    online = idle.Options(users=options.users, seconds=options.seconds)
    outcome.add("idle", await idle.run(bench, online))
    return outcome


SCENARIO = Scenario("limit", "the toy: what the web server alone costs", Options, run, toy)
