"""Filters: what they let through, and which ones are refused."""

import re
from typing import Any
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.sync.filters import (
    MAX_ENTRIES,
    MAX_LIMIT,
    MAX_TEXT,
    MAX_WILDCARDS,
    EventFilter,
    Filter,
    RoomEventFilter,
    RoomFilter,
)
from schema.errors import BadJson, InvalidParam, MatrixError

ALICE = "@alice:hearth.example"
BOB = "@bob:hearth.example"
HALL = "!hall:hearth.example"
YARD = "!yard:hearth.example"

TYPES = st.text("ab.?", max_size=5)
WILDCARDS = st.lists(st.text("ab.?*", max_size=5), max_size=3)
PEOPLE = st.lists(st.sampled_from([ALICE, BOB]), max_size=2)
ROOMS = st.lists(st.sampled_from([HALL, YARD]), max_size=2)
EVENT_FILTERS = {
    "types": WILDCARDS,
    "not_types": WILDCARDS,
    "senders": PEOPLE,
    "not_senders": PEOPLE,
    "limit": st.integers(0, 20),
}
ROOM_EVENT_FILTERS = st.fixed_dictionaries(
    {},
    optional={
        **EVENT_FILTERS,
        "rooms": ROOMS,
        "not_rooms": ROOMS,
        "contains_url": st.booleans(),
        "lazy_load_members": st.booleans(),
        "include_redundant_members": st.booleans(),
        "unread_thread_notifications": st.booleans(),
    },
)
KEYS = [
    *("presence", "account_data", "room", "event_format", "event_fields"),
    *("rooms", "not_rooms", "ephemeral", "state", "timeline", "include_leave"),
    *("types", "not_types", "senders", "not_senders", "limit", "contains_url"),
    *("lazy_load_members", "include_redundant_members", "unread_thread_notifications"),
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([ALICE, HALL, "client", "*", "content.body"])
)
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
)
CONTENTS = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=1),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=3),
    max_leaves=6,
)


def allowed(value: str, filters: dict[str, Any], name: str, same: Any = str.__eq__) -> bool:
    """The specification's sentences: an absent list lets everything through, ``not_`` wins."""
    if any(same(unwanted, value) for unwanted in filters.get(f"not_{name}", [])):
        return False
    return name not in filters or any(same(wanted, value) for wanted in filters[name])


def same_type(pattern: str, event_type: str) -> bool:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return re.fullmatch(expression, event_type) is not None


class EventFilters(TestCase):
    @settings(deadline=None, max_examples=300)
    @given(ROOM_EVENT_FILTERS, TYPES, st.sampled_from([ALICE, BOB]), st.booleans())
    def test_they_let_through_what_the_specification_says(
        self, value: dict[str, Any], event_type: str, sender: str, has_url: bool
    ) -> None:
        parsed = RoomEventFilter.parse(value)
        by_type = allowed(event_type, value, "types", same_type)
        by_sender = allowed(sender, value, "senders")
        by_url = value.get("contains_url", has_url) == has_url
        content = {"url": "mxc://hearth.example/a"} if has_url else {"body": "url"}
        self.assertEqual(parsed.allows_type(event_type), by_type)
        self.assertEqual(parsed.allows_sender(sender), by_sender)
        self.assertEqual(parsed.allows(event_type, sender), by_type and by_sender)
        self.assertEqual(
            parsed.allows_event(event_type, sender, content), by_type and by_sender and by_url
        )
        for room_id in (HALL, YARD):
            self.assertEqual(parsed.allows_room(room_id), allowed(room_id, value, "rooms"))
        self.assertEqual(parsed.limit, value.get("limit"))
        if parsed.allows_all:
            self.assertTrue(parsed.allows_event(event_type, sender, content))

    def test_one_that_excludes_anything_does_not_allow_all(self) -> None:
        for name, value in (
            ("types", ["*"]),
            ("not_types", ["a"]),
            ("senders", []),
            ("not_senders", [BOB]),
            ("contains_url", False),
        ):
            self.assertFalse(RoomEventFilter.parse({name: value}).allows_all, name)
        self.assertTrue(RoomEventFilter.parse({"limit": 3, "rooms": []}).allows_all)

    def test_what_has_no_sender_is_from_none_of_the_wanted(self) -> None:
        typing = ("m.typing", None)
        self.assertTrue(EventFilter.parse({"not_senders": [BOB]}).allows(*typing))
        self.assertFalse(EventFilter.parse({"senders": [BOB]}).allows(*typing))

    def test_an_empty_list_wants_nothing(self) -> None:
        self.assertFalse(EventFilter.parse({"types": []}).allows("m.room.message", ALICE))
        self.assertFalse(RoomFilter.parse({"rooms": []}).allows_room(HALL))

    def test_the_parts_of_a_wildcard_do_not_overlap(self) -> None:
        self.assertFalse(EventFilter.parse({"types": ["aba*ba"]}).allows("aba"))
        self.assertFalse(EventFilter.parse({"types": ["*ab*b"]}).allows("ab"))
        self.assertFalse(EventFilter.parse({"types": ["*ab*ba*"]}).allows("aba"))
        self.assertTrue(EventFilter.parse({"types": ["m.room.*"]}).allows("m.room.message"))

    def test_a_large_limit_is_lowered(self) -> None:
        self.assertEqual(EventFilter.parse({"limit": 10**30}).limit, MAX_LIMIT)


