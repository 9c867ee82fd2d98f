"""Sentences about what is wrong with a body: one wording for every engine that checks one.

A place is written the way one would reach it in JSON: ``invite[2]``, ``messages["@a:b"].body``.
"""

import re
from collections.abc import Iterable
from typing import Any

from schema.errors import BadJson, MissingParam

Place = tuple[str | int, ...]

_LONGEST_NAME = 60
_plain = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_EXPECTED = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
}


NUL = "must not hold the character U+0000"


def missing(place: Place, key: str) -> MissingParam:
    return MissingParam(f"`{_words((*place, key))}` is missing")


def wrong_type(place: Place, expected: str | list[str], value: Any) -> BadJson:
    names = [expected] if isinstance(expected, str) else [x for x in expected if x != "null"]
    wanted = " or ".join(_EXPECTED[name] for name in names)
    found = _kind(value)
    if names == ["integer"] and isinstance(value, float):
        found = "a number with a fraction or beyond 64 bits"
    return BadJson(f"{_subject(place)} must be {wanted}, not {found}")


def wrong_value(place: Place, words: str) -> BadJson:
    return BadJson(f"{_subject(place)} {words}")


def wrong_key(place: Place, key: str, words: str) -> BadJson:
    """A key of the object at ``place`` is not allowed there."""
    return BadJson(f"{_subject(place)} has the key {_quoted(key)}, which {words}")


def too_long(limit: int) -> str:
    return f"is too long: at most {limit} characters"


def too_many(limit: int) -> str:
    return f"has too many entries: at most {limit}"


def too_few(limit: int) -> str:
    return f"has too few entries: at least {limit}"


def too_small(limit: int) -> str:
    return f"must be {limit} or more"


def too_large(limit: int) -> str:
    return f"must be {limit} or less"


def not_one_of(choices: Iterable[str | None]) -> str:
    return "must be one of " + ", ".join(f'"{choice}"' for choice in choices if choice is not None)


def _subject(place: Place) -> str:
    return f"`{_words(place)}`" if place else "The body"


def _words(place: Place) -> str:
    first, *rest = place
    text = first if isinstance(first, str) and len(first) <= _LONGEST_NAME else _bracketed(first)
    for step in rest:
        text += f".{step}" if isinstance(step, str) and _plain(step) else _bracketed(step)
    return text


def _bracketed(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else f"[{_quoted(step)}]"


def _quoted(name: str) -> str:
    shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
    return f'"{shown}"'


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
