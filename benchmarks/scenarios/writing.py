"""Filling rooms with messages before something is measured."""

from collections.abc import Sequence

from benchmarks.client.crowds import together
from benchmarks.client.people import Person


async def fill(senders: Sequence[Person], room: str, count: int, width: int) -> None:
    """``count`` messages into a room, from the senders in turn, ``width`` at a time."""

    async def write(number: int) -> None:
        for _ in range(count // width + (number < count % width)):
            await senders[number % len(senders)].say(room)

    await together(write(number) for number in range(width))
