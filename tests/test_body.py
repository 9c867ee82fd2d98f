"""Request bodies: what the schemas let through, and the sentences for what they do not."""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from typing import Any
from unittest import TestCase

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schema.body import Schemas
from schema.errors import BadJson, MatrixError, MissingParam
from schema.hot import HOT

FILES = {
    entry.name.removesuffix(".json"): orjson.loads(entry.read_bytes())
    for entry in (resources.files("schema") / "requests").iterdir()
}
SECRETS = {"password", "new_password", "token", "refresh_token", "id_access_token"}


class SchemaFiles(TestCase):
    """What every file in schema/requests promises."""

    def test_each_schema_is_one_and_says_what_it_is_for(self) -> None:
        for name, schema in FILES.items():
            Draft202012Validator.check_schema(schema)
            self.assertTrue(schema["description"].endswith("."), name)
            self.assertEqual(schema["type"], "object", name)

    def test_each_example_passes(self) -> None:
        schemas = Schemas()
        self.assertEqual(schemas.names(), FILES.keys())
        for name, schema in FILES.items():
            self.assertTrue(schema["examples"], name)
            for example in schema["examples"]:
                schemas.check(name, example)
                self.assertEqual(list(schemas.refusals(name, example)), [])

    def test_nothing_is_without_a_limit(self) -> None:
        for name, schema in FILES.items():
            for where, part in parts(schema, name):
                types = part.get("type", [])
                if "string" in types and "enum" not in part:
                    self.assertIn("maxLength", part, where)
                if "array" in types:
                    self.assertIn("maxItems", part, where)
                if "additionalProperties" in part:
                    self.assertIn("maxProperties", part, where)
                    self.assertIn("maxLength", part["propertyNames"], where)
                if "integer" in types:
                    self.assertIn("maximum", part, where)

    def test_a_limit_is_checked_before_the_entries_it_limits(self) -> None:
        for name, schema in FILES.items():
            for where, part in parts(schema, name):
                rules = list(part)
                for limit, walk in (("maxItems", "items"), ("maxProperties", "propertyNames")):
                    if walk in rules:
                        self.assertLess(rules.index(limit), rules.index(walk), where)

    def test_no_text_but_a_secret_may_hold_a_nul(self) -> None:
        for name, schema in FILES.items():
            for where, part in parts(schema, name):
                limited = "maxLength" in part and where.rpartition(".")[2] not in SECRETS
                if limited:
                    self.assertIn("\\u0000", part.get("pattern", ""), where)

    def test_a_pattern_of_its_own_has_words(self) -> None:
        for name, schema in FILES.items():
            for where, part in parts(schema, name):
                if part.get("pattern", "^[^\\u0000]*$") != "^[^\\u0000]*$":
                    self.assertIn("title", part, where)


