"""Files as HTTP answers: headers that keep them harmless, parts of them, and answers without them.

What a media id means never changes, so its answer may be kept for ever and asked for in parts (RFC
9110, "Conditional requests" and "Range requests").
"""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from homeserver.media.media import Outgoing
from rest.routing import Answer, Call

SAFE_INLINE = frozenset(
    {
        "text/css",
        "text/plain",
        "text/csv",
        "application/json",
        "application/ld+json",
        "image/jpeg",
        "image/gif",
        "image/png",
        "image/apng",
        "image/webp",
        "image/avif",
        "video/mp4",
        "video/webm",
        "video/ogg",
        "video/quicktime",
        "audio/mp4",
        "audio/webm",
        "audio/aac",
        "audio/mpeg",
        "audio/ogg",
        "audio/wave",
        "audio/wav",
        "audio/x-wav",
        "audio/x-pn-wav",
        "audio/flac",
        "audio/x-flac",
    }
)
"""What a browser may show by itself (client-server API, "Serving inline content")."""

# The specification wants other types returned as they were claimed, as attachments. Those that can
# run script when something opens them all the same are the exception, and with them all of XML.
_ACTIVE = frozenset(
    {
        "text/html",
        "text/xml",
        "text/xsl",
        "text/javascript",
        "text/ecmascript",
        "image/svg",
        "application/xml",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/x-shockwave-flash",
        "multipart/related",
        "multipart/x-mixed-replace",
        "message/rfc822",
    }
)

HEADERS = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
        "style-src 'unsafe-inline'; object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=31536000, immutable",
    "Accept-Ranges": "bytes",
    "Access-Control-Expose-Headers": "Content-Disposition, Content-Range, ETag",
}

# One range. RFC 9110 leaves us free to answer several, and what is none, with the whole file.
_one_range = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE).fullmatch


def file_answer(call: Call, outgoing: Outgoing, file_name: str | None) -> Answer:
    """``outgoing``, or as much of it as ``call`` asks for.

    200 with everything, 206 with a range, 304 when the client has it already, 416 when the range
    lies behind the end. HEAD has the headers of 200 and reads nothing.
    """
    tag = f'"{outgoing.tag}"'
    headers = {**HEADERS, "ETag": tag}
    if _has_it(call.headers("if-none-match"), tag):
        return Answer(_nothing(), status=304, headers=headers)
    content_type, disposition = _harmless(outgoing.content_type)
    headers["Content-Disposition"] = disposition + name_parameter(file_name)
    status, start, stop = 200, 0, outgoing.size
    if call.method == "GET" and call.headers("if-range") in (None, tag):
        found = wanted_range(call.headers("range"), outgoing.size)
        if found is not None:
            status, (start, stop) = 206, found
            if start >= stop:
                return _behind_the_end(outgoing.size)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{outgoing.size}"
    headers["Content-Length"] = str(stop - start)
    body = _nothing() if call.method == "HEAD" else outgoing.read(start, stop)
    return Answer(body, status=status, content_type=content_type, headers=headers)


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Where the wanted part of ``size`` bytes begins and ends; empty when there is no such part.

    None: everything is wanted.
    """
    match = _one_range(header or "")
    if match is None:
        return None
    first, last = match.groups()
    if first:
        if last and int(last) < int(first):
            return None
        return int(first), min(size, int(last) + 1 if last else size)
    return (max(0, size - int(last)), size) if last else None


def _has_it(if_none_match: str | None, tag: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in known or tag in known


def _behind_the_end(size: int) -> Answer:
    body = {"errcode": "M_INVALID_PARAM", "error": f"The file ends after {size} bytes"}
    return Answer(body, status=416, headers={"Content-Range": f"bytes */{size}"})


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


def _harmless(claimed: str) -> tuple[str, str]:
    """The type and the disposition that keep a browser from taking a file for a page of ours."""
    essence = claimed.partition(";")[0].strip().lower()
    is_active = essence in _ACTIVE or essence.endswith("+xml")
    content_type = "application/octet-stream" if is_active else claimed
    return content_type, "inline" if essence in SAFE_INLINE else "attachment"


def name_parameter(name: str | None) -> str:
    """The file name as RFC 6266 wants it: plain text between quotes, anything else encoded."""
    if name is None:
        return ""
    if all(char.isascii() and (char.isalnum() or char in " -_.,;+()") for char in name):
        return f'; filename="{name}"'
    return f"; filename*=utf-8''{quote(name, safe='!#$&+-.^_`|~')}"
