"""Signed JSON has one form: ours is the one of the specification and its reference library."""

import json
import sys
from typing import Any
from unittest import TestCase

import orjson
from canonicaljson import encode_canonical_json
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.canonical import MAX_DEPTH, MAX_INTEGER, check_canonical, encode
from schema.errors import BadJson

# Appendices, "Canonical JSON", "Examples": what stands there, and what should come out.
EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    (
        """{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {
            "display_name": "John Doe", "three_pids": [
            {"medium": "email", "address": "john.doe@example.org"},
            {"medium": "msisdn", "address": "123456789"}]}}}""",
        '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe",'
        '"three_pids":[{"address":"john.doe@example.org","medium":"email"},'
        '{"address":"123456789","medium":"msisdn"}]},"success":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    ('{"a": "\\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
    ('{"a": -0}', '{"a":0}'),
]

texts = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-MAX_INTEGER, MAX_INTEGER)


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda v: st.lists(v) | st.dictionaries(keys, v), max_leaves=20)


canonical_values = nested(st.none() | st.booleans() | integers | texts, texts)
any_values = nested(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["\ud800", 2**53, -(2**53), 1.0, 2**63, 2**64]),
    st.text(st.characters()) | st.just("\udfff"),
)


def every_character() -> str:
    return "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)


class Encoding(TestCase):
    def test_the_examples_of_the_specification(self) -> None:
        for given_text, expected in EXAMPLES:
            value = orjson.loads(given_text)
            check_canonical(value)
            self.assertEqual(encode(value).decode(), expected)

    def test_every_character_is_written_as_the_reference_library_writes_it(self) -> None:
        text = every_character()
        check_canonical(text)
        self.assertTrue(encode(text) == encode_canonical_json(text))

    def test_keys_from_all_of_unicode_are_ordered_as_the_reference_library_orders_them(
        self,
    ) -> None:
        edges = ["", "\x00", "a", "aa", "a\x00", "\ud7ff", "\ue000", "\uffff", "\U00010000"]
        keys = [*every_character()[::-61], *edges]
        value = {key: number for number, key in enumerate(keys)}
        self.assertTrue(encode(value) == encode_canonical_json(value))

    @settings(deadline=None)
    @given(canonical_values)
    def test_every_accepted_value_is_written_as_the_reference_library_writes_it(
        self, value: Any
    ) -> None:
        check_canonical(value)
        self.assertEqual(encode(value), encode_canonical_json(value))

    @settings(deadline=None, max_examples=300)
    @given(any_values)
    def test_any_value_is_refused_in_a_sentence_or_has_a_canonical_form(self, value: Any) -> None:
        try:
            check_canonical(value, "content")
        except BadJson as refusal:
            orjson.dumps(refusal.body())  # an answer that cannot be sent would be a 500
            self.assertTrue(refusal.error.startswith("content"))
            return
        self.assertEqual(encode(value), encode_canonical_json(value))
        self.assertEqual(orjson.loads(encode(value)), value)


class Refusals(TestCase):
    def check_refused(self, value: Any, *words: str) -> None:
        with self.assertRaises(BadJson) as refused:
            check_canonical(value, "content")
        for word in words:
            self.assertIn(word, refused.exception.error)

    def test_numbers_that_some_reader_would_change_are_refused(self) -> None:
        for text in ("1.0", "1e10", "-0.0", "0.5", str(2**53), str(-(2**53)), str(2**64)):
            self.check_refused({"n": orjson.loads(text)}, "content.n", "2^53 - 1")
        for number in (float("nan"), float("inf")):
            self.check_refused({"n": number}, "content.n")
        check_canonical([MAX_INTEGER, -MAX_INTEGER, 0])

    def test_half_characters_are_refused_as_text_and_as_key(self) -> None:
        self.check_refused({"body": "ab\ud83d"}, "content.body", "surrogate")
        self.check_refused({"a": {"\ud83d": 1}}, "content.a.\\ud83d", "surrogate")
        check_canonical({"body": "\U0001f600", "\U0001f600": 1})

    def test_the_path_leads_to_the_offender(self) -> None:
        self.check_refused({"a": [1, {"b": [True, 1.5]}]}, "content.a[1].b[1] must be a whole")
        self.check_refused(1.5, "content must be a whole number")
        with self.assertRaises(BadJson) as refused:
            check_canonical({"content": {"x": 0.1}})
        self.assertTrue(refused.exception.error.startswith("content.x must"))

    def test_what_is_no_json_is_refused(self) -> None:
        self.check_refused({"a": (1, 2)}, "content.a is not JSON but a tuple")
        self.check_refused({"a": b"x"}, "content.a is not JSON but a bytes")
        self.check_refused({1: "x"}, "key that is not a text")

    def test_deep_nesting_is_refused_and_the_deepest_accepted_value_is_readable(self) -> None:
        def deep(levels: int) -> Any:
            return orjson.loads("[" * levels + "]" * levels)

        check_canonical(deep(MAX_DEPTH))
        self.assertEqual(encode(deep(MAX_DEPTH)), encode_canonical_json(deep(MAX_DEPTH)))
        self.check_refused(deep(MAX_DEPTH + 1), "nested")
        self.check_refused(json.loads('{"a":' * 500 + "1" + "}" * 500), "nested")