class Refusals(TestCase):
    """A person's client sends something odd, and learns which place is wrong."""

    schemas = Schemas()

    def refused(self, name: str, body: Any) -> str:
        with self.assertRaises(MatrixError) as caught:
            self.schemas.check(name, body)
        self.assertEqual(caught.exception.status, 400)
        return f"{caught.exception.errcode}: {caught.exception.error}"

    def test_bodies_that_other_servers_stumbled_over(self) -> None:
        for name, body, expected in (
            ("typing", {}, "M_MISSING_PARAM: `typing` is missing"),
            ("typing", {"timeout": "abc"}, "M_MISSING_PARAM: `typing` is missing"),
            (
                "typing",
                {"typing": True, "timeout": "abc"},
                "M_BAD_JSON: `timeout` must be an integer, not a string",
            ),
            (
                "sendToDevice",
                {"messages": 5},
                "M_BAD_JSON: `messages` must be an object, not a number",
            ),
            (
                "keys.upload",
                {"one_time_keys": 5},
                "M_BAD_JSON: `one_time_keys` must be an object, not a number",
            ),
            (
                "keys.claim",
                {"one_time_keys": {"@a:b": 3}},
                'M_BAD_JSON: `one_time_keys["@a:b"]` must be an object, not a number',
            ),
            ("room_keys.version", {}, "M_MISSING_PARAM: `algorithm` is missing"),
            (
                "pushers.set",
                {"pushkey": "k", "kind": "http", "app_id": "a", "data": 5},
                "M_BAD_JSON: `data` must be an object, not a number",
            ),
            ("read_markers", {"m.read": 5}, "M_BAD_JSON: `m.read` must be a string, not a number"),
        ):
            self.assertEqual(self.refused(name, body), expected)
        self.refused("pushers.set", {"data": 5})

    def test_fields_of_a_new_room(self) -> None:
        for body, expected in (
            ({"name": 5}, "`name` must be a string, not a number"),
            ({"invite": "@bob:x"}, "`invite` must be an array, not a string"),
            ({"invite": ["@a:x", "@b:x", 3]}, "`invite[2]` must be a string, not a number"),
            ({"initial_state": {}}, "`initial_state` must be an array, not an object"),
            ({"initial_state": [[]]}, "`initial_state[0]` must be an object, not an array"),
            (
                {"initial_state": [{"type": "m.room.name", "content": None}]},
                "`initial_state[0].content` must be an object, not null",
            ),
            ({"creation_content": True}, "`creation_content` must be an object, not a boolean"),
            ({"room_version": 11}, "`room_version` must be a string, not a number"),
            (
                {"power_level_content_override": []},
                "`power_level_content_override` must be an object, not an array",
            ),
            (
                {"preset": "party"},
                '`preset` must be one of "private_chat", "public_chat", "trusted_private_chat"',
            ),
        ):
            self.assertEqual(self.refused("createRoom", body), f"M_BAD_JSON: {expected}")
        self.assertEqual(
            self.refused("createRoom", {"initial_state": [{"content": {}}]}),
            "M_MISSING_PARAM: `initial_state[0].type` is missing",
        )

    def test_harmless_oddities_of_a_new_room_pass(self) -> None:
        for body in (
            {"visibility": "unlisted", "org.example.colour": "green"},
            {"name": None, "topic": "", "room_alias_name": "", "preset": None, "is_direct": None},
            {"initial_state": [{"type": "m.room.topic", "state_key": None, "content": {"a": 1.5}}]},
            {"invite": [], "invite_3pid": [], "power_level_content_override": None},
        ):
            self.schemas.check("createRoom", body)

    def test_no_name_holds_a_nul(self) -> None:
        for name, body in (
            ("profile.field", {"displayname": "Al\0ice"}),
            ("devices.update", {"display_name": "\0"}),
            ("login", {"type": "m.login.password", "device_id": "DEV\0"}),
            ("register", {"username": "alice\0"}),
            ("tag", {"order": "\0"}),
            ("pushers.set", {"pushkey": "\0", "kind": None, "app_id": "a"}),
        ):
            self.assertIn("must not hold the character U+0000", self.refused(name, body))
        self.assertEqual(
            self.refused("sendToDevice", {"messages": {"@bob:x": {"D\0": {}}}}),
            'M_BAD_JSON: `messages["@bob:x"]` has the key "D\0", '
            "which must not hold the character U+0000",
        )

    def test_a_lone_surrogate_is_no_json_here(self) -> None:
        for text in (b'{"displayname":"\\ud800"}', b'{"displayname":"\xed\xa0\x80"}'):
            with self.assertRaises(orjson.JSONDecodeError):
                orjson.loads(text)

    def test_numbers_are_taken_at_their_word(self) -> None:
        for limit, expected in (
            (True, "must be an integer, not a boolean"),
            (1.0, "must be an integer, not a number with a fraction or beyond 64 bits"),
            (2**70 * 1.0, "must be an integer, not a number with a fraction or beyond 64 bits"),
            (2**60, "must be 9007199254740991 or less"),
            (-1, "must be 0 or more"),
        ):
            self.assertIn(expected, self.refused("publicRooms", {"limit": limit}))
        self.assertIn("true or false", self.refused("typing", {"typing": 1}))

    def test_what_is_too_long_names_its_limit(self) -> None:
        self.assertEqual(
            self.refused("profile.field", {"displayname": "x" * 257}),
            "M_BAD_JSON: `displayname` is too long: at most 256 characters",
        )
        self.schemas.check("profile.field", {"displayname": "ü" * 256})
        self.assertEqual(
            self.refused("delete_devices", {"devices": ["D"] * 1001}),
            "M_BAD_JSON: `devices` has too many entries: at most 1000",
        )
        self.assertEqual(
            self.refused("profile.field", {}),
            "M_BAD_JSON: The body has too few entries: at least 1",
        )

    def test_a_body_that_is_no_object(self) -> None:
        for name in FILES:
            for body in (None, [], "", 0, True):
                self.assertTrue(
                    self.refused(name, body).startswith("M_BAD_JSON: The body must be an object")
                )

    def test_a_long_key_is_shown_in_part(self) -> None:
        refusal = self.refused("keys.query", {"device_keys": {"@" + "a" * 200: 5}})
        self.assertLess(len(refusal), 160)

    def test_a_key_of_an_unknown_form(self) -> None:
        self.assertEqual(
            self.refused("keys.upload", {"one_time_keys": {"AAAAAQ": "key"}}),
            'M_BAD_JSON: `one_time_keys` has the key "AAAAAQ", '
            "which must be of the form algorithm:id",
        )

    def test_a_filter_with_what_is_no_id(self) -> None:
        self.assertEqual(
            self.refused("filter", {"room": {"timeline": {"rooms": ["garden"]}}}),
            "M_BAD_JSON: `room.timeline.rooms[0]` must be a room id",
        )
        self.assertIn("user id", self.refused("filter", {"presence": {"senders": ["alice"]}}))

    def test_a_pusher_needs_all_its_fields_but_can_be_removed_with_three(self) -> None:
        removal = {"pushkey": "k", "kind": None, "app_id": "a"}
        self.schemas.check("pushers.set", removal)
        self.assertEqual(
            self.refused("pushers.set", {**removal, "kind": "http"}),
            "M_MISSING_PARAM: `app_display_name` is missing",
        )

    def test_null_where_clients_send_it(self) -> None:
        for name, body in (
            ("login", {"type": "m.login.password", "initial_device_display_name": None}),
            ("devices.update", {"display_name": None}),
            ("membership", {"user_id": "@bob:x", "reason": None}),
            ("keys.upload", {"device_keys": None, "one_time_keys": None}),
            ("account.password", {"new_password": "x", "auth": None}),
        ):
            self.schemas.check(name, body)


