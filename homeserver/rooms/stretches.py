"""Stretches of a room: first and last numbers of events, in order, apart from each other."""

from bisect import bisect_right
from collections.abc import Iterator

EVER = 2**62
"""The number of an event that never comes."""
Stretches = tuple[tuple[int, int], ...]


def within(stretches: Stretches, seq: int) -> bool:
    """Whether the event with this number is in one of them."""
    index = bisect_right(stretches, (seq, EVER)) - 1
    return index >= 0 and stretches[index][1] >= seq


def gaps(stretches: Stretches) -> Iterator[tuple[int, int]]:
    """What lies before, between and after them."""
    first = 1
    for begin, end in stretches:
        if first < begin:
            yield first, begin - 1
        first = end + 1
    if first <= EVER:
        yield first, EVER
