"""Tokens: how far a client has come, on the stream and in a room."""

import re

from attrs import frozen

from schema.errors import InvalidParam

# What does not fit into 64 bits, no database can compare.
_numbers = re.compile(r"s([0-9]{1,18})_([0-9]{1,18})_([0-9]{1,18})").fullmatch


@frozen
class SyncToken:
    """What an answer of /sync covers: ``s<position>_<ephemeral>_<to_device>``."""

    position: int
    """On the stream."""
    ephemeral: int
    """In what lives in memory only: typing and presence."""
    to_device: int
    """On the stream, for to-device messages: a full answer leaves the rest for the next one."""

    def __str__(self) -> str:
        return f"s{self.position}_{self.ephemeral}_{self.to_device}"

    @classmethod
    def parse(cls, text: str) -> "SyncToken | None":
        """The token, or None if this server cannot have made it."""
        found = _numbers(text)
        return None if found is None else cls(*map(int, found.groups()))


def room_token(seq: int) -> str:
    """The place in a room after event number ``seq``: ``t<seq>``."""
    return f"t{seq}"


def parse_room_token(text: str) -> int | SyncToken:
    """The number of the event before a place in a room, or a token of /sync, which serves too.

    Raises:
        InvalidParam: this server did not make that token.
    """
    number = text[1:]
    if text.startswith("t") and number.isascii() and number.isdigit() and len(text) < 20:
        return int(number)
    token = SyncToken.parse(text)
    if token is None:
        raise InvalidParam(f"{text[:80]!r} is not a token of this server")
    return token
