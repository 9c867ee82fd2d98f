"""Work that nobody waits for: it is logged when it fails and finished before the server stops."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure


class Background:
    """Runs coroutines on the side."""

    _log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def __call__(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work``; ``name`` says in the log what it was."""
        running: Deferred[None] = Deferred.fromCoroutine(work)
        self._running.add(running)
        running.addErrback(self._failed, name)
        running.addBoth(self._done, running)

    async def finish(self) -> None:
        """Wait for everything that is under way."""
        while self._running:
            await DeferredList(list(self._running))

    def _failed(self, failure: Failure, name: str) -> None:
        self._log.failure("{name} failed", failure=failure, name=name)

    def _done(self, _: object, running: "Deferred[None]") -> None:
        self._running.discard(running)
