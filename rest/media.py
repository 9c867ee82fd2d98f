"""The content repository over HTTP (client-server API, "Content repository").

Everything is served with authentication only: the old unauthenticated paths are frozen, and all
media of this server were uploaded after the freeze.
"""

from typing import Any

from homeserver.media.media import Incoming, Media
from homeserver.media.names import clean_file_name
from rest.file_answers import file_answer
from rest.routing import Access, Answer, Call, Route
from schema.errors import InvalidParam, NotFound

DEFAULT_WAIT = 20_000


class MediaApi:
    """Uploads, downloads, thumbnails."""

    def __init__(self, media: Media, max_upload_bytes: int) -> None:
        self._media = media
        self._max_upload_bytes = max_upload_bytes

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        old, new, item = "/_matrix/media/v3", "/_matrix/client/v1/media", "{server_name}/{media_id}"
        upload: dict[str, Any] = {
            "limit": "media",
            "max_body": self._max_upload_bytes,
            "upload": True,
        }
        return [
            Route("POST", f"{old}/upload", self.upload, **upload),
            Route("PUT", f"{old}/upload/{item}", self.upload_announced, **upload),
            Route("POST", "/_matrix/media/v1/create", self.create, limit="media"),
            Route("GET", f"{new}/download/{item}", self.download, Access.GUEST),
            Route("GET", f"{new}/download/{item}/{{file_name}}", self.download, Access.GUEST),
            Route("GET", f"{new}/thumbnail/{item}", self.thumbnail, Access.GUEST),
            Route("GET", f"{new}/config", self.config),
            Route("GET", f"{old}/download/{item}", self.frozen, Access.PUBLIC),
            Route("GET", f"{old}/download/{item}/{{file_name}}", self.frozen, Access.PUBLIC),
            Route("GET", f"{old}/thumbnail/{item}", self.frozen, Access.PUBLIC),
            Route("GET", f"{old}/config", self.config),
        ]

    async def upload(self, call: Call) -> dict[str, Any]:
        """Store a file under a new content URI."""
        uri = await self._media.upload(call.requester.user_id, _incoming(call))
        return {"content_uri": uri}

    async def upload_announced(self, call: Call) -> dict[str, Any]:
        """Store a file under a content URI that was created before."""
        await self._media.fill(
            call.requester.user_id,
            call.path["server_name"],
            call.path["media_id"],
            _incoming(call),
        )
        return {}

    async def create(self, call: Call) -> dict[str, Any]:
        """A content URI whose content comes later."""
        uri, expires_at = await self._media.announce(call.requester.user_id)
        return {"content_uri": uri, "unused_expires_at": expires_at}

    async def download(self, call: Call) -> Answer:
        """A file as it was uploaded; the path may give it another name."""
        outgoing = await self._media.download(
            call.path["server_name"], call.path["media_id"], _patience(call)
        )
        name = clean_file_name(call.path.get("file_name")) or outgoing.file_name
        return file_answer(call, outgoing, name)

    async def thumbnail(self, call: Call) -> Answer:
        """A picture in a handier size."""
        outgoing = await self._media.thumbnail(
            call.path["server_name"],
            call.path["media_id"],
            _pixels(call, "width"),
            _pixels(call, "height"),
            call.query.choice("method", ("scale", "crop"), "scale"),
            call.query.flag("animated"),
            _patience(call),
        )
        return file_answer(call, outgoing, outgoing.file_name)

    async def config(self, call: Call) -> dict[str, Any]:
        """How large an upload may be."""
        return {"m.upload.size": self._max_upload_bytes}

    async def frozen(self, call: Call) -> Answer:
        """The deprecated paths without authentication: nothing is there."""
        raise NotFound(
            "Media of this server can be read with an access token only, at "
            "/_matrix/client/v1/media"
        )


def _incoming(call: Call) -> Incoming:
    assert call.content is not None  # the routes are uploads
    return Incoming(call.content, call.headers("content-type"), call.query.text("filename"))


def _patience(call: Call) -> int:
    return call.query.integer("timeout_ms", DEFAULT_WAIT)


def _pixels(call: Call, name: str) -> int:
    call.query.needed(name)
    pixels = call.query.integer(name, 0)
    if pixels < 1:
        raise InvalidParam(f"The query parameter `{name}` must be at least 1")
    return pixels
