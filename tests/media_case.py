"""What the tests of media share: a server with small limits, raw answers, and pictures."""

import socket
import struct
import zlib
from collections.abc import Mapping
from email.message import Message
from io import BytesIO
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import orjson
import treq
from PIL import Image
from twisted.internet.threads import deferToThread
from twisted.web.http_headers import Headers

from homeserver.clock import random_token
from homeserver.media.files import MediaFiles
from tests.support import WireTest

MAX_UPLOAD = 1_000_000
MAX_PIXELS = 2_000_000
V1, V3 = "/_matrix/client/v1/media", "/_matrix/media/v3"


class Answered:
    """What came back."""

    def __init__(self, code: int, headers: Headers, length: int | str, body: bytes) -> None:
        self.code = code
        self.headers = headers
        self.length = length
        self.body = body

    def header(self, name: str) -> str:
        return ", ".join(self.headers.getRawHeaders(name, []))

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def picture(self) -> Image.Image:
        return Image.open(BytesIO(self.body))

    @property
    def refusal(self) -> tuple[int, str]:
        return self.code, self.json["errcode"]


class MediaTest(WireTest):
    """Tests against a server whose files can be looked at."""

    media: Mapping[str, Any] = {}
    """Settings under ``media`` that differ from the usual ones here."""
    settings: Mapping[str, Any] = {}
    """The others."""

    async def setUp(self) -> None:
        media = {"max_upload_bytes": MAX_UPLOAD, "max_image_pixels": MAX_PIXELS, **self.media}
        self.hearth = await self.server(media=media, **self.settings)
        self.store = self.hearth.app.storage.store
        self.thumbnails = self.hearth.app.repository.thumbnails
        self.folder = self.hearth.app.config.data / "media"
        self.files = MediaFiles(self.folder, deferToThread, random_token)
        self.people = people = await self.hearth.people("alice", "bob")
        self.tokens = {"alice": people[0].token, "bob": people[1].token}
        self.ids = {"alice": people[0].id, "bob": people[1].id}

    async def call(
        self,
        method: str,
        path: str,
        who: str | None = "alice",
        data: bytes | None = None,
        content_type: str | None = None,
        **more: str,
    ) -> Answered:
        """One request with everything that came back; ``more`` are headers, with _ for -."""
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if who:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        if content_type:
            headers["Content-Type"] = content_type
        response = await treq.request(
            method, self.hearth.base + path, headers=headers, data=data, persistent=False
        )
        body = await response.content()
        return Answered(response.code, response.headers, response.length, body)

    def connect(self, request: str, who: str) -> socket.socket:
        """A connection on which somebody has sent the beginning of a request. Blocks."""
        url = urlsplit(self.hearth.base)
        connection = socket.create_connection((url.hostname, url.port))
        head = f"{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.tokens[who]}"
        connection.sendall(head.encode() + b"\r\n")
        return connection

    async def upload(self, data: bytes, content_type: str | None = None, name: str = "") -> str:
        """Alice uploads; the server name and media id."""
        path = f"{V3}/upload" + (f"?filename={quote(name)}" if name else "")
        answer = await self.call("POST", path, "alice", data, content_type)
        self.assertEqual(answer.code, 200, answer.body)
        return answer.json["content_uri"].removeprefix("mxc://")

    async def download(self, item: str, rest: str = "", **headers: str) -> Answered:
        """Bob downloads."""
        return await self.call("GET", f"{V1}/download/{item}{rest}", "bob", **headers)

    async def thumbnail(
        self, item: str, width: object, height: object, method: str = "scale"
    ) -> Answered:
        """Bob asks for a thumbnail."""
        query = f"?width={width}&height={height}&method={method}"
        return await self.call("GET", f"{V1}/thumbnail/{item}{query}", "bob")

    def on_disk(self) -> list[str]:
        """Every file of the repository."""
        files = (file for file in self.folder.rglob("*") if file.is_file())
        return [str(file.relative_to(self.folder)) for file in files]


def picture(width: int = 200, height: int = 200, kind: str = "PNG") -> bytes:
    """A picture with something on it."""
    return encoded(Image.linear_gradient("L").resize((width, height)).convert("RGB"), kind)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, pixels: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG that claims a size, one bit per pixel, whatever it really holds."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def name_in(answer: Answered) -> str:
    name = parsed_name(answer.header("Content-Disposition"))
    assert name is not None
    return name


def parsed_name(disposition: str) -> str | None:
    """The file name as somebody else's parser reads it."""
    if "filename*" in disposition:
        return unquote(disposition.partition("''")[2])
    message = Message()
    message["Content-Disposition"] = disposition
    return message.get_filename()
