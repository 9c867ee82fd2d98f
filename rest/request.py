"""A request of HTTP that has arrived as a whole, and the way to answer it."""

from collections.abc import AsyncIterator, Callable
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Protocol

MEMORY_BODY = 256 * 1024
_WITHOUT_BODY = (204, 304)


class Channel(Protocol):
    """Where the request came from and its answer goes: ``rest.connection``."""

    host: str | None
    is_lost: bool

    def begin(self, request: "Request", status: int, lines: bytes, body: bytes = b"") -> None:
        """Write the head of an answer, and the body or its beginning."""

    async def write(self, part: bytes) -> None:
        """Write more of the body as soon as there is room. Cancelled when the client leaves."""

    def finish(self, request: "Request") -> None:
        """The answer is complete, or will never be."""


class Request:
    """A request that has arrived as a whole, and the way to answer it."""

    __slots__ = (
        "_connection",
        "_file",
        "_parts",
        "_size",
        "expects_continue",
        "headers",
        "is_last",
        "limit",
        "method",
        "on_leaving",
        "target",
    )

    def __init__(self, connection: Channel) -> None:
        self._connection = connection
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._size = 0
        self.method = ""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        """By their names in small letters; of several of one name, the last."""
        self.limit = 0
        self.expects_continue = False
        self.is_last = False
        """Whether the connection ends with the answer."""
        self.on_leaving: Callable[[], None] | None = None
        """Called when the client hangs up before it has been answered."""

    @property
    def host(self) -> str | None:
        """The address of whoever has opened the connection; None on a Unix socket."""
        return self._connection.host

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody is there any more to be answered."""
        return self._connection.is_lost

    def add(self, data: bytes) -> bool:
        """Take a part of the body; False if it has become too large."""
        self._size += len(data)
        if self._size > self.limit:
            return False
        if self._file is None and self._size > MEMORY_BODY:
            self._file = TemporaryFile()
            self._file.writelines(self._parts)
            self._parts.clear()
        if self._file is None:
            self._parts.append(data)
        else:
            self._file.write(data)
        return True

    def body(self) -> bytes:
        """The body in one piece."""
        if self._file is None:
            return b"".join(self._parts)
        self._file.seek(0)
        return self._file.read()

    def content(self) -> IO[bytes]:
        """The body as a file at its beginning."""
        if self._file is None:
            return BytesIO(b"".join(self._parts))
        self._file.seek(0)
        return self._file

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """Answer in one piece. ``lines`` are header lines, except for the length."""
        if self._connection.is_lost:
            return
        if status not in _WITHOUT_BODY:
            lines = b"%bContent-Length: %d\r\n" % (lines, len(body))
        self._connection.begin(self, status, lines, b"" if self.method == "HEAD" else body)
        self._connection.finish(self)

    async def answer_in_parts(self, status: int, lines: bytes, parts: AsyncIterator[bytes]) -> None:
        """Answer as fast as the client takes it, and no faster. ``lines`` have the length.

        If the parts break off, so does the connection: only that tells the client.
        """
        connection = self._connection
        if connection.is_lost:
            return
        connection.begin(self, status, lines)
        is_whole = False
        try:
            if self.method != "HEAD":
                async for part in parts:
                    await connection.write(part)
            is_whole = True
        finally:
            self.is_last = self.is_last or not is_whole
            connection.finish(self)