class Start(TestCase):
    def test_the_engine_is_loaded_with_the_first_body_that_needs_it(self) -> None:
        program = (
            "import sys; from schema.body import Schemas; schemas = Schemas();"
            "schemas.check('keys.query', {'device_keys': {}});"
            "assert 'jsonschema' not in sys.modules;"
            "schemas.check('typing', {'typing': True});"
            "assert 'jsonschema' in sys.modules"
        )
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=paths)


EDGES: list[Any] = [
    *(None, True, False, 0, -1, 2**53, 1.0, 0.5, "", "\0", "a:b", [], {}, [""], {"": {}}),
    *("x" * 300, "x" * 2000, [""] * 1001, {f"a:{i}": "" for i in range(501)}),
]
KEYS = ["", "\0", "a", "a:", ":b", "a:b", "a:\0", "timeout", "fallback", "key", "x" * 601]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def nearly_right(draw: st.DrawFn, name: str) -> Any:
    """An example of the schema with up to three things changed in it."""
    body = copy.deepcopy(draw(st.sampled_from(FILES[name]["examples"])))
    for _ in range(draw(st.integers(0, 3))):
        holder: Any = {"body": body}
        key: Any = "body"
        while isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 4)):
            holder = holder[key]
            key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else [0]))
        change = draw(st.sampled_from(["replace", "remove", "rename", "add"]))
        if change == "replace" or holder == {"body": body}:
            holder[key] = copy.deepcopy(draw(st.sampled_from(EDGES) | json_values))
            body = holder.get("body", body) if isinstance(holder, dict) else body
        elif change == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            value = holder.pop(key) if change == "rename" else copy.deepcopy(holder[key])
            holder[draw(st.sampled_from(KEYS))] = value
    return body


