"""What the steps took, against the budgets that they have."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from statistics import median
from time import perf_counter

from attrs import define, field, frozen

ENCRYPTION_BUDGET_MS = 50.0
"""For each message or key that is encrypted, decrypted, signed or verified."""

NETWORK_BUDGET_MS = 100.0
"""For each request, seen from the client."""


@define
class Times:
    """How long one kind of operation took within one step, each time."""

    budget_ms: float | None
    """None where slowness is on purpose: passwords are hashed so that guessing them is slow."""
    all_ms: list[float] = field(factory=list)

    @property
    def typical(self) -> float:
        """The time that half of them did not take."""
        return median(self.all_ms)

    @property
    def almost_all(self) -> float:
        """The time within which 99 of 100 were done."""
        return sorted(self.all_ms)[ceil(len(self.all_ms) * 0.99) - 1]

    @property
    def is_within_budget(self) -> bool:
        """Whether 99 of 100 were, so that one hiccup of the machine does not count."""
        return self.budget_ms is None or not self.all_ms or self.almost_all <= self.budget_ms


@define
class StepTimes:
    """One step of the self-test."""

    title: str
    encryption: Times = field(factory=lambda: Times(ENCRYPTION_BUDGET_MS))
    network: Times = field(factory=lambda: Times(NETWORK_BUDGET_MS))
    passwords: Times = field(factory=lambda: Times(None))
    seconds: float = 0.0

    @property
    def is_within_budget(self) -> bool:
        """Whether encryption and network both were."""
        return self.encryption.is_within_budget and self.network.is_within_budget


@frozen
class Figure:
    """One operation for the whole group that has a goal of its own."""

    title: str
    ms: float
    goal_ms: float

    @property
    def is_within_goal(self) -> bool:
        """Whether it was fast enough."""
        return self.ms <= self.goal_ms


class Ledger:
    """Takes down every operation under the step that is going on."""

    def __init__(self) -> None:
        self._steps: list[StepTimes] = []
        self.figures: list[Figure] = []
        self.limited_seconds = 0.0
        """How long the rate limits of the server made the self-test wait."""

    @property
    def steps(self) -> Sequence[StepTimes]:
        """All steps that have begun, in their order."""
        return self._steps

    @property
    def current(self) -> StepTimes:
        """The step that is going on."""
        return self._steps[-1]

    @property
    def is_within_budget(self) -> bool:
        """Whether everything was as fast as it should be."""
        steps = all(step.is_within_budget for step in self._steps)
        return steps and all(figure.is_within_goal for figure in self.figures)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step, from its beginning to its end."""
        step = StepTimes(title)
        self._steps.append(step)
        begun = perf_counter()
        try:
            yield
        finally:
            step.seconds = perf_counter() - begun

    @contextmanager
    def encryption(self) -> Iterator[None]:
        """One piece of encryption work; on any thread."""
        begun = perf_counter()
        yield
        self.current.encryption.all_ms.append(milliseconds(perf_counter() - begun))

    @contextmanager
    def figure(self, title: str, goal_ms: float) -> Iterator[None]:
        """An operation for the whole group that has a goal of its own."""
        begun = perf_counter()
        yield
        self.note(title, perf_counter() - begun, goal_ms)

    def note(self, title: str, seconds: float, goal_ms: float) -> None:
        """Take down such an operation that has been timed otherwise."""
        self.figures.append(Figure(title, milliseconds(seconds), goal_ms))


def milliseconds(seconds: float) -> float:
    """The same time in milliseconds."""
    return seconds * 1000
