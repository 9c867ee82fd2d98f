"""Glob-style patterns, word boundaries and property paths (appendices; "Conditions").

A pattern is cut at its ``*``; what is left are segments of fixed length, searched one after the
other, the leftmost hit first. A segment has no alternatives, so nothing ever backtracks: a plain
pattern costs time in proportion to the text, one with ``?`` at most text times pattern.
"""

import re
from collections.abc import Callable

from attrs import frozen

_FLAGS = re.ASCII | re.DOTALL
# Between two characters of a word there is no boundary; everywhere else there is one.
_BOUNDARY = r"(?:(?<!\w)|(?!\w))"
_WORD_CHARACTER = re.compile(r"\w", re.ASCII)
_ESCAPE_OR_DOT = re.compile(r"\\[.\\]|\.")


def fold(text: str) -> str:
    """``text`` without differences of case, of the same length.

    Character by character, so that ``?`` still stands for exactly one of them.
    """
    folded = text.casefold()
    return folded if len(folded) == len(text) else "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


def has_wildcard(pattern: str) -> bool:
    """Whether ``pattern`` stands for more than one text."""
    return "*" in pattern or "?" in pattern


@frozen
class Glob:
    """A compiled pattern. The caller folds the texts, once for all patterns."""

    _segments: tuple[re.Pattern[str], ...]

    def matches(self, text: str) -> bool:
        position = 0
        for segment in self._segments:
            found = segment.search(text, position)
            if found is None:
                return False
            position = found.end()
        return True


def whole(pattern: str) -> Glob:
    """A pattern that has to cover the whole text, whatever its case."""
    return _glob(pattern, lambda segment, text: rf"\A{text}", lambda segment, text: rf"{text}\Z")


def words(pattern: str) -> Glob:
    """A pattern for any part of the text that starts and ends at a word boundary."""
    return _glob(pattern, _starts_word, _ends_word)


def contains_words(text: str, literal: str) -> bool:
    """Whether ``literal``, without wildcards, stands in ``text`` between two word boundaries.

    Both are folded. For texts that are looked for only once: nothing is compiled.
    """
    position = text.find(literal) if literal else -1
    while position >= 0:
        if _is_boundary(text, position) and _is_boundary(text, position + len(literal)):
            return True
        position = text.find(literal, position + 1)
    return False


def property_path(key: str) -> tuple[str, ...]:
    r"""The property names in ``key``: ``content.m\.relates_to`` has two.

    Only ``\.`` and ``\\`` are escapes, any other backslash stands for itself.
    """
    names = [""]
    position = 0
    for found in _ESCAPE_OR_DOT.finditer(key):
        names[-1] += key[position : found.start()]
        position = found.end()
        if found[0] == ".":
            names.append("")
        else:
            names[-1] += found[0][1]
    names[-1] += key[position:]
    return tuple(names)


_Edge = Callable[[str, str], str]


def _glob(pattern: str, first: _Edge, last: _Edge) -> Glob:
    segments = fold(pattern).split("*")
    texts = [re.escape(segment).replace(r"\?", ".") for segment in segments]
    texts[0] = first(segments[0], texts[0])
    texts[-1] = last(segments[-1], texts[-1])
    return Glob(tuple(re.compile(text, _FLAGS) for text in texts))


def _starts_word(segment: str, text: str) -> str:
    if segment.startswith("?"):
        return _BOUNDARY + text
    if _WORD_CHARACTER.match(segment):
        # Looked at after the segment, not before it: an expression that begins with plain text
        # is searched in linear time.
        return rf"{text}(?<!\w.{{{len(segment)}}})"
    return text


def _ends_word(segment: str, text: str) -> str:
    if segment.endswith("?"):
        return text + _BOUNDARY
    if _WORD_CHARACTER.match(segment[-1:]):
        return rf"{text}(?!\w)"
    return text


def _is_boundary(text: str, position: int) -> bool:
    around = text[max(position - 1, 0) : position + 1]
    return len(around) < 2 or not all(map(_WORD_CHARACTER.match, around))
