"""The HTTP server: finds the route of a request, calls its handler, writes the answer."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import orjson
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from homeserver.limits import Limits
from homeserver.metrics import Metrics, Operation, current_operation
from rest.request import Request
from rest.routing import JSON_LIMIT, Access, Answer, Call, Query, Route, Router
from schema.body import Schemas
from schema.canonical import MAX_DEPTH, check_depth
from schema.errors import BadJson, Forbidden, GuestAccessForbidden, MatrixError, NotJson

_FOR_GUESTS = (Access.GUEST, Access.EVEN_LOCKED)


class Doorkeeper(Protocol):
    """Turns the credentials of a request into its requester: ``rest.access``."""

    async def requester(self, call: Call, *, even_locked: bool = False) -> Any:
        """Who asks; refuses unknown and missing tokens."""

    def service(self, call: Call) -> Any:
        """The application service that asks, or None."""


class Api:
    """Answers requests: everything goes through the router. The access log is the metrics."""

    _log = Logger()

    def __init__(
        self,
        router: Router,
        doorkeeper: Doorkeeper,
        schemas: Schemas,
        limits: Limits,
        metrics: Metrics,
        request_ids: Callable[[], str],
    ) -> None:
        self._router = router
        self._doorkeeper = doorkeeper
        self._schemas = schemas
        self._limits = limits
        self._metrics = metrics
        self._request_ids = request_ids

    def max_body(self, method: str, target: bytes) -> int:
        """How many bytes the body of a request may have."""
        try:
            route, _ = self._router.find(method, target.partition(b"?")[0].decode())
        except (MatrixError, UnicodeDecodeError):
            return JSON_LIMIT
        return route.max_body

    def serve(self, request: Request) -> None:
        """Answer the request. If its client leaves, only reading stops: a write ends."""
        serving = Deferred.fromCoroutine(self._serve(request))
        if request.method == "GET":
            request.on_leaving = serving.cancel
        serving.addErrback(self._broke_off)

    def _broke_off(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("An answer broke off", failure=failure)

    async def _serve(self, request: Request) -> None:
        began = perf_counter()
        operation = Operation(self._request_ids())
        current_operation.set(operation)
        try:
            answer = _encoded(await self._answer(request, operation))
        except MatrixError as error:
            answer = _encoded(_refusal(error))
        except CancelledError:
            return
        except Exception:
            self._log.failure("The request failed")
            body = {"errcode": "M_UNKNOWN", "error": "The server made a mistake; see its log"}
            answer = _encoded(Answer(body, status=500))
        self._metrics.answered(operation, answer.status, perf_counter() - began)
        await _write(request, answer, operation.request_id)

    async def _answer(self, request: Request, operation: Operation) -> Answer:
        method = request.method
        if method == "OPTIONS":
            operation.name = "OPTIONS"
            return Answer()
        path, _, query = request.target.partition(b"?")
        # HEAD is GET whose body is left out (RFC 9110, section 9.3.2).
        asked = "GET" if method == "HEAD" else method
        route, parameters = self._router.find(asked, path.decode("utf-8", "replace"))
        operation.name = route.operation
        call = Call(
            method=method,
            path=parameters,
            query=Query(query),
            headers=partial(_header, request),
            address=_address(request),
            uri=path.decode("ascii", "replace"),
        )
        await self._admit(route, call)
        if call.service is None and getattr(call.requester, "is_rate_limited", True):
            self._limits.spend(route.limit, getattr(call.requester, "user_id", call.address))
        if route.upload:
            call.content = request.content()
        elif asked != "GET":
            call.body = self._body(route, request)
        result = await route.handler(call)
        if route.waits:
            # Meanwhile the token may have ended: then nothing of the answer is theirs any more.
            await self._admit(route, call)
        return result if isinstance(result, Answer) else Answer(result)

    async def _admit(self, route: Route, call: Call) -> None:
        if route.access is Access.PUBLIC:
            return
        if route.access is Access.OR_SERVICE:
            call.service = self._doorkeeper.service(call)
            return
        if route.access is Access.OPTIONAL and not (
            call.headers("authorization") or call.query.text("access_token")
        ):
            return
        even_locked = route.access is Access.EVEN_LOCKED
        call.requester = await self._doorkeeper.requester(call, even_locked=even_locked)
        if call.requester.is_guest and route.access not in _FOR_GUESTS:
            raise GuestAccessForbidden("Guests cannot do that; get an account for it")
        if route.access is Access.ADMIN and not call.requester.is_admin:
            raise Forbidden("Only an administrator of this server can do that")

    def _body(self, route: Route, request: Request) -> Any:
        content = request.body()
        if not content and route.body is None:
            return {}
        try:
            body = orjson.loads(content or b"{}")
        except orjson.JSONDecodeError as error:
            raise NotJson(f"The body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise BadJson("The body must be a JSON object")
        if content.count(b"{") + content.count(b"[") > MAX_DEPTH:
            check_depth(body)
        if route.body is not None:
            self._schemas.check(route.body, body)
        return body


def _refusal(error: MatrixError) -> Answer:
    answer = Answer(error.body(), status=error.status)
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _header(request: Request, name: str) -> str | None:
    """One header of the request; what is not text is no reason to fail."""
    value = request.headers.get(name.encode())
    return None if value is None else value.decode("utf-8", "replace")


def _address(request: Request) -> str:
    """The client's address. A proxy is believed only when it runs on this machine."""
    host = request.host
    if host in (None, "127.0.0.1", "::1"):
        forwarded = _header(request, "x-forwarded-for")
        if forwarded:
            return forwarded.split(",")[-1].strip()[:64]
    return host or "local"


def _encoded(answer: Answer) -> Answer:
    """The answer with its JSON written out."""
    if not isinstance(answer.body, bytes | AsyncIterator):
        answer.body = orjson.dumps(answer.body)
    return answer


async def _write(request: Request, answer: Answer, request_id: str) -> None:
    text = f"Content-Type: {_line(answer.content_type)}\r\nX-Request-Id: {request_id}\r\n"
    for name, value in answer.headers.items():
        text += f"{name}: {_line(value)}\r\n"
    lines = text.encode()
    if isinstance(answer.body, bytes):
        request.answer(answer.status, lines, answer.body)
    else:
        assert isinstance(answer.body, AsyncIterator)
        await request.answer_in_parts(answer.status, lines, answer.body)


def _line(value: str) -> str:
    """A value cannot begin a header of its own."""
    return " ".join(value.splitlines())
