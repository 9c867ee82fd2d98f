"""Words of a search: whatever the language, a text is found by its own words."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from homeserver.rooms.stretches import EVER
from homeserver.rooms.visibility import Sight
from homeserver.search.page import around
from homeserver.search.words import MAX_TERMS, MAX_WORD, fold, highlights, terms_of, words_of

# Letters of many scripts, signs, and what the query languages of the databases are made of.
LETTERS = st.characters(exclude_categories=["Cs"])
SCRIPTS = st.sampled_from("aZéßİÆжЁωΣアかが花园한국हिन्दीไทยسلامשָׁل0½_'\"*:&|!()\\\0 -")
TEXTS = st.text(st.one_of(SCRIPTS, LETTERS), max_size=60)
SYNTAX = re.compile(r"[\x00-/:-@\[-`{-\x7f\s]")


class WordsTest(SynchronousTestCase):
    """``homeserver.search.words``."""

    @settings(deadline=None, max_examples=300)
    @given(TEXTS)
    def test_a_text_is_found_by_all_its_words(self, text: str) -> None:
        words = words_of(text)
        for term in terms_of(text):
            self.assertTrue(any(term.finds(word) for word in words), (term, words))

    @settings(deadline=None, max_examples=300)
    @given(TEXTS, TEXTS)
    def test_and_by_each_part_that_stands_alone(self, before: str, text: str) -> None:
        words = words_of(f"{before} {text}")
        for term in terms_of(text):
            self.assertTrue(any(term.finds(word) for word in words), (term, words))

    @settings(deadline=None, max_examples=300)
    @given(TEXTS)
    def test_nothing_of_a_word_means_anything_to_a_database(self, text: str) -> None:
        for word in [*words_of(text), *(term.word for term in terms_of(text))]:
            self.assertIsNone(SYNTAX.search(word), word)
            self.assertTrue(0 < len(word) <= MAX_WORD)
            word.encode()

    @settings(deadline=None, max_examples=300)
    @given(TEXTS)
    def test_folding_is_done_once(self, text: str) -> None:
        self.assertEqual(fold(fold(text)), fold(text))

    @settings(deadline=None, max_examples=300)
    @given(TEXTS)
    def test_highlights_stand_in_the_text_or_the_term(self, text: str) -> None:
        for word in highlights([text], text):
            self.assertTrue(word in text.lower() or word in fold(text), word)

    def test_languages(self) -> None:
        for text, words in (
            ("Hello, World's foo_bar!", ["hello", "world", "s", "foo", "bar"]),
            ("Größe ﬁn İstanbul ½", ["grosse", "fin", "istanbul", "1", "2"]),
            ("Ёлка", ["елка"]),
            ("花园在这", ["花园", "园在", "在这", "这"]),
            ("한국어", ["한국어"]),
            ("हिन्दी में", ["हिन्दी", "में"]),
            ("العَرَبِيَّة", ["العربية"]),
            ("party花园party", ["party", "花园", "园"]),
        ):
            self.assertEqual(words_of(text), words)
        for text, prefixes in (
            ("ab abc", [False, True]),
            ("да и", [True, False]),
            ("한", [True]),
            ("花", [True]),
            ("花园", [False]),
        ):
            self.assertEqual([term.is_prefix for term in terms_of(text)], prefixes, text)

    def test_many_words_and_long_ones(self) -> None:
        self.assertEqual(len(terms_of(" ".join(map(str, range(1000))))), MAX_TERMS)
        long = "x" * 10_000
        self.assertEqual(words_of(long), ["x" * MAX_WORD])
        self.assertTrue(terms_of(long)[0].finds(words_of(long)[0]))
        self.assertEqual(terms_of("?! _ 🎉"), [])


class AroundTest(SynchronousTestCase):
    """What surrounds an event, as far as it may be seen."""

    @settings(deadline=None)
    @given(st.sets(st.integers(1, 40)), st.integers(1, 40), st.integers(0, 12), st.integers(0, 12))
    def test_the_nearest_on_either_side(
        self, seen: set[int], seq: int, before: int, after: int
    ) -> None:
        sight = Sight(tuple((number, number) for number in sorted(seen)), ())
        older = sorted(number for number in seen if number < seq)
        newer = sorted(number for number in seen if number > seq)
        expected = (older[len(older) - min(before, len(older)) :], newer[:after])
        self.assertEqual(around(sight, seq, before, after), expected)

    def test_long_stretches_cost_nothing(self) -> None:
        sight = Sight(((1, 10**9), (10**9 + 2, EVER)), ())
        self.assertEqual(
            around(sight, 10**9, 2, 2), ([10**9 - 2, 10**9 - 1], [10**9 + 2, 10**9 + 3])
        )
