"""Waiting for a thing to happen, with a deadline and a sentence that names the thing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE = 20.0
LOOK_EVERY = 0.03


async def until(
    what: str, check: Callable[[], Any | Awaitable[Any]], seconds: float = PATIENCE
) -> Any:
    """Return the first truthy answer of ``check``; it may be a coroutine function.

    Raises:
        AssertionError: ``what`` did not happen within ``seconds``.
    """
    clock = asyncio.get_running_loop()
    deadline = clock.time() + seconds
    while True:
        answer = check()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        if clock.time() > deadline:
            raise AssertionError(f"Waited {seconds:g} s in vain: {what}")
        await asyncio.sleep(LOOK_EVERY)
