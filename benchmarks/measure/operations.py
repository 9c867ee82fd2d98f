"""What Hearth itself counts by operation: its metrics endpoint, read before and after a window."""

import re
from collections import defaultdict
from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import define
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.client.connection import Connection, Origin

ANSWERS = "hearth_answers_total"
QUERIES = "hearth_database_queries_total"
DATABASE_SECONDS = "hearth_database_seconds_total"
SECONDS = "hearth_operation_seconds_sum"

Counts = Mapping[tuple[str, str, str], float]


@define
class Operation:
    """One kind of request within a window."""

    calls: float = 0
    failed: float = 0
    queries: float = 0
    seconds: float = 0
    database_seconds: float = 0


class Operations:
    """A server's own counters; empty for a server that has none."""

    def __init__(self, url: str | None) -> None:
        self._target = urlsplit(url).path.encode() if url else b""
        self._connection = Connection(Origin(url.rpartition("/")[0])) if url else None

    async def read(self) -> Counts:
        """All counters as they are now."""
        text = await self._text()
        return {
            (sample.name, labels["operation"], labels.get("status") or labels.get("kind", "")): (
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "operation" in (labels := sample.labels) and "le" not in labels
        }

    async def gauge(self, name: str) -> float:
        """A size as it is now; 0 where the server does not tell."""
        found = re.search(rf"^{name} (\S+)", await self._text(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def _text(self) -> str:
        if self._connection is None:
            return ""
        return (await self._connection.request(b"GET", self._target)).body.decode()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()


def difference(before: Counts, after: Counts) -> dict[str, dict[str, float]]:
    """By operation: calls, calls that failed, and per call the queries and the milliseconds.

    What belongs to no call (work in the background) has its sums under ``background``.
    """
    operations: dict[str, Operation] = defaultdict(Operation)
    for (name, label, detail), value in after.items():
        grown = value - before.get((name, label, detail), 0)
        if not grown:
            continue
        operation = operations[label]
        if name == ANSWERS:
            operation.calls += grown
            operation.failed += grown if detail >= "400" else 0
        elif name == QUERIES:
            operation.queries += grown
        elif name == SECONDS:
            operation.seconds += grown
        elif name == DATABASE_SECONDS:
            operation.database_seconds += grown
    return {label: _in_words(operation) for label, operation in sorted(operations.items())}


def _in_words(operation: Operation) -> dict[str, float]:
    calls = operation.calls or 1
    return {
        "calls": operation.calls,
        "failed": operation.failed,
        "queries_per_call": operation.queries / calls,
        "ms_per_call": 1000 * operation.seconds / calls,
        "database_ms_per_call": 1000 * operation.database_seconds / calls,
    }
