"""Signed JSON: what it may hold, and its encoding.

The encoding is the Canonical JSON of the specification (appendices, "Canonical JSON"). orjson with
sorted keys writes exactly these bytes for every value that ``check_canonical`` accepts;
``tests/test_canonical.py`` holds it against the canonicaljson library, code point by code point.
"""

from math import isfinite
from typing import Any

import orjson
from canonicaljson import encode_canonical_json

from schema.errors import BadJson

MAX_INTEGER = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly; its negative is the smallest."""

MAX_DEPTH = 100
"""How deep lists and objects may nest. Widespread JSON readers give up at 128 levels, and a sync
answer wraps an event in a dozen more."""

_NESTING = (dict, list)
_SHOWN_KEY = 40


def encode(value: Any) -> bytes:
    """The canonical JSON of a value that passed ``check_canonical``."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def encode_loosely(value: Any) -> bytes:
    """The same encoding for a value that passed ``check_encodable`` only.

    The specification has no form for floats but the reference code that stands in it ("Canonical
    JSON"), so this is what that code writes: the shortest text that gives the same double back.
    """
    return encode_canonical_json(value)


def check_canonical(value: Any, name: str = "") -> None:
    """Refuse what has no canonical form: floats, large integers, lone surrogates, deep nesting.

    U+0000 inside a text is legal JSON and passes; whoever gives a text a column of its own refuses
    it there.

    Raises:
        BadJson: names the path to the first offender, starting with ``name``.
    """
    _refuse(value, name, canonical=True)


def check_encodable(value: Any, name: str = "") -> None:
    """Refuse what cannot be written and read back unchanged. Floats and large integers can.

    Raises:
        BadJson: names the path to the first offender, starting with ``name``.
    """
    _refuse(value, name, canonical=False)


def made_canonical(value: Any) -> Any:
    """A value that passed ``check_encodable``, with every number made the nearest whole number
    towards zero that canonical JSON can hold."""
    if isinstance(value, dict):
        return {key: made_canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [made_canonical(item) for item in value]
    if type(value) in (int, float):
        return max(-MAX_INTEGER, min(int(value), MAX_INTEGER))
    return value


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
            if isinstance(inner, _NESTING)
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


def _refuse(value: Any, name: str, *, canonical: bool) -> None:
    try:
        _check(value, 0, canonical)
    except _NotCanonicalError as error:
        raise BadJson(f"{_path(name, error.path)} {error.reason}") from None


def _check(value: Any, depth: int, canonical: bool) -> None:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is dict:
        _check_depth(depth)
        for key, item in value.items():
            try:
                _check_key(key)
                _check(item, depth + 1, canonical)
            except _NotCanonicalError as error:
                error.path.append(key)
                raise
    elif kind is list:
        _check_depth(depth)
        for index, item in enumerate(value):
            try:
                _check(item, depth + 1, canonical)
            except _NotCanonicalError as error:
                error.path.append(index)
                raise
    elif kind in (int, float) and not canonical:
        _check_number(value)
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


def _check_number(number: float) -> None:
    # Whole numbers beyond 64 bits are floats when they come from outside.
    if not (isfinite(number) if type(number) is float else -(2**63) <= number < 2**64):
        raise _NotCanonicalError("is a number that cannot be kept")


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