def said(refusal: MatrixError | None) -> str:
    return f"{refusal.errcode}: {refusal.error}" if refusal else "passes"


def outcome(schemas: Schemas, name: str, body: Any) -> str:
    try:
        schemas.check(name, body)
    except (BadJson, MissingParam) as refusal:
        return said(refusal)
    return said(None)


class TwoEngines(TestCase):
    """The hand-written checks against the schemas they stand for."""

    schemas = Schemas()

    def compare(self, name: str, body: Any) -> None:
        # The engine visits the entries of an object in no particular order.
        allowed = [said(refusal) for refusal in self.schemas.refusals(name, body)] or [said(None)]
        self.assertIn(outcome(self.schemas, name, body), allowed)

    def test_every_limit_is_the_same_in_both(self) -> None:
        for name in HOT:
            for body in variants(FILES[name], FILES[name].get("$defs", {})):
                self.compare(name, body)

    @settings(deadline=None, max_examples=400)
    @given(st.sampled_from(sorted(HOT)).flatmap(lambda n: st.tuples(st.just(n), nearly_right(n))))
    def test_several_things_wrong_at_once(self, case: tuple[str, Any]) -> None:
        self.compare(*case)

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(sorted(FILES)).flatmap(lambda n: st.tuples(st.just(n), nearly_right(n))))
    def test_any_json_passes_or_is_refused_in_our_words(self, case: tuple[str, Any]) -> None:
        sentence = outcome(self.schemas, *case)
        for words in ("is not of type", "required property", "does not match", "is not valid"):
            self.assertNotIn(words, sentence)


def variants(part: dict[str, Any], defs: dict[str, Any]) -> Iterator[Any]:
    """Values for a part of a schema: first one that passes, then one at and beyond each limit."""
    if "$ref" in part:
        yield from variants(defs[part["$ref"].rpartition("/")[2]], defs)
        return
    if "object" in part["type"]:
        yield from maps(part, defs) if "propertyNames" in part else objects(part, defs)
    if "array" in part["type"]:
        yield from lists(part, defs)
    if "integer" in part["type"]:
        low, high = part["minimum"], part["maximum"]
        yield from (low, low - 1, high, high + 1)
    if "string" in part["type"]:
        yield from texts(part["maxLength"])
    yield from (True, None, 1, 1.0, "a:b", [], {})


def texts(longest: int) -> Iterator[str]:
    yield from ("a:b", "", "\0", "x" * longest, "x" * (longest + 1))


def lists(part: dict[str, Any], defs: dict[str, Any]) -> Iterator[Any]:
    for value in variants(part["items"], defs):
        yield [value]
    first = next(variants(part["items"], defs))
    yield from ([first] * part["maxItems"], [first] * (part["maxItems"] + 1))


def maps(part: dict[str, Any], defs: dict[str, Any]) -> Iterator[Any]:
    values, names = part["additionalProperties"], part["propertyNames"]
    for value in variants(values, defs):
        yield {"a:b": value}
    first, most, longest = next(variants(values, defs)), part["maxProperties"], names["maxLength"]
    for name in ("", "a", ":", "a:", ":b", "a:\0", "\0:b", "a:" + "x" * (longest - 2)):
        yield from ({name: first}, {name + "x": first})
    yield from ({f"a:{i}": first for i in range(n)} for n in (most, most + 1))


def objects(part: dict[str, Any], defs: dict[str, Any]) -> Iterator[Any]:
    properties = part.get("properties", {})
    whole = {name: next(variants(inner, defs)) for name, inner in properties.items()}
    yield whole
    for name, inner in properties.items():
        yield {key: value for key, value in whole.items() if key != name}
        for value in variants(inner, defs):
            yield {**whole, name: value}


def parts(schema: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with the way to it. The last step is the property's name."""
    yield where, schema
    for name in ("properties", "$defs"):
        for key, part in schema.get(name, {}).items():
            yield from parts(part, f"{where}.{key}")
    for rule in ("items", "additionalProperties", "propertyNames"):
        if rule in schema:
            yield from parts(schema[rule], f"{where}.{rule}")
