"""Many things at the same time, but never more than so many."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def together(works: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """All of them at once. When one fails, the rest is cancelled before the error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def spread(count: int, workers: Sequence[T], do: Callable[[int, T], Awaitable[R]]) -> list[R]:
    """``do(i, worker)`` for 0 <= i < count; a worker takes the next i when it is free.

    The results are in the order of i.
    """
    numbers = iter(range(count))
    results: dict[int, R] = {}

    async def run(worker: T) -> None:
        for number in numbers:
            results[number] = await do(number, worker)

    await together(run(worker) for worker in workers)
    return [results[number] for number in range(count)]


async def pool(items: Iterable[T], width: int, do: Callable[[T], Awaitable[R]]) -> list[R]:
    """``do(item)`` for all items, at most ``width`` at a time; the results are in their order."""
    all_items = list(items)
    return await spread(len(all_items), range(width), lambda i, _: do(all_items[i]))
