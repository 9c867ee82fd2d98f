"""A small keep-alive HTTP/1.1 client: one Connection is one TCP connection, one request in flight.

Time stamps are taken right before the bytes are written and when the read that completes the
response comes in, before any JSON is looked at.
"""

import asyncio
import ssl
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson
from attrs import frozen

CONNECTS_AT_ONCE = 32


class Lost(ConnectionError):
    """The connection ended, or nothing came in time, before the response was complete."""


class Late(Lost):
    """No complete response in time."""


@frozen
class Response:
    """An answer, and when its request went out and its last byte came in."""

    status: int
    body: bytes
    sent_at: float
    came_at: float

    @property
    def ms(self) -> float:
        return (self.came_at - self.sent_at) * 1000.0

    def json(self) -> Any:
        return orjson.loads(self.body)


class Origin:
    """Where to connect to; shared by connections, so that they do not all connect at once."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if self._tls else 80)
        self._gate = asyncio.Semaphore(CONNECTS_AT_ONCE)
        self.host_header = parts.netloc.encode()
        self.prefix = parts.path.rstrip("/").encode()

    async def connect(self, protocol: "Connection") -> None:
        """Open a TCP (or TLS) connection for ``protocol``."""
        loop = asyncio.get_running_loop()
        async with self._gate:
            await asyncio.wait_for(
                loop.create_connection(lambda: protocol, self._host, self._port, ssl=self._tls), 30
            )


class Connection(asyncio.Protocol):
    """One keep-alive connection; opened when it is first used, and again when it was closed."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._transport: Any = None
        self._waiting: asyncio.Future[Response] | None = None
        self._sent_at = self._read_at = 0.0
        self._headed = False
        self._chunks: list[bytes] = []

    async def request(
        self,
        method: bytes,
        target: bytes,
        body: bytes | None = None,
        auth: bytes = b"",
        content_type: bytes = b"application/json",
        timeout: float = 120.0,
    ) -> Response:
        """One request; ``target`` is path and query, encoded; ``auth`` a whole header line.

        A kept-alive connection that the server closed meanwhile is opened again, once.

        Raises:
            Lost: there was no complete answer.
        """
        origin = self._origin
        head = b"%b %b%b HTTP/1.1\r\nHost: %b\r\nAccept: */*\r\n%b" % (
            method,
            origin.prefix,
            target,
            origin.host_header,
            auth,
        )
        if body is None:
            message = head + b"\r\n"
        else:
            head += b"Content-Type: %b\r\nContent-Length: %d\r\n" % (content_type, len(body))
            message = head + b"\r\n" + body
        was_open = self._transport is not None
        try:
            return await self._exchange(message, timeout)
        except Late:
            raise
        except Lost:
            if not was_open or self._headed:
                raise
        return await self._exchange(message, timeout)

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _exchange(self, message: bytes, timeout: float) -> Response:
        if self._transport is None:
            await self._origin.connect(self)
        if self._waiting is not None:
            raise RuntimeError("One request at a time per connection")
        loop = asyncio.get_running_loop()
        waiting = self._waiting = loop.create_future()
        self._headed = False
        timer = loop.call_later(timeout, self._too_late)
        self._sent_at = perf_counter()
        self._transport.write(message)
        try:
            return await waiting
        except asyncio.CancelledError:
            self._waiting = None
            self.close()
            raise
        finally:
            timer.cancel()

    def _fail(self, error: Lost) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def _too_late(self) -> None:
        self._fail(Late("No answer in time"))
        self.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._read_at = perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(Lost(f"Bad response: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            if self._headed and not self._parser.should_keep_alive():
                self.on_message_complete()  # a body that ends with the connection
            else:
                self._fail(Lost(str(exc or "Closed by the server")))

    # httptools calls these

    def on_message_begin(self) -> None:
        self._chunks = []

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():
            return
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        status = self._parser.get_status_code()
        waiting.set_result(Response(status, body, self._sent_at, self._read_at))
        if not self._parser.should_keep_alive():
            self.close()


class Heedful(Connection):
    """A connection that knows when it is to come again."""

    retry_after = 0
    """The seconds that the last answer asked for; 0 if it asked for none."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.retry_after = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self.retry_after = int(value)
