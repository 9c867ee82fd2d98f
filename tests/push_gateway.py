"""A real push gateway on the loopback interface."""

from collections.abc import Callable
from typing import Any

import orjson
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

Json = dict[str, Any]


class PushGateway(Resource):
    """Keeps what it is told, and answers as it is asked to."""

    isLeaf = True

    def __init__(self, test: TestCase) -> None:
        super().__init__()
        self.told: list[Json] = []
        self.status, self.rejected, self.is_silent = 200, [], False
        self.asked = 0
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._port: Any = reactor.listenTCP(0, Site(self), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._port.getHost().port}/_matrix/push/v1/notify"
        test.addCleanup(self._port.stopListening)

    def render_POST(self, request: Any) -> Any:
        """Hear one notice."""
        self.asked += 1
        # Whoever waits goes on when this has been answered.
        reactor.callLater(0, self._look)  # type: ignore[attr-defined]
        if self.is_silent:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        if self.status == 200:
            self.told.append(orjson.loads(request.content.read())["notification"])
        request.setResponseCode(self.status)
        request.setHeader("Connection", "close")
        return orjson.dumps({"rejected": self.rejected})

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until what was told is as it should be."""
        if not happened():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((happened, waiting))
            waiting.addTimeout(20, reactor)
            await waiting

    async def hears(self, number: int) -> list[Json]:
        """What has been told, once there is so much."""
        await self.until(lambda: len(self.told) >= number)
        return self.told

    def _look(self) -> None:
        for each in [*self._waiting]:
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(None)
