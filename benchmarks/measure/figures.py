"""Percentiles and medians."""

import math
from collections.abc import Sequence

Figure = float | int | None
Figures = dict[str, Figure]

CURVE_POINTS = 200


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many percent of the values do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(percent / 100 * len(ordered)) - 1))]


def median(values: Sequence[float]) -> float | None:
    """The middle value, or the mean of the two in the middle."""
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def latencies(
    name: str, ms: Sequence[float], percents: Sequence[int] = (50, 95, 99), maximum: bool = False
) -> Figures:
    """``<name>_p50_ms`` and so on."""
    found: Figures = {f"{name}_p{percent}_ms": percentile(ms, percent) for percent in percents}
    if maximum:
        found[f"{name}_max_ms"] = max(ms, default=None)
    return found


def curve(values: Sequence[float]) -> list[tuple[float, float]]:
    """(value, share of all values up to it): the distribution, in a bounded number of points."""
    ordered = sorted(values)
    count = len(ordered)
    step = max(1, count // CURVE_POINTS)
    places = sorted({*range(step - 1, count, step), *range(max(0, count - 10), count)})
    return [(ordered[place], (place + 1) / count) for place in places]
