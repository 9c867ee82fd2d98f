"""What a scenario is, what it is given, and what it finds out."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from attrs import define, field, fields, frozen

from benchmarks.client.people import Customs, Homeserver
from benchmarks.measure.figures import Figure, Figures, curve, median
from benchmarks.measure.operations import Operations
from benchmarks.measure.probe import Probe
from benchmarks.measure.window import Window, calm
from benchmarks.targets.process import Process
from benchmarks.targets.target import Target

Points = list[tuple[float, float]]
Options = TypeVar("Options")


class Bench:
    """A running server, and everything to load it with and to look at it."""

    def __init__(self, process: Process, customs: Customs) -> None:
        self.process = process
        self.customs = customs
        self.homeserver = Homeserver(process.url, customs)
        self._operations = Operations(process.metrics_url)
        self.look_again()

    def look_again(self) -> None:
        """Look at the process that runs now: it has been started again."""
        self.probe = Probe(self.process.pid, self.process.database)

    async def restart(self) -> None:
        """The same data, but nothing in the server's memory."""
        await self.process.restart()
        self.look_again()

    def window(self) -> Window:
        """The measured part of a scenario."""
        return Window(self.probe, self._operations)

    async def gauge(self, name: str) -> float:
        """One of the sizes that the server tells."""
        return await self._operations.gauge(name)

    async def calm(self, limit: float = 60.0, below: float = 12.0) -> float:
        """Wait until the server has nothing to do; the seconds waited."""
        return await calm(self.probe, self.customs.calm_seconds, limit, below)

    def close(self) -> None:
        """Drop all connections."""
        self._operations.close()
        self.homeserver.close()


@define
class Outcome:
    """What a run of a scenario found out.

    ``env`` belongs to the one window, or has a name for each of several. ``distributions`` and
    ``receivers`` are for the plots: shares of all answers by their latency, and the number of
    receivers that have a message by the time since its PUT. ``growth`` has, by what there are more
    and more of, what each operation costs.
    """

    metrics: Figures = field(factory=dict)
    env: dict[str, Any] = field(factory=dict)
    notes: list[str] = field(factory=list)
    distributions: dict[str, Points] = field(factory=dict)
    receivers: dict[str, Points] = field(factory=dict)
    seconds: dict[str, Points] = field(factory=dict)
    growth: dict[str, dict[str, Points]] = field(factory=dict)

    def add(self, name: str, other: "Outcome") -> None:
        """A part of this scenario, as ``name``."""
        self.metrics |= {f"{name}.{key}": value for key, value in other.metrics.items()}
        self.env[name] = other.env
        self.notes += [f"{name}: {note}" for note in other.notes]
        for mine, theirs in (
            (self.distributions, other.distributions),
            (self.receivers, other.receivers),
            (self.seconds, other.seconds),
        ):
            mine.update({f"{name} {key}": points for key, points in theirs.items()})

    def distribute(self, name: str, milliseconds: Sequence[float]) -> None:
        """Plot the distribution of these latencies."""
        self.distributions[name] = curve(milliseconds)

    def receive(self, delays: Sequence[Sequence[float]]) -> None:
        """Plot how messages spread: for each message, the milliseconds to each of its receivers."""
        ranked = [sorted(one) for one in delays if one]
        count = min((len(one) for one in ranked), default=0)
        places = range(0, count, max(1, count // 200))
        last = [count - 1] if count else []
        for name, pick in (("the median message", median), ("the slowest message", max)):
            self.receivers[name] = [
                (pick([one[place] for one in ranked]) or 0.0, place + 1)
                for place in [*places, *last]
            ]


@frozen
class Scenario(Generic[Options]):
    """A name, a sentence, the options with their defaults, and how it runs."""

    name: str
    text: str
    options: type[Options]
    run: Callable[[Bench, Options], Awaitable[Outcome]]
    instead: Callable[[], Target] | None = None
    """It measures this server, whichever ones are asked for."""
    limited: bool = False
    """Whether the server limits how much each person sends, as when it is delivered."""


def option(default: Any, text: str) -> Any:
    """An option of a scenario, and the words that explain it."""
    return field(default=default, metadata={"text": text})


def settings(options: Any) -> dict[str, Any]:
    """The options of a run, for its result."""
    return {each.name: getattr(options, each.name) for each in fields(type(options))}


FAULTS = (
    "lost",
    "refused_without_a_time",
    "todevice_lost",
    "wrong_answers",
    "download_bad",
    "members_missing",
    "failed_calls",
    "not_sent",
    "sync_errors",
    "duplicates",
    "events_missing",
    "rooms_missing",
)
"""Figures that must be 0: anything else is a fault of the server, however fast it is."""


def faults(metrics: Figures) -> dict[str, Figure]:
    """Those of the figures that tell of wrong or missing answers."""
    return {
        name: value for name, value in metrics.items() if name.split(".")[-1] in FAULTS and value
    }
