"""What the server costs: one histogram per operation, database time, queries, sizes.

Every operation has a budget of 200 ms; the histogram has a bucket at exactly that, so an alert on
a breach is one expression. Nothing here is global: the registry belongs to one server.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import cache

from attrs import define
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

BUDGET_SECONDS = 0.2
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, BUDGET_SECONDS, 0.5, 1, 2.5, 10)


@define
class Operation:
    """One request or background task, and what it has cost so far."""

    request_id: str
    name: str = "unknown"
    queries: int = 0
    database_seconds: float = 0.0
    waited_seconds: float = 0.0
    """Time that a long poll spent waiting on purpose; no part of the budget."""


current_operation: ContextVar[Operation | None] = ContextVar("current_operation", default=None)
"""Follows the work of one request through its coroutines; for logs and accounting only."""


class Metrics:
    """The registry of one server, and the places where it is fed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._seconds = Histogram(
            "hearth_operation_seconds",
            "Time to answer, without the time a long poll waited on purpose",
            ["operation"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._breaches = Counter(
            "hearth_operation_over_budget",
            f"Operations that took longer than {BUDGET_SECONDS:g} s",
            ["operation"],
            registry=self.registry,
        )
        self._answers = Counter(
            "hearth_answers", "Answers by status", ["operation", "status"], registry=self.registry
        )
        self._database_seconds = Counter(
            "hearth_database_seconds",
            "Time between asking the database and its answer",
            ["operation", "kind"],
            registry=self.registry,
        )
        self._queries = Counter(
            "hearth_database_queries",
            "SQL statements",
            ["operation", "kind"],
            registry=self.registry,
        )
        # Finding a series by its labels takes longer than counting in it.
        self._seconds_of = cache(self._seconds.labels)
        self._answers_of = cache(self._answers.labels)
        self._queries_of = cache(self._queries.labels)
        self._database_seconds_of = cache(self._database_seconds.labels)

    def database(self, kind: str, queries: int, seconds: float) -> None:
        """The store's meter: charge the current operation."""
        operation = current_operation.get()
        name = "background"
        if operation is not None:
            name = operation.name
            operation.queries += queries
            operation.database_seconds += seconds
        self._queries_of(name, kind).inc(queries)
        self._database_seconds_of(name, kind).inc(seconds)

    def answered(self, operation: Operation, status: int, seconds: float) -> None:
        """An operation is over after ``seconds`` in all."""
        worked = seconds - operation.waited_seconds
        self._seconds_of(operation.name).observe(worked)
        self._answers_of(operation.name, str(status)).inc()
        if worked > BUDGET_SECONDS:
            self._breaches.labels(operation.name).inc()

    def gauge(self, name: str, help_text: str, read: Callable[[], float], **labels: str) -> None:
        """Show the value of ``read()`` as ``hearth_<name>`` whenever somebody looks.

        With labels, the same name may be used again with other values of the same labels.
        """
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = Gauge(f"hearth_{name}", help_text, list(labels), registry=self.registry)
            self._gauges[name] = gauge
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        """A counter ``hearth_<name>`` for its feature to increase."""
        return Counter(f"hearth_{name}", help_text, labels, registry=self.registry)
