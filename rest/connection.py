"""HTTP/1.1 on one connection: whole requests within bounds come out, answers go in, in order.

llhttp (the package httptools) reads what the client sends; here is what it leaves to its user:
sizes, time limits, the order of answers, that nobody is read whose answers do not drain, and that
everybody has a place and a turn, but no more.
"""

import re
from collections import deque
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

import orjson
from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade
from httptools import HttpRequestParser as Parser
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IPullProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from zope.interface import implementer

from rest.outbox import Outbox
from rest.request import Request
from schema.errors import BadRequest, MatrixError, MethodNotAllowed, Overloaded, TooLarge

MAX_HEAD = 16_384
MAX_LINES = 200
PATIENCE = 75
"""Seconds for a head to become whole, for a body to go on, for another request to come."""
LONG_PATIENCE = 600
"""Seconds for a client to take what has been written."""
SWEEP_SECONDS = 5

CORS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization, Date\r\n"
    b"Access-Control-Max-Age: 86400\r\n"
)
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_LIKE_A_METHOD = re.compile(rb"[A-Za-z]+ /")


class Handler(Protocol):
    """Who answers the requests: ``rest.server``."""

    def max_body(self, method: str, target: bytes) -> int:
        """How many bytes the body of such a request may have."""

    def serve(self, request: "Request") -> None:
        """Answer the request, now or later, with one of its two methods."""


