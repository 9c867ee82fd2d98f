"""The HTTP server: reads requests within bounds, calls the route's handler, writes the answer."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from io import BytesIO
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any, Protocol

import orjson
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from homeserver.limits import Limits
from homeserver.metrics import Metrics, Operation, current_operation
from rest.routing import JSON_LIMIT, Access, Answer, Call, Query, Route, Router
from schema.body import Schemas
from schema.canonical import MAX_DEPTH, check_depth
from schema.errors import BadJson, BadRequest, Forbidden, MatrixError, NotJson, TooLarge

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization, Date",
    "Access-Control-Max-Age": "86400",
}
MEMORY_BODY = 256 * 1024


class Doorkeeper(Protocol):
    """Turns the credentials of a request into its requester: ``rest.access``."""

    async def requester(self, call: Call, *, even_locked: bool = False) -> Any:
        """Who asks; refuses unknown and missing tokens."""

    def service(self, call: Call) -> Any:
        """The application service that asks, or None."""


class BoundedRequest(Request):
    """A request whose body is measured while it arrives, not after."""

    _limit = JSON_LIMIT
    _received = 0
    refused = False

    def gotLength(self, length: int | None) -> None:
        """Called when the headers are there and the body is not."""
        channel: Any = self.channel
        self._limit = channel.site.body_limit(channel._command, channel._path)
        if length is not None and length > self._limit:
            self._refuse()
        elif length is not None and length <= MEMORY_BODY:
            self.content = BytesIO()
        else:
            self.content = TemporaryFile()

    def handleContentChunk(self, data: bytes) -> None:
        """One part of the body."""
        self._received += len(data)
        if self._received > self._limit:
            self._refuse()
        if not self.refused:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        """Answer at once and hang up: nobody is going to read the rest."""
        if self.refused:
            return
        self.refused = True
        self.content = BytesIO()
        error = TooLarge(f"The body is larger than the {self._limit} bytes allowed here")
        _hang_up(self.channel, error)


class Channel(HTTPChannel):
    """A connection. Also what is not HTTP, or too long for it, is refused in Matrix's words."""

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line of the head is longer than any that a client needs."""
        error = TooLarge(f"The head of a request has at most {self.totalHeadersSize} bytes")
        _hang_up(self, error)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """twisted.web calls this for everything that it cannot read."""
        _hang_up(self, BadRequest("This is not a request that HTTP allows"))


def _hang_up(channel: Any, error: MatrixError) -> None:
    """Refuse without reading on."""
    body = orjson.dumps(error.body())
    reason = RESPONSES.get(error.status, b"Refused")
    head = [b"HTTP/1.1 %d %s" % (error.status, reason), b"Content-Type: application/json"]
    head += [f"{name}: {value}".encode() for name, value in CORS.items()]
    head += [b"Connection: close", b"Content-Length: %d" % len(body), b"", body]
    channel.transport.write(b"\r\n".join(head))
    channel.loseConnection()


class HearthSite(Site):
    """A twisted.web site that knows the bounds of each route."""

    protocol = Channel  # type: ignore[assignment]
    requestFactory = BoundedRequest
    displayTracebacks = False
    noisy = False

    def __init__(self, resource: IResource, router: Router, reactor: IReactorTime) -> None:
        super().__init__(
            resource,
            requestFactory=BoundedRequest,
            parsePOSTFormSubmission=False,  # a body is for the route, whatever it calls itself
            timeout=75,
            reactor=reactor,
        )
        self._router = router

    def body_limit(self, command: bytes, uri: bytes) -> int:
        """How many bytes the body of a request may have."""
        try:
            route, _ = self._router.find(command.decode(), uri.partition(b"?")[0].decode())
        except (MatrixError, UnicodeDecodeError):
            return JSON_LIMIT
        return route.max_body

    def log(self, request: object) -> None:
        """The access log is the metrics; paths may hold secrets."""


class Api(Resource):
    """The one resource: everything goes through the router."""

    isLeaf = True
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
        super().__init__()
        self._router = router
        self._doorkeeper = doorkeeper
        self._schemas = schemas
        self._limits = limits
        self._metrics = metrics
        self._request_ids = request_ids

    def render(self, request: BoundedRequest) -> int:
        """twisted.web calls this once the whole request has arrived."""
        if not request.refused:
            serving = Deferred.fromCoroutine(self._serve(request))
            finished = request.notifyFinish()
            finished.addErrback(self._left, request, serving)
            serving.addErrback(self._broke_off)
        return NOT_DONE_YET

    def _left(self, _: Failure, request: Request, serving: "Deferred[None]") -> None:
        """The client hung up. Only reading stops then: what has begun to write ends."""
        if request.method == b"GET":
            serving.cancel()

    def _broke_off(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("An answer broke off", failure=failure)

    async def _serve(self, request: BoundedRequest) -> None:
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

    async def _answer(self, request: BoundedRequest, operation: Operation) -> Answer:
        method = request.method.decode("latin-1")
        if method == "OPTIONS":
            operation.name = "OPTIONS"
            return Answer()
        path, _, query = request.uri.partition(b"?")
        # HEAD is GET whose body twisted.web leaves out (RFC 9110, section 9.3.2).
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
            call.content = request.content
        elif asked != "GET":
            call.body = self._body(route, request)
        result = await route.handler(call)
        if operation.waited_seconds:
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
        if route.access is Access.ADMIN and not call.requester.is_admin:
            raise Forbidden("Only an administrator of this server can do that")

    def _body(self, route: Route, request: Request) -> Any:
        assert request.content is not None
        content = request.content.read()
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
    if "retry_after_ms" in error.fields:
        answer.headers["Retry-After"] = str(-(-error.fields["retry_after_ms"] // 1000))
    return answer


def _header(request: Request, name: str) -> str | None:
    """One header of the request; what is not text is no reason to fail."""
    values = request.requestHeaders.getRawHeaders(name.encode())
    return None if values is None else values[-1].decode("utf-8", "replace")


def _address(request: Request) -> str:
    """The client's address. A proxy is believed only when it runs on this machine."""
    host = getattr(request.getClientAddress(), "host", None)
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
    if request._disconnected:
        return
    request.setResponseCode(answer.status)
    headers = request.responseHeaders
    headers.setRawHeaders(b"content-type", [answer.content_type.encode()])
    headers.setRawHeaders(b"x-request-id", [request_id.encode()])
    for name, value in CORS.items():
        headers.setRawHeaders(name, [value])
    for name, value in answer.headers.items():
        headers.setRawHeaders(name, [value])
    if isinstance(answer.body, AsyncIterator):
        await _write_parts(request, answer.body)
        return
    assert isinstance(answer.body, bytes)
    headers.setRawHeaders(b"content-length", [str(len(answer.body)).encode()])
    request.write(answer.body)
    request.finish()


@implementer(IPushProducer)
class _Drain:
    """Says when the connection can take the next part."""

    def __init__(self) -> None:
        self._has_room = True
        self._waiting: Deferred[None] | None = None

    async def ready(self) -> None:
        """Return once the connection has room. Cancelled when the client is gone."""
        if not self._has_room:
            self._waiting = Deferred()
            await self._waiting

    def pauseProducing(self) -> None:
        """twisted: enough for now."""
        self._has_room = False

    def resumeProducing(self) -> None:
        """twisted: there is room again."""
        self._has_room = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """twisted: the client is gone."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()


async def _write_parts(request: Request, parts: AsyncIterator[bytes]) -> None:
    """Write a long body as fast as the client takes it, and no faster.

    A body that breaks off ends the connection: only that tells the client that it is not whole.
    """
    drain = _Drain()
    request.registerProducer(drain, True)
    whole = False
    try:
        async for part in parts:
            await drain.ready()
            request.write(part)
        whole = True
    except CancelledError:
        return
    finally:
        if not request._disconnected:
            request.unregisterProducer()
            if whole:
                request.finish()
            else:
                request.channel.loseConnection()
