"""faults: the load of chatter, without and with a fault in turn.

Both happen on the same server, in alternate stretches, and the medians of each kind are compared.
So a machine that is busy with other things disturbs both alike.
"""

from collections.abc import Sequence

from attrs import define, field, frozen

from benchmarks.client.chat import Chat, Pace, chatrooms
from benchmarks.measure.figures import Figures, median, percentile
from benchmarks.measure.window import Window
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.scenarios.faults.clients import Logins, Silent, SlowReaders, Upload
from benchmarks.scenarios.faults.database import DatabasePaused
from benchmarks.scenarios.faults.fault import Fault
from benchmarks.scenarios.faults.overload import Overload, Runaway

FAULTS: dict[str, type[Fault]] = {
    "database": DatabasePaused,
    "slow-readers": SlowReaders,
    "silent": Silent,
    "upload": Upload,
    "logins": Logins,
    "overload": Overload,
    "runaway": Runaway,
}
TWICE = 2.0
FLOOR_MS = 5.0


@frozen
class Options:
    fault: str = option(",".join(FAULTS), "which ones, with commas between them")
    users: int = option(100, "people")
    rooms: int = option(20, "rooms")
    members: int = option(10, "members of each room")
    rate: float = option(50.0, "messages per second, of all together")
    ephemeral: float = option(10.0, "typing notices and receipts per second")
    seconds: float = option(8.0, "how long each stretch is; the database is away for 5 of them")
    rounds: int = option(3, "stretches without the fault, and as many with it")
    drain: float = option(60.0, "seconds after the last one is due until the queue is given up")


@define
class Stretch:
    """What a stretch came to."""

    delivery_ms: list[float]
    put_ms: list[float]
    cpu_ms_per_event: float
    lost: int
    not_sent: int
    failed: int
    own: Figures = field(factory=dict)
    """Of the fault."""


async def run(bench: Bench, options: Options) -> Outcome:
    outcome = Outcome()
    chat = await chatrooms(bench.homeserver, options.users, options.rooms, options.members)
    try:
        await chat.start()
        for name in options.fault.split(","):
            outcome.add(name, await _compare(bench, chat, FAULTS[name], options))
        outcome.metrics |= chat.live.figures()
        outcome.notes += chat.live.notes()
        return outcome
    finally:
        chat.live.stop()


async def _compare(bench: Bench, chat: Chat, kind: type[Fault], options: Options) -> Outcome:
    pace = Pace(options.rate, options.ephemeral, options.seconds, options.drain)
    without: list[Stretch] = []
    with_it: list[Stretch] = []
    notes: list[str] = []
    async with bench.window() as window:
        for _ in range(options.rounds):
            await bench.calm(30)
            without.append(await _stretch(window, chat, pace, notes))
            await bench.calm(30)
            with_it.append(await _stretch(window, chat, pace, notes, kind(bench, chat)))
        await bench.calm(30)
    env = window.env
    metrics: Figures = {
        **_times("quiet_", without),
        **_times("", with_it),
        **_own(with_it),
        "rss_before_mb": env.get("rss_start_mb"),
        "rss_after_mb": env.get("rss_end_mb"),
        "lost": sum(each.lost for each in without + with_it),
        "not_sent": sum(each.not_sent for each in without + with_it),
        "failed_calls": sum(each.failed for each in without + with_it),
    }
    for figure in ("delivery_p99", "put_p99"):
        quiet, loud = metrics[f"quiet_{figure}_ms"], metrics[f"{figure}_ms"]
        if quiet and loud:
            metrics[f"{figure}_ratio"] = loud / quiet
            if kind.slows_nobody and loud > max(TWICE * quiet, quiet + FLOOR_MS):
                notes.append(f"{figure} is more than twice as long")
    return Outcome(metrics, env, notes)


async def _stretch(
    window: Window, chat: Chat, pace: Pace, notes: list[str], fault: Fault | None = None
) -> Stretch:
    arrived = len(chat.live.arrivals)
    if fault is not None:
        await fault.begin()
    try:
        cpu, _ = window.so_far()
        talk = await chat.talk(pace)
        cpu = window.so_far()[0] - cpu
    finally:
        if fault is not None:
            await fault.end()
    await chat.heard(talk, arrived)
    notes += talk.failures[: max(0, 3 - len(notes))]
    return Stretch(
        delivery_ms=[talk.late(each) for each in chat.arrivals(talk)],
        put_ms=talk.put_ms,
        cpu_ms_per_event=1000 * cpu / max(1, len(talk.answers)),
        lost=chat.lost(talk),
        not_sent=talk.not_sent,
        failed=len(talk.failures),
        own={} if fault is None else fault.figures(talk),
    )


def _times(prefix: str, stretches: Sequence[Stretch]) -> Figures:
    """Of each figure the median of all stretches of a kind."""
    found: Figures = {}
    for percent in (50, 99):
        for name in ("delivery", "put"):
            each = [percentile(getattr(one, f"{name}_ms"), percent) for one in stretches]
            found[f"{prefix}{name}_p{percent}_ms"] = median([ms for ms in each if ms is not None])
    found[f"{prefix}cpu_ms_per_event"] = median([one.cpu_ms_per_event for one in stretches])
    return found


def _own(stretches: Sequence[Stretch]) -> Figures:
    """The largest of what the faults say of themselves."""
    return {name: max(one.own[name] or 0 for one in stretches) for name in stretches[0].own}


SCENARIO = Scenario("faults", "chatter, while something goes wrong", Options, run, limited=True)