@implementer(IPullProducer)
class Connection(TwistedProtocol):
    """One client. Its requests are read ahead, but served one after the other."""

    transport: Any

    def __init__(self, site: "Site", host: str | None) -> None:
        self._site = site
        self._parser: Any = Parser(self)
        self._incoming: Request | None = None
        self._has_head = False
        self._head_size = self._head_lines = self._unread = 0
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._refusal: MatrixError | None = None
        self._is_deaf = self._is_serving = self._is_paused = False
        self._has_room = True
        self._drained: Deferred[None] | None = None
        self.host = host
        self.is_lost = False
        self.deadline: float | None = None
        """When the client will have had enough time; None while it waits for an answer."""

    # Twisted calls these.

    def connectionMade(self) -> None:
        """A client is there."""
        if self.host is not None:
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, False)
        self._set_deadline()
        if len(self._site.connections) < self._site.most:
            self._site.connections.add(self)
        else:
            self._refuse(_full_house())
            self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or has been left."""
        self.is_lost = True
        self._site.connections.discard(self)
        self._waiting.clear()
        self._incoming = self._parser = None
        current, self._current = self._current, None
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.cancel()
        if current is not None and current.on_leaving is not None:
            current.on_leaving()

    def dataReceived(self, data: bytes) -> None:
        """Some bytes, wherever they begin and end."""
        if self._is_deaf:
            return
        if self._current is None and (self._incoming is None or self._has_head):
            self._set_deadline()
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            # No other protocol is spoken here, so the answer comes in this one.
            self._is_deaf = self._waiting[-1].is_last = True
        except HttpParserError as error:
            self._cannot_read(error, data)
        if self._unread > (2 if self._incoming is None else MAX_HEAD):
            # Empty lines instead of a request, or one line that does not end.
            self._refuse(_no_http() if self._incoming is None else _large_head())
        self._go_on()

    def resumeProducing(self) -> None:
        """The client has taken what was written."""
        self._has_room = True
        self._set_deadline()
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)
        self._go_on()

    def stopProducing(self) -> None:
        """The connection has ended; ``connectionLost`` comes as well."""

    # The parser calls these.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._incoming = Request(self)
        self._has_head = False
        self._head_size = self._head_lines = self._unread = 0

    def on_url(self, piece: bytes) -> None:
        """A piece of the target."""
        assert self._incoming is not None
        self._incoming.target += piece
        self._count(len(piece))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head, or one after the body, which means nothing here."""
        assert self._incoming is not None
        self._head_lines += 1
        self._count(len(name) + len(value) + 4)
        if not self._has_head:
            self._incoming.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is whole; what may the body be?"""
        request, parser = self._incoming, self._parser
        assert request is not None
        self._unread = 0
        self._has_head = True
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(_no_http())
        request.method = parser.get_method().decode("ascii")
        request.is_last = version == "1.0" or not parser.should_keep_alive()
        length = request.headers.get(b"content-length")
        if length is not None or b"transfer-encoding" in request.headers:
            if parser.should_upgrade():
                self._stop(BadRequest("No other protocol is spoken here: leave out Upgrade"))
            request.limit = self._site.handler.max_body(request.method, request.target)
            if length is not None and int(length) > request.limit:
                self._stop(_large_body(request))
            expected = request.headers.get(b"expect", b"").lower()
            request.expects_continue = expected == b"100-continue" and version == "1.1"

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        assert self._incoming is not None
        self._unread = 0
        self._incoming.expects_continue = False
        if not self._incoming.add(data):
            self._stop(_large_body(self._incoming))

    def on_message_complete(self) -> None:
        """The request is whole."""
        assert self._incoming is not None
        self._unread = 0
        self._waiting.append(self._incoming)
        self._is_deaf = self._is_deaf or self._incoming.is_last
        self._incoming = None

    # Requests call these.

    def begin(self, request: Request, status: int, lines: bytes, body: bytes = b"") -> None:
        """Write the head of an answer, and the body or its beginning."""
        answer = b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b%b\r\n%b" % (
            status,
            _REASONS.get(status, b"Unknown"),
            self._site.date(),
            CORS,
            b"Connection: close\r\n" if request.is_last else b"",
            lines,
            body,
        )
        self._write(answer)

    async def write(self, part: bytes) -> None:
        """Write more of the body as soon as there is room. Cancelled when the client leaves."""
        if not self._has_room:
            self._drained = Deferred()
            await self._drained
        self._write(part)

    def finish(self, request: Request) -> None:
        """The answer is complete, or will never be."""
        if self._current is not request:
            return
        self._current = request.on_leaving = None
        if request.is_last:
            self._hang_up()
        else:
            self._set_deadline()
            self._go_on()

    def expire(self) -> None:
        """The client has had enough time."""
        if self._has_room:
            self._hang_up()
        else:
            self.transport.abortConnection()

    # From here on: private.

    def _write(self, data: bytes) -> None:
        self._site.outbox.send(self._send, data)

    def _send(self, data: bytes) -> None:
        """What the kernel takes goes out at once, and not only when the reactor has its turn."""
        if self.is_lost:
            return  # and the transport has no socket any more
        rest = memoryview(data)
        while rest and self._has_room:
            sent = self.transport.writeSomeData(rest)
            # Of a lost connection, which is no number, the reactor will hear as well.
            self._has_room = isinstance(sent, int) and sent > 0
            if self._has_room:
                rest = rest[sent:]
        if rest:
            self._set_deadline()
            self.transport.write(bytes(rest))

    def _go_on(self) -> None:
        """Serve whoever is next, and read on if nobody has to wait."""
        if self._is_serving or self.is_lost:
            return
        if self._current is None and self._waiting and self._has_room:
            self._is_serving = True
            self._current = request = self._waiting.popleft()
            self._set_deadline()
            self._site.handler.serve(request)
            # Of many requests that came at once, others have their turn before the next.
            self._is_serving = self._current is not request and len(self._waiting) > 0
            if self._is_serving:
                self._site.call_soon(self._next_turn)
        if self._current is None and not self._waiting:
            if self._refusal is not None:
                self._say_why_not(self._refusal)
            elif self._incoming is not None and self._incoming.expects_continue:
                self._incoming.expects_continue = False
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._read_or_not()

    def _next_turn(self) -> None:
        self._is_serving = False
        self._go_on()

    def _read_or_not(self) -> None:
        """Whoever does not take their answers, or asks far ahead, is not listened to."""
        pause = bool(self._waiting) or not self._has_room
        if pause != self._is_paused and not self.is_lost:
            self._is_paused = pause
            (self.transport.pauseProducing if pause else self.transport.resumeProducing)()

    def _set_deadline(self) -> None:
        if not self._has_room:
            self.deadline = self._site.now() + LONG_PATIENCE
        elif self._current is not None:
            self.deadline = None
        else:
            self.deadline = self._site.now() + PATIENCE

    def _count(self, size: int) -> None:
        self._unread = 0
        self._head_size += size
        if self._head_size > MAX_HEAD or self._head_lines > MAX_LINES:
            self._stop(_large_head())

    def _stop(self, error: MatrixError) -> None:
        """Refuse from within the parser."""
        self._refuse(error)
        raise _Stop

    def _cannot_read(self, error: HttpParserError, data: bytes) -> None:
        # Of several requests in one piece, it is the last that is wrong.
        is_method = isinstance(error, HttpParserInvalidMethodError) and not self._waiting
        if is_method and _LIKE_A_METHOD.match(data):
            self._refuse(MethodNotAllowed("There is no such method"))
        else:
            self._refuse(_no_http())

    def _refuse(self, error: MatrixError) -> None:
        """Nothing more is read. Those who came before get their answers first."""
        if not self._is_deaf:
            self._is_deaf = True
            self._refusal, self._incoming = error, None

    def _say_why_not(self, error: MatrixError) -> None:
        self._refusal = None
        refused = Request(self)
        refused.is_last = True
        body = orjson.dumps(error.body())
        lines = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        if error.retry_after is not None:
            lines += b"Retry-After: %d\r\n" % error.retry_after
        self.begin(refused, error.status, lines, body)
        self._hang_up()

    def _hang_up(self) -> None:
        """End the connection once everything is written."""
        self._is_deaf = True
        self._waiting.clear()
        self._site.outbox.empty()
        self.deadline = self._site.now() + LONG_PATIENCE
        self.transport.unregisterProducer()
        self.transport.loseConnection()


class _Stop(Exception):
    """The parser needs not go on."""


class Site(Factory):
    """Makes connections, and ends those whose clients take too long."""

    noisy = False

    def __init__(self, handler: Handler, reactor: Any, most: int, outbox: Outbox) -> None:
        """``most`` is the number of connections beyond which clients are told to come later."""
        self.handler = handler
        self.outbox = outbox
        self.most = most
        self.call_soon: Callable[..., Any] = partial(reactor.callLater, 0)
        self.now: Callable[[], float] = reactor.seconds
        self.connections: set[Connection] = set()
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor
        self._dated_at = 0
        self._date = b""

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """Somebody connects."""
        return Connection(self, getattr(addr, "host", None))

    def startFactory(self) -> None:
        """The first port is open."""
        self._sweeping.start(SWEEP_SECONDS, now=False)

    def stopFactory(self) -> None:
        """The last one is closed."""
        self._sweeping.stop()

    def date(self) -> bytes:
        """The time, as answers say it."""
        now = int(self.now())
        if now != self._dated_at:
            self._dated_at, self._date = now, datetimeToString()
        return self._date

    def _sweep(self) -> None:
        now = self.now()
        for connection in list(self.connections):
            if connection.deadline is not None and connection.deadline < now:
                connection.expire()


def _no_http() -> MatrixError:
    return BadRequest("This is not a request that HTTP allows")


def _full_house() -> MatrixError:
    return Overloaded("Too many clients are connected; try again in a moment", retry_after_ms=5000)


def _large_head() -> MatrixError:
    return TooLarge(f"The head of a request has at most {MAX_HEAD} bytes and {MAX_LINES} lines")


def _large_body(request: Request) -> MatrixError:
    return TooLarge(f"The body is larger than the {request.limit} bytes allowed here")
