"""Line charts as SVG, drawn by hand: no library is needed to look at a benchmark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from attrs import frozen

from benchmarks.output.results import Column, Result

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 44
LEGEND_LINE = 16
COLOURS = ("#1f6fb4", "#d9730d", "#5b8c2a", "#a03c78", "#6b6b6b", "#b59a00")
DASHES = ("", "6 3", "2 3", "9 3 2 3")
GRID = "#dddddd"

Points = Sequence[Sequence[float]]


@frozen
class Line:
    """A named line. Lines of one server share a colour, lines of one kind a dash."""

    name: str
    points: Points
    colour: str
    dash: str


@frozen
class Chart:
    """Axes, and what they mean."""

    title: str
    across: str
    up: str
    lines: list[Line]
    logarithmic: bool = False
    """Across; up is always linear and begins at 0."""


def plot(label: str, servers: Mapping[str, Column]) -> str | None:
    """The picture of one scenario, all servers in it; None when there is nothing to draw."""
    results = {name: column[label] for name, column in servers.items() if label in column}
    growth: dict[str, Result] = {name: each.get("growth", {}) for name, each in results.items()}
    charts = [
        Chart(
            f"{label}: latency distribution",
            "milliseconds",
            "share of all",
            _lines(results, "distributions"),
            logarithmic=True,
        ),
        Chart(
            f"{label}: receivers over time",
            "milliseconds since the start of the PUT",
            "receivers that have it",
            _lines(results, "receivers"),
            logarithmic=True,
        ),
        Chart(
            f"{label}: as time went on",
            "seconds since the start",
            "milliseconds",
            _lines(results, "seconds"),
        ),
        *(
            Chart(
                f"{label}: cost by {kind}",
                kind,
                "processor milliseconds per operation",
                _lines(growth, kind),
                logarithmic=True,
            )
            for kind in dict.fromkeys(kind for curves in growth.values() for kind in curves)
        ),
    ]
    drawn = [chart for chart in charts if chart.lines]
    return _picture(drawn) if drawn else None


def _lines(results: Mapping[str, Result], kind: str) -> list[Line]:
    return [
        Line(
            f"{server}: {name}",
            points,
            COLOURS[place % len(COLOURS)],
            DASHES[number % len(DASHES)],
        )
        for place, (server, result) in enumerate(results.items())
        for number, (name, points) in enumerate(result.get(kind, {}).items())
        if points
    ]


def _picture(charts: Sequence[Chart]) -> str:
    parts: list[str] = []
    y = 0
    for chart in charts:
        parts.append(f'<g transform="translate(0 {y})">')
        parts += _draw(chart)
        parts.append("</g>")
        y += HEIGHT + LEGEND_LINE * len(chart.lines) + 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}"'
        f' height="{y}" font-family="sans-serif" font-size="12" fill="#222222">'
    )
    return "\n".join(
        [head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>\n"]
    )


def _draw(chart: Chart) -> Iterator[str]:
    xs = [x for line in chart.lines for x, _ in line.points]
    top = max(max(y for line in chart.lines for _, y in line.points), 1e-9)
    low, high = _bounds(xs, chart.logarithmic)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place_x(x: float) -> float:
        if chart.logarithmic:
            share = math.log(max(x, low) / low) / math.log(high / low)
        else:
            share = (x - low) / (high - low)
        return LEFT + share * (right - LEFT)

    def place_y(y: float) -> float:
        return bottom - y / top * (bottom - TOP)

    yield f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{escape(chart.title)}</text>'
    for x in _ticks_across(low, high, chart.logarithmic):
        yield _segment(place_x(x), TOP, place_x(x), bottom)
        yield _word(place_x(x), bottom + 16, f"{x:g}", "middle")
    for y in _ticks(0, top):
        yield _segment(LEFT, place_y(y), right, place_y(y))
        yield _word(LEFT - 6, place_y(y) + 4, f"{y:g}", "end")
    yield _word((LEFT + right) / 2, bottom + 34, chart.across, "middle")
    yield _word(LEFT, TOP - 10, chart.up, "start")
    for number, line in enumerate(chart.lines):
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in line.points)
        style = f'stroke="{line.colour}" stroke-width="2" stroke-dasharray="{line.dash}"'
        yield f'<polyline points="{path}" fill="none" {style}/>'
        row = HEIGHT + 8 + LEGEND_LINE * number
        yield f'<line x1="{LEFT}" y1="{row}" x2="{LEFT + 32}" y2="{row}" {style}/>'
        yield _word(LEFT + 40, row + 4, line.name, "start")


def _segment(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID}"/>'


def _word(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _bounds(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    """Where the axis begins and ends; a logarithmic one at 1, 2 or 5 times a power of ten."""
    low, high = min(values), max(values)
    if not logarithmic:
        return low, max(high, low + 1)
    low = max(low, 0.01)
    high = max(high, low)
    steps = list(_steps(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1, (1, 2, 5)))
    return max(x for x in steps if x <= low), min(x for x in steps if x > high)


def _steps(first: int, last: int, factors: Sequence[int]) -> Iterator[float]:
    """Multiples of the powers of ten from ``first`` to ``last``."""
    for power in range(first, last + 1):
        yield from (round(factor * 10.0**power, 6) for factor in factors)


def _ticks(low: float, high: float) -> Iterator[float]:
    step = 10 ** math.floor(math.log10((high - low) / 2))
    while (high - low) / step > 6:
        step *= 2
    number = math.ceil(low / step)
    while number * step <= high + step / 1e6:
        yield round(number * step, 6)
        number += 1


def _ticks_across(low: float, high: float, logarithmic: bool) -> Iterator[float]:
    if not logarithmic:
        yield from _ticks(low, high)
        return
    # 1, 2, 5, 10, …; over few decades that is readable, over many only the powers of ten are.
    factors = (1, 2, 5) if high / low < 1e4 else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    yield from (x for x in _steps(first, last, factors) if low <= x <= high)
