"""HTTP as a Matrix client speaks it: one server, many people, every request timed."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import orjson
from treq.client import HTTPClient
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    FirstError,
    TimeoutError,
    gatherResults,
)
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from e2e.selftest.faults import Fault
from e2e.selftest.ledger import Ledger, milliseconds

V3 = "/_matrix/client/v3"
GIVES_UP_SECONDS = 60.0
LONGEST_LIMIT_SECONDS = 120.0
"""A server that wants us to wait longer than this does not want this self-test."""

CALM_PINGS = 3
MOST_PINGS = 200

Json = dict[str, Any]
T = TypeVar("T")
U = TypeVar("U")


class Refused(Fault):
    """The server refused a request that had to succeed."""

    def __init__(self, method: str, path: str, status: int, answer: Any) -> None:
        self.status = status
        self.answer: Json = answer if isinstance(answer, dict) else {}
        errcode, error = self.answer.get("errcode", ""), self.answer.get("error", "")
        super().__init__(f"{method} {path} was answered {status} {errcode} {error}".rstrip())


class Client:
    """Sends requests to one server over a bounded number of connections that are kept."""

    def __init__(self, reactor: Any, url: str, ledger: Ledger, connections: int) -> None:
        self._reactor = reactor
        self._url = url.rstrip("/")
        self._ledger = ledger
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = connections
        # Servers hang up on idle connections; nothing must be sent on one that is about to go.
        self._pool.cachedConnectionTimeout = 15
        self._http = HTTPClient(Agent(reactor, connectTimeout=10, pool=self._pool))
        self._fastest_ping = float("inf")

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.closeCachedConnections()

    async def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        token: str | None = None,
        has_password: bool = False,
        waits: float = 0.0,
    ) -> Json:
        """A request that must succeed, and is taken down; ``path`` is under v3 unless it says so.

        ``has_password`` marks the requests for which the server hashes a password; a /sync that
        ``waits`` so many seconds for something to happen is not taken down. Where the server
        limits the rate, this waits and tries again.

        Raises:
            Refused: it was answered with an error.
            Fault: it was not answered.
        """
        while True:
            begun = perf_counter()
            status, answer = await self.exchange(method, path, body, token, waits=waits)
            if not waits:
                step = self._ledger.current
                times = step.passwords if has_password else step.network
                times.all_ms.append(milliseconds(perf_counter() - begun))
            if status == 200 and isinstance(answer, dict):
                return answer
            refused = Refused(method, path.partition("?")[0], status, answer)
            if status != 429:
                raise refused
            await self._wait_as_told(refused)

    async def exchange(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        token: str | None = None,
        *,
        waits: float = 0.0,
    ) -> tuple[int, Any]:
        """One request as it is; its status and its JSON.

        Raises:
            Fault: there was no answer, or it was not JSON.
        """
        url = self._url + (path if path.startswith("/_") else V3 + path)
        name = f"{method} {path.partition('?')[0]}"
        answer: Deferred[tuple[int, bytes]] = Deferred.fromCoroutine(
            self._send(method, url, body, token)
        )
        answer.addTimeout(waits + GIVES_UP_SECONDS, self._reactor, onTimeoutCancel=_timed_out)
        try:
            status, content = await answer
            return status, orjson.loads(content)
        except TimeoutError:
            raise Fault(
                f"{name} was not answered within {waits + GIVES_UP_SECONDS:.0f} s"
            ) from None
        except ResponseFailed as error:
            if any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from error
            causes = "; ".join(reason.getErrorMessage() for reason in error.reasons)
            raise Fault(f"{name} was not answered: {causes}") from error
        except (ConnectError, ConnectionClosed) as error:
            raise Fault(f"{name} was not answered: {error}") from error
        except orjson.JSONDecodeError:
            raise Fault(f"{name} was answered {status}, but not with JSON") from None

    async def calm(self) -> None:
        """Return once the server has read what was sent before, and has nothing else to do.

        It has when small questions are answered about as fast as they ever were.
        """
        calm = 0
        for _ in range(MOST_PINGS):
            begun = perf_counter()
            await self.exchange("GET", "/_matrix/client/versions")
            took = perf_counter() - begun
            self._fastest_ping = min(self._fastest_ping, took)
            calm = calm + 1 if took <= 2 * self._fastest_ping + 0.005 else 0
            if calm == CALM_PINGS:
                return
            await deferLater(self._reactor, 0.02)

    async def _send(
        self, method: str, url: str, body: Json | None, token: str | None
    ) -> tuple[int, bytes]:
        headers = Headers()
        if body is not None:
            headers.addRawHeader("Content-Type", "application/json")
        if token is not None:
            headers.addRawHeader("Authorization", f"Bearer {token}")
        data = None if body is None else orjson.dumps(body)
        response: IResponse = await self._http.request(
            method, url, headers=headers, data=data, unbuffered=True, allow_redirects=False
        )
        return response.code, await response.content()  # type: ignore[attr-defined]

    async def _wait_as_told(self, refused: Refused) -> None:
        seconds = refused.answer.get("retry_after_ms", 1000) / 1000
        if seconds > LONGEST_LIMIT_SECONDS:
            raise refused
        self._ledger.limited_seconds += seconds
        await deferLater(self._reactor, seconds)


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Everything at the same time; when one fails the others are stopped, and it is raised.

    Whatever comes of it, nothing goes on afterwards.
    """
    running = [Deferred.fromCoroutine(work) for work in works]
    try:
        results: list[T] = await gatherResults(running, consumeErrors=True)
        return results
    except FirstError as first:
        first.subFailure.raiseException()
    finally:
        for each in running:
            each.cancel()
        await DeferredList(running)


async def in_turns(
    work: Callable[[T], Awaitable[U]],
    things: Sequence[T],
    at_once: int,
    done: Callable[[int], None],
) -> list[U]:
    """Do the work for each thing, so many at a time; the results in the order of the things.

    ``done`` hears how many have been finished.
    """
    results: dict[int, U] = {}
    todo = iter(enumerate(things))

    async def worker() -> None:
        for index, thing in todo:
            results[index] = await work(thing)
            done(len(results))

    await together(worker() for _ in range(min(at_once, len(things))))
    return [results[index] for index in range(len(things))]


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Bring the work to its end. Whoever is cancelled while waiting for it is so afterwards."""
    running = Deferred.fromCoroutine(work)
    is_cancelled = False
    while True:
        waiting: Deferred[T] = Deferred()
        running.addBoth(_hand_on, waiting)
        try:
            result = await waiting
        except CancelledError:
            if running.called:
                raise
            is_cancelled = True
            continue
        if is_cancelled:
            raise CancelledError
        return result


def _hand_on(result: Any, waiting: "Deferred[Any]") -> Any:
    """Give a result, or a failure, to whoever waits; if they have gone, to the next."""
    if waiting.called:
        return result
    waiting.callback(result)
    return None


def _timed_out(result: object, seconds: float) -> Failure:
    """Whatever the HTTP client makes of being cancelled."""
    return Failure(TimeoutError())
