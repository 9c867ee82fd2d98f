"""Identifiers as typed values (appendices, "Identifier Grammar").

A parse function is the only way from outside text to a typed id; inside, nobody checks again.
It takes whatever a body or a path held, also something that is no string, and refuses with
InvalidParam. Lengths are counted in UTF-8 bytes, as the specification does.
"""

import re
from typing import NewType

from schema.errors import InvalidParam, InvalidUsername

UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
RoomAlias = NewType("RoomAlias", str)
DeviceId = NewType("DeviceId", str)
MxcUri = NewType("MxcUri", str)

LONGEST_ID = 255
LONGEST_DEVICE_ID = 512  # the specification sets no limit; nobody was seen to need more

_SERVER = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::[0-9]{1,5})?"
_OPAQUE = r"[^:\x00\ud800-\udfff]"  # any code point but ":", NUL and surrogates

_server_name = re.compile(_SERVER).fullmatch
_user_id = re.compile(rf"@{_OPAQUE}*:{_SERVER}").fullmatch
_room_id = re.compile(rf"!(?:{_OPAQUE}+:{_SERVER}|[0-9A-Za-z_-]{{43}})").fullmatch
_room_alias = re.compile(rf"#{_OPAQUE}+:{_SERVER}").fullmatch
_event_id = re.compile(r"\$[^\x00\ud800-\udfff]+").fullmatch
_device_id = re.compile(r"[^\x00\ud800-\udfff]+").fullmatch
_mxc_uri = re.compile(rf"mxc://{_SERVER}/[0-9A-Za-z_-]{{1,255}}").fullmatch
_new_localpart = re.compile(r"[0-9a-z._=/+-]+").fullmatch


def user_id(text: object) -> UserId:
    """Read a user id such as ``@alice:example.org``.

    Historical ids pass (any code point but ``:`` and NUL, also none at all), since old rooms
    and imports hold them; ``check_new_localpart`` is the strict rule for new accounts.
    """
    if not isinstance(text, str) or not _user_id(text) or not _fits(text, LONGEST_ID):
        raise InvalidParam("That is not a user id: it must look like @name:server")
    return UserId(text)


def room_id(text: object) -> RoomId:
    """Read a room id: ``!opaque:server``, or ``!hash`` as room version 12 makes it."""
    if not isinstance(text, str) or not _room_id(text) or not _fits(text, LONGEST_ID):
        raise InvalidParam(
            "That is not a room id: it must look like !id:server, or be ! and a hash"
        )
    return RoomId(text)


def room_alias(text: object) -> RoomAlias:
    """Read a room alias such as ``#garden:example.org``."""
    if not isinstance(text, str) or not _room_alias(text) or not _fits(text, LONGEST_ID):
        raise InvalidParam("That is not a room alias: it must look like #name:server")
    return RoomAlias(text)


def event_id(text: object) -> EventId:
    """Read an event id of any room version; beyond the ``$`` it is opaque."""
    if not isinstance(text, str) or not _event_id(text) or not _fits(text, LONGEST_ID):
        raise InvalidParam("That is not an event id: it must begin with $")
    return EventId(text)


def device_id(text: object) -> DeviceId:
    """Read a device id: opaque, not empty, without NUL."""
    if not isinstance(text, str) or not _device_id(text) or not _fits(text, LONGEST_DEVICE_ID):
        raise InvalidParam(
            f"That is not a device id: it must be 1 to {LONGEST_DEVICE_ID} bytes, without U+0000"
        )
    return DeviceId(text)


def mxc_uri(text: object) -> MxcUri:
    """Read a content URI such as ``mxc://example.org/abc`` (client-server API, Matrix Content)."""
    if not isinstance(text, str) or not _mxc_uri(text):
        raise InvalidParam("That is not a content URI: it must look like mxc://server/media-id")
    return MxcUri(text)


def server_name(text: object) -> str:
    """Read a server name: a host name or address, perhaps with a port."""
    if not isinstance(text, str) or not _server_name(text) or not _fits(text, LONGEST_ID):
        raise InvalidParam("That is not a server name")
    return text


def check_new_localpart(text: str) -> None:
    """Refuse a name that no new account may have (appendices, "User Identifiers").

    Lower-casing what a person typed is the caller's part; upper case is refused here.

    Raises:
        InvalidUsername: it is empty or has characters outside ``a-z 0-9 . _ = - / +``.
    """
    if not _new_localpart(text):
        raise InvalidUsername("A user name consists of the characters a-z 0-9 . _ = - / + only")


def localpart(identifier: UserId | RoomAlias) -> str:
    """The part between the sigil and the first colon."""
    return identifier[1 : identifier.index(":")]


def domain(identifier: UserId | RoomId | RoomAlias) -> str:
    """The server name in an id; empty for a room id that has none (room version 12)."""
    return identifier.partition(":")[2]


def _fits(text: str, longest: int) -> bool:
    return len(text) <= longest and (text.isascii() or len(text.encode()) <= longest)
