"""Work that several people wait for, done once; whoever stops waiting does not end it."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def watched(working: "Deferred[T]") -> "Deferred[T]":
    """What ``working`` comes to. Whoever cancels it only stops watching."""
    watcher: Deferred[T] = Deferred()

    def tell(result: Any) -> None:
        if not watcher.called:
            watcher.callback(result)

    working.addBoth(tell)
    return watcher


class Shared(Generic[T]):
    """Runs one piece of work per key at a time, for everybody who asks meanwhile."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Deferred[T]]] = {}
        self._working: dict[str, Deferred[None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    async def get(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``work`` comes to, or the same work that is under way already."""
        watcher: Deferred[T] = Deferred()
        if key in self._waiting:
            self._waiting[key].append(watcher)
        else:
            self._waiting[key] = [watcher]
            working = Deferred.fromCoroutine(work()).addBoth(self._tell, key)
            if key in self._waiting:
                self._working[key] = working
        return await watcher

    def stop(self) -> None:
        """Cancel all that is under way."""
        for working in list(self._working.values()):
            working.cancel()

    def _tell(self, result: Any, key: str) -> None:
        self._working.pop(key, None)
        for watcher in self._waiting.pop(key):
            watcher.callback(result)  # who has left hears nothing more
