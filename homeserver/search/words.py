"""Words: how a text becomes what can be found, and a search term what finds it.

A neighbourhood mixes languages, so no rules of any one of them are used: no stems, no stop words.
Case and accents are folded. A word of the search also finds the words that begin with it, which
covers most endings. Scripts without spaces are cut into pairs of characters that overlap.
"""

import re
from collections.abc import Iterable, Iterator
from unicodedata import combining, normalize

from attrs import frozen

MAX_WORD = 64
"""Characters; of a longer word only the beginning counts."""
MAX_TERMS = 32
"""What a search has beyond these is left out: it finds no less."""
MAX_HIGHLIGHTS = 100
LEAST_PREFIX = 3
"""Bytes of UTF-8; shorter words find only themselves: too much begins with them."""

# Characters of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Kana, Han.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf" + (
    r"\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Letters and digits, and the vowel signs of Indic scripts, which are neither in Python's terms.
_LETTER = rf"(?:(?![{_UNSPACED}])[^\W_]|[\u0900-\u0963\u0966-\u0dff])"
_WORD = re.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|{_LETTER}+")
_SMALLEST_ACCENT = 10
"""Below it are the combining classes of marks that make another letter: nukta, virama, dakuten."""


@frozen
class Term:
    """One word that has to be there, or one with this beginning."""

    word: str
    is_prefix: bool

    def finds(self, word: str) -> bool:
        """Whether this is the word."""
        return word.startswith(self.word) if self.is_prefix else word == self.word


def fold(text: str) -> str:
    """``text`` without case, accents and other differences of form."""
    if text.isascii():
        return text.lower()
    apart = normalize("NFKD", normalize("NFKD", text).casefold())
    return normalize("NFC", "".join(c for c in apart if combining(c) < _SMALLEST_ACCENT))


def words_of(text: str) -> list[str]:
    """The different words of a text, folded, in order of appearance."""
    return list(dict.fromkeys(_words(fold(text))))


def terms_of(search_term: str) -> list[Term]:
    """What a text must have, all of it, to be found. Nothing for a term without any word."""
    return list(dict.fromkeys(_terms(fold(search_term))))[:MAX_TERMS]


def highlights(texts: Iterable[str], search_term: str) -> list[str]:
    """The words that a client should mark: those of the term, and what they have found."""
    folded_term = fold(search_term)
    terms = list(_terms(folded_term))
    found = dict.fromkeys(match.group() for match in _WORD.finditer(folded_term))
    for text in texts:
        for match in _WORD.finditer(text):
            word = match.group()
            if match["unspaced"] is None and any(term.finds(fold(word)) for term in terms):
                found[word.lower()] = None
    return list(found)[:MAX_HIGHLIGHTS]


def _words(folded: str) -> Iterator[str]:
    for match in _WORD.finditer(folded):
        word = match.group()
        if match["unspaced"] is None:
            yield word[:MAX_WORD]
        else:
            for place in range(len(word)):
                yield word[place : place + 2]


def _terms(folded: str) -> Iterator[Term]:
    for match in _WORD.finditer(folded):
        word = match.group()
        if match["unspaced"] is None:
            yield Term(word[:MAX_WORD], len(word.encode()) >= LEAST_PREFIX)
        elif len(word) == 1:
            yield Term(word, True)
        else:
            for place in range(len(word) - 1):
                yield Term(word[place : place + 2], False)
