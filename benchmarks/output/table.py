"""The table: a line for each figure, a column for each server."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.output.results import Column, Result, better, disturbance, windows

LIMIT = "limit"
INSTEAD = (LIMIT, "nginx")
NOISY = 0.3
QUEUE_SENSITIVE = ("_ms", "_per_s")

Row = list[Any]


def table(servers: Mapping[str, Column]) -> str:
    """All figures. With two servers also how many times better the first one is.

    What is measured instead of the servers (the toy, the generator) has a table of its own; the
    figures of the toy stand beside those of the servers as well.
    """
    columns = {name: column for name, column in servers.items() if name not in INSTEAD}
    blocks = [_block({name: servers[name]}, None) for name in INSTEAD if name in servers]
    if columns:
        toy = next(iter(servers.get(LIMIT, {}).values()), None)
        blocks.append(_block(columns, toy))
    return "\n\n".join([*blocks, "\n".join(_notes(servers))]).rstrip()


def _block(columns: Mapping[str, Column], toy: Result | None) -> str:
    head = ["figure", *columns]
    if len(columns) == 2:
        head.append(f"{next(iter(columns))} is better by")
    if toy is not None:
        head.append(LIMIT)
    rows: list[Row] = [head]
    for label in dict.fromkeys(label for column in columns.values() for label in column):
        rows += [[label]]
        rows += _rows(label, columns, toy)
    return _aligned(rows)


def _rows(label: str, columns: Mapping[str, Column], toy: Result | None) -> Iterator[Row]:
    results = [column.get(label) for column in columns.values()]
    figures = [_figures(result) for result in results]
    for name in dict.fromkeys(name for each in figures for name in each):
        values = [each.get(name) for each in figures]
        row: Row = [f"  {name}", *values]
        if len(columns) == 2:
            row.append(_factor(name, values, [each for each in results if each]))
        if toy is not None:
            row.append(toy["metrics"].get(f"{label.split()[0]}.{name}"))
        yield row


def _figures(result: Result | None) -> dict[str, Any]:
    """The figures, then memory and queries per operation, window by window."""
    if result is None:
        return {}
    if "error" in result:
        return {"failed": "yes"}
    figures = dict(result["metrics"])
    for name, env in windows(result["env"]):
        if "rss_peak_mb" in env:
            figures[f"{name}rss_peak_mb"] = env["rss_peak_mb"]
        for operation, cost in env.get("operations", {}).items():
            if cost["calls"]:
                figures[f"{name}queries of {operation}"] = cost["queries_per_call"]
    return figures


def _factor(name: str, values: Sequence[Any], results: Sequence[Result]) -> str | None:
    """How many times better the first value is; with ? where a busy machine blurred it."""
    direction = better(name)
    if not direction or not all(isinstance(value, int | float) and value for value in values):
        return None
    first, second = values
    factor = first / second if direction == "higher" else second / first
    blurred = (
        name.endswith(QUEUE_SENSITIVE)
        and "cpu_ms" not in name
        and max(disturbance(result) for result in results) > NOISY
    )
    return f"{_text(factor)}{'?' if blurred else ''}"


def _notes(servers: Mapping[str, Column]) -> Iterator[str]:
    busy = []
    for name, column in servers.items():
        for label, result in column.items():
            yield from (f"note, {name}, {label}: {note}" for note in result["notes"])
            if disturbance(result) > NOISY:
                busy.append(f"{name}, {label}")
    if busy:
        yield f"The machine was busy with other things (times are rough): {'; '.join(busy)}"


def _aligned(rows: Sequence[Row]) -> str:
    """The first row is the head; a row of one cell is a heading."""
    texts = [[_text(cell) for cell in row] for row in rows]
    full = [row for row in texts if len(row) > 1]
    widths = [max(len(row[i]) for row in full) for i in range(len(full[0]))]
    texts.insert(1, ["-" * width for width in widths])
    lines = []
    for first, *others in texts:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=False)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"
