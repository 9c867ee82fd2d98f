"""Signed JSON: what it may hold, and its one encoding.

The encoding is the Canonical JSON of the specification (appendices, "Canonical JSON"). orjson with
sorted keys writes exactly these bytes for every value that ``check_canonical`` accepts;
``tests/test_canonical.py`` holds it against the canonicaljson library, code point by code point.
"""

from typing import Any

import orjson

from schema.errors import BadJson

MAX_INTEGER = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly; its negative is the smallest."""

MAX_DEPTH = 100
"""How deep lists and objects may nest. Widespread JSON readers give up at 128 levels, and a sync
answer wraps an event in a dozen more."""

_SHOWN_KEY = 40


def encode(value: Any) -> bytes:
    """The canonical JSON of a value that passed ``check_canonical``."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def check_canonical(value: Any, name: str = "") -> None:
    """Refuse what has no canonical form: floats, large integers, lone surrogates, deep nesting.

    U+0000 inside a text is legal JSON and passes; whoever gives a text a column of its own refuses
    it there.

    Raises:
        BadJson: names the path to the first offender, starting with ``name``.
    """
    try:
        _check(value, 0)
    except _NotCanonicalError as error:
        raise BadJson(f"{_path(name, error.path)} {error.reason}") from None


def check_depth(value: Any) -> None:
    """Refuse what nests deeper than any event may: what is read so deep cannot be written again.

    Raises:
        BadJson: there are more than ``MAX_DEPTH`` levels.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise BadJson(f"The value is nested more than {MAX_DEPTH} levels deep")


class _NotCanonicalError(Exception):
    """A value without a canonical form; the path grows from the inside out while unwinding."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is dict:
        _check_depth(depth)
        for key, item in value.items():
            try:
                _check_key(key)
                _check(item, depth + 1)
            except _NotCanonicalError as error:
                error.path.append(key)
                raise
    elif kind is list:
        _check_depth(depth)
        for index, item in enumerate(value):
            try:
                _check(item, depth + 1)
            except _NotCanonicalError as error:
                error.path.append(index)
                raise
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise _NotCanonicalError("is outside the whole numbers from -(2^53 - 1) to 2^53 - 1")
    elif kind is float:
        # orjson reads integers beyond 64 bits as floats, so the sentence must fit both.
        raise _NotCanonicalError(
            "must be a whole number from -(2^53 - 1) to 2^53 - 1, without point or exponent"
        )
    elif kind is not bool and value is not None:
        raise _NotCanonicalError(f"is not JSON but a {kind.__name__}")


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise _NotCanonicalError(f"is nested more than {MAX_DEPTH} levels deep")


def _check_key(key: Any) -> None:
    if type(key) is not str:
        raise _NotCanonicalError("has a key that is not a text")
    if not key.isascii():
        _check_text(key)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _NotCanonicalError("holds half a character (a lone surrogate)") from None


def _path(name: str, inside_out: list[str | int]) -> str:
    path = name
    for part in reversed(inside_out[-8:]):
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            shown = str(part)[:_SHOWN_KEY].encode(errors="backslashreplace").decode()
            path += f".{shown}" if path else shown
    return (path or "The value") + (" (and deeper)" if len(inside_out) > 8 else "")
