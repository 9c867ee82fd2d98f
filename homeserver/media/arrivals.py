"""Uploads that were announced: who waits for which of them."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from homeserver.metrics import current_operation


class Arrivals:
    """Who waits for which announced upload. On the reactor thread."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._expected: defaultdict[str, set[Deferred[None]]] = defaultdict(set)

    @contextmanager
    def expect(self, media_id: str) -> "Iterator[Deferred[None]]":
        """Fires when the upload comes. Enter it before looking, so nothing falls in between."""
        arrival: Deferred[None] = Deferred()
        self._expected[media_id].add(arrival)
        try:
            yield arrival
        finally:
            self._expected[media_id].discard(arrival)
            if not self._expected[media_id]:
                del self._expected[media_id]

    def tell(self, media_id: str) -> None:
        """The upload is there."""
        for arrival in self._expected.pop(media_id, ()):
            arrival.callback(None)

    async def wait(self, arrival: "Deferred[None]", milliseconds: int) -> None:
        """Return when the upload has come or the time is over."""
        began = perf_counter()
        arrival.addTimeout(milliseconds / 1000, self._reactor, lambda result, timeout: None)
        try:
            await arrival
        finally:
            operation = current_operation.get()
            if operation is not None:
                operation.waited_seconds += perf_counter() - began