class Filters(TestCase):
    def test_the_example_of_the_specification(self) -> None:
        parsed = Filter.parse(
            {
                "room": {
                    "state": {"types": ["m.room.*"], "not_rooms": [HALL]},
                    "timeline": {
                        "limit": 15,
                        "types": ["m.room.message"],
                        "not_rooms": [HALL],
                        "not_senders": [BOB],
                    },
                    "ephemeral": {"types": ["m.receipt", "m.typing"], "not_rooms": [HALL]},
                },
                "presence": {"types": ["m.presence"], "not_senders": [ALICE]},
                "event_format": "client",
                "event_fields": ["type", "content", "sender"],
            }
        )
        room = parsed.room
        self.assertEqual((room.timeline.limit, parsed.event_format), (15, "client"))
        self.assertTrue(room.state.allows("m.room.name", BOB))
        self.assertTrue(room.timeline.allows("m.room.message", ALICE))
        self.assertFalse(room.timeline.allows("m.room.message", BOB))
        self.assertFalse(room.timeline.allows_room(HALL))
        self.assertTrue(room.ephemeral.allows("m.typing"))
        self.assertFalse(parsed.presence.allows("m.presence", ALICE))
        self.assertTrue(room.account_data.allows_all and parsed.account_data.allows_all)
        event = {"type": "a", "content": {"body": "x"}, "sender": BOB, "event_id": "$a"}
        selected = {"type": "a", "content": {"body": "x"}, "sender": BOB}
        self.assertEqual(parsed.select_fields(event), selected)

    def test_without_one_everything_is_shown(self) -> None:
        self.assertEqual(Filter.parse({}), Filter.DEFAULT)
        default = Filter.DEFAULT
        sections = (default.presence, default.account_data, default.room.timeline)
        self.assertTrue(all(section.allows_all for section in sections))
        self.assertTrue(default.room.allows_room(HALL))
        self.assertEqual((default.room.timeline.limit, default.room.include_leave), (None, False))
        event = {"type": "a"}
        self.assertIs(default.select_fields(event), event)
        self.assertIs(Filter.parse({"event_fields": []}).select_fields(event), event)

    def test_what_clients_ask_for_is_found_where_they_write_it(self) -> None:
        lazy = Filter.parse(
            {
                "room": {
                    "include_leave": True,
                    "not_rooms": [HALL],
                    "state": {"lazy_load_members": True, "include_redundant_members": True},
                    "timeline": {"limit": 0, "unread_thread_notifications": True},
                }
            }
        )
        self.assertTrue(lazy.lazy_load_members and lazy.include_redundant_members)
        self.assertTrue(lazy.unread_thread_notifications and lazy.room.include_leave)
        self.assertEqual(lazy.room.timeline.limit, 0)
        self.assertFalse(lazy.room.allows_room(HALL))
        self.assertFalse(lazy.room.timeline.lazy_load_members)

    @settings(deadline=None)
    @given(ROOM_EVENT_FILTERS, ROOM_EVENT_FILTERS, st.lists(TYPES, max_size=4))
    def test_equal_ones_share_what_is_cached(
        self, timeline: dict[str, Any], state: dict[str, Any], fields: list[str]
    ) -> None:
        def turned(value: dict[str, Any]) -> dict[str, Any]:
            return {
                name: value[name][::-1] if isinstance(value[name], list) else value[name]
                for name in reversed(value)
            }

        one = Filter.parse({"room": {"timeline": timeline, "state": state}, "event_fields": fields})
        other = Filter.parse(
            {
                "event_fields": fields[::-1],
                "room": {"state": turned(state), "timeline": turned(timeline)},
            }
        )
        self.assertEqual((one, hash(one)), (other, hash(other)))
        self.assertEqual(one.room.timeline, RoomEventFilter.parse(timeline))
        self.assertEqual(one.room.state, RoomEventFilter.parse(state))

    @settings(deadline=None)
    @given(ANY_JSON)
    def test_any_json_is_refused_or_a_filter(self, value: Any) -> None:
        for parse in (Filter.parse, RoomEventFilter.parse):
            try:
                parsed = parse(value)
            except MatrixError as refusal:
                self.assertEqual(refusal.status, 400)
            else:
                hash(parsed)

    def test_what_is_refused(self) -> None:
        refused: tuple[tuple[Any, type[MatrixError]], ...] = (
            (None, BadJson),
            ([], BadJson),
            ({"presence": "none"}, BadJson),
            ({"room": {"timeline": []}}, BadJson),
            ({"room": {"include_leave": 1}}, BadJson),
            ({"room": {"rooms": ["hall"]}}, InvalidParam),
            ({"room": {"state": {"lazy_load_members": "yes"}}}, BadJson),
            ({"presence": {"types": "m.presence"}}, BadJson),
            ({"presence": {"types": [1]}}, BadJson),
            ({"presence": {"senders": ["alice"]}}, InvalidParam),
            ({"presence": {"not_types": ["x"] * (MAX_ENTRIES + 1)}}, InvalidParam),
            ({"presence": {"not_types": ["x" * (MAX_TEXT + 1)]}}, InvalidParam),
            ({"presence": {"types": ["*" * (MAX_WILDCARDS + 1)]}}, InvalidParam),
            ({"presence": {"limit": -1}}, InvalidParam),
            ({"presence": {"limit": 1.0}}, BadJson),
            ({"presence": {"limit": True}}, BadJson),
            ({"presence": {"limit": None}}, BadJson),
            ({"event_format": "xml"}, InvalidParam),
            ({"event_format": ["client"]}, InvalidParam),
            ({"event_fields": {"content": True}}, BadJson),
        )
        for value, refusal in refused:
            with self.subTest(value=value), self.assertRaises(refusal):
                Filter.parse(value)

    @settings(deadline=None)
    @given(
        st.dictionaries(st.sampled_from(["a", "b", "a.b"]), CONTENTS),
        st.lists(st.sampled_from(["a", "b", r"a\.b", "a.b", r"a.a\.b", "b.a.b"]), min_size=1),
    )
    def test_only_the_fields_that_are_asked_for(
        self, event: dict[str, Any], keys: list[str]
    ) -> None:
        selected = Filter.parse({"event_fields": keys}).select_fields(event)
        self.assertEqual(leaves(selected), leaves(event, keys))


def leaves(
    value: dict[str, Any], keys: list[str] | None = None, prefix: str = ""
) -> dict[str, Any]:
    """The innermost properties by path; only those at or below one of ``keys``."""
    found = {}
    for name, part in value.items():
        path = prefix + name.replace(".", "\\.")
        if isinstance(part, dict):
            found |= leaves(part, keys, f"{path}.")
        elif keys is None or any(f"{path}.".startswith(f"{key}.") for key in keys):
            found[path] = part
    return found
