"""Power levels: what they mean, and who may change them."""

import math
from collections.abc import Iterable
from typing import Any
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.rooms.auth_rules import Draft, auth_event_keys, check
from homeserver.rooms.power_levels import PowerLevels, check_change, is_user_id
from homeserver.rooms.versions import VERSIONS
from schema.errors import Forbidden
from tests.test_auth_rules import ALICE, BOB, CAROL, DAVE, EVE, Cases, Room

SINGLE = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
INTEGERS_ONLY = list(VERSIONS)[9:]
WITH_TEXTS = list(VERSIONS)[:9]
WITH_FLOATS = list(VERSIONS)[:5]
TYPE = "m.room.power_levels"

people = st.sampled_from([ALICE, BOB, CAROL, DAVE])
levels = st.integers(-2, 5)
# The same, and what older versions write for them.
written = levels | levels.map(lambda level: f" {level} ") | levels.map(float)
types = st.sampled_from(["m.room.message", "m.room.name", TYPE])


def contents_of(levels: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(SINGLE, levels),
            "events": st.dictionaries(types, levels),
            "notifications": st.dictionaries(st.just("room"), levels),
            "users": st.dictionaries(people, levels),
        },
    )


contents = contents_of(levels)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([ALICE, BOB, "join", "invite", "knock", "ban", "leave", "public"]),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3) | people, v),
    max_leaves=5,
)
odd_contents = st.dictionaries(
    st.sampled_from(
        [
            *SINGLE,
            "events",
            "notifications",
            "users",
            "membership",
            "join_rule",
            "join_authorised_via_users_server",
            "third_party_invite",
            "additional_creators",
            "room_version",
            "creator",
        ]
    ),
    any_json
    | st.fixed_dictionaries(
        {"signed": st.dictionaries(st.sampled_from(["mxid", "token"]), any_json)}
    ),
)


class Meaning(TestCase):
    def test_defaults(self) -> None:
        for content in (None, {}):
            of = PowerLevels.of(content, VERSIONS["11"], (ALICE,))
            self.assertEqual((of.invite, of.kick, of.ban, of.redact), (0, 50, 50, 50))
            self.assertEqual(of.needed_for("m.room.message", is_state=False), 0)
            self.assertEqual(of.needed_for("m.room.name", is_state=True), 50)
            self.assertEqual(of.needed_to_notify(), 50)
            self.assertEqual(of.level_of(ALICE), 100 if content is None else 0)
            self.assertEqual(of.level_of(BOB), 0)

    def test_what_the_content_says(self) -> None:
        single = {name: number for number, name in enumerate(SINGLE, start=1)}
        content = {
            **single,
            "users": {BOB: 60},
            "events": {"m.room.name": 70},
            "notifications": {"room": 80},
        }
        of = PowerLevels.of(content, VERSIONS["11"], (ALICE,))
        self.assertEqual((of.level_of(BOB), of.level_of(CAROL), of.level_of(ALICE)), (60, 1, 1))
        self.assertEqual(of.needed_for("m.room.message", is_state=False), 2)
        self.assertEqual(of.needed_for("m.room.topic", is_state=True), 3)
        self.assertEqual(of.needed_for("m.room.name", is_state=True), 70)
        self.assertEqual((of.ban, of.redact, of.kick, of.invite), (4, 5, 6, 7))
        self.assertEqual(of.needed_to_notify("room"), 80)

    def test_creators_of_version_12_stand_above_all(self) -> None:
        for content in (None, {}, {"users": {ALICE: 5, BOB: 2**53 - 1}, "users_default": 3}):
            of = PowerLevels.of(content, VERSIONS["12"], (ALICE, CAROL))
            self.assertEqual((of.level_of(ALICE), of.level_of(CAROL)), (math.inf, math.inf))
            self.assertGreater(of.level_of(ALICE), of.level_of(BOB))

    def test_texts_are_levels_only_where_the_version_allows_it(self) -> None:
        for text, level in (
            ("100", 100),
            ("000100", 100),
            ("+100", 100),
            ("-100", -100),
            (" 00100 ", 100),
            ("\t-1\n", -1),
            ("0", 0),
            ("", 50),
            ("1.5", 50),
            ("1_0", 50),
            ("1e2", 50),
            ("- 1", 50),
            ("٣", 50),
            ("9" * 5000, 50),
        ):
            with self.subTest(text=text[:20]):
                for version_id, version in VERSIONS.items():
                    expected = level if version_id in WITH_TEXTS else 50
                    self.assertEqual(PowerLevels.of({"ban": text}, version, ()).ban, expected)

    def test_of_a_float_the_whole_part_counts_where_the_version_allows_it(self) -> None:
        for number, level in (
            (50.57, 50),
            (5.114698e4, 51146),
            (-0.9, 0),
            (-7.9, -7),
            (1e300, int(1e300)),
            (math.inf, 50),
            (math.nan, 50),
        ):
            for version_id, version in VERSIONS.items():
                expected = level if version_id in WITH_FLOATS else 50
                self.assertEqual(PowerLevels.of({"ban": number}, version, ()).ban, expected)

    @settings(deadline=None)
    @given(odd_contents, people)
    def test_any_content_has_a_meaning(self, content: dict[str, Any], person: str) -> None:
        for version in VERSIONS.values():
            of = PowerLevels.of(content, version, (ALICE,))
            for value in (
                of.level_of(person),
                of.needed_for("m.room.name", is_state=True),
                of.needed_to_notify(),
                of.invite,
                of.redact,
            ):
                self.assertTrue(value == math.inf or type(value) is int)

    def test_user_ids(self) -> None:
        for user_id, valid in (
            (BOB, True),
            ("@bob:hs.example:8448", True),
            ("@bob:[::1]:80", True),
            ("@:hs", True),
            ("@Böb !:hs", True),
            ("@" + "b" * 251 + ":hs", True),
            ("@" + "b" * 252 + ":hs", False),
            ("@" + "é" * 126 + ":hs", False),
            ("bob:hs", False),
            ("@bob", False),
            ("@bob:", False),
            ("@bob:h s", False),
            ("@bob:hs:port", False),
            ("@bo\0b:hs", False),
            ("@bob:hs\n", False),
            ("#bob:hs", False),
            (5, False),
            (None, False),
        ):
            with self.subTest(user_id=user_id):
                self.assertEqual(is_user_id(user_id), valid)


class Content(Cases):
    def test_levels_are_integers_and_users_are_users(self) -> None:
        for value in ("50", 50.5, True, None, [], {}):
            for name in SINGLE:
                self.expect_everywhere(f"'{name}' must be an integer", {name: value})
            for name in ("events", "notifications", "users"):
                self.expect_everywhere(f"'{name}' in", {name: {BOB: value}})
        for name in ("events", "notifications", "users"):
            for value in (5, None, [], "x"):
                self.expect_everywhere(f"'{name}' in", {name: value})
        for key in ("bob", "@bob", "", "#bob:hs"):
            self.expect_everywhere("must be user ids", {"users": {key: 5}})
        self.expect_everywhere(None, {})
        self.expect_everywhere(None, {"events": {BOB: 5}, "ban": 7, "notifications": {"room": 9}})

    def expect_everywhere(self, refusal: str | None, content: dict[str, Any]) -> None:
        for version_id in INTEGERS_ONLY:
            for room in (Room(version_id), Room(version_id).levels()):
                own = {} if room.version.creators_privileged else {"users": {ALICE: 100}}
                self.expect(refusal, room.send, ALICE, TYPE, {**own, **content}, "")

    def test_until_version_9_only_the_users_are_checked_and_texts_pass(self) -> None:
        for version_id in WITH_TEXTS:
            room = Room(version_id)
            self.expect(None, room.send, ALICE, TYPE, {"users": {BOB: " 5 "}, "ban": "7"}, "")
            self.expect(None, room.send, ALICE, TYPE, {"ban": [], "events": 5, "kick": None}, "")
            self.expect(None, room.send, ALICE, TYPE, {"events": {"m.room.name": "x"}}, "")
            for value in ("5.0", True, None, [], {}):
                self.expect("'users' in", room.send, ALICE, TYPE, {"users": {BOB: value}}, "")
            self.expect("'users' in", room.send, ALICE, TYPE, {"users": [BOB]}, "")
            self.expect("user ids", room.send, ALICE, TYPE, {"users": {"bob": 5}}, "")
            refusal = None if version_id in WITH_FLOATS else "'users' in"
            self.expect(refusal, room.send, ALICE, TYPE, {"users": {BOB: 5.7}}, "")

    def test_creators_of_version_12_are_not_listed(self) -> None:
        room = Room("12", additional_creators=[BOB]).member("join", BOB)
        for user_id, refusal in ((ALICE, "Creators"), (BOB, "Creators"), (CAROL, None)):
            content = {"users": {user_id: 100}}
            self.expect(refusal, room.send, ALICE, TYPE, content, "")
            self.expect(refusal, room.send, BOB, TYPE, content, "")
        self.expect(None, Room("11", additional_creators=[BOB]).send, ALICE, TYPE, content, "")

    def test_the_first_power_levels_may_say_anything(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id)
            self.expect(None, room.send, ALICE, TYPE, {"users": {BOB: 999}, "ban": 999}, "")


class Change(Cases):
    """Bob has 50 and changes the levels; Carol has 50 too, Dave 49, Alice stands above."""

    def test_nobody_reaches_above_oneself(self) -> None:
        may_not, raises = "you may not change it", "above your own"
        for before, after, refusal in (
            # added, changed and removed single levels
            ({}, {"ban": 50}, None),
            ({}, {"ban": 51}, raises),
            ({"ban": 50}, {"ban": 10}, None),
            ({"ban": 50}, {}, None),
            ({"ban": 51}, {"ban": 51}, None),
            ({"ban": 51}, {"ban": 50}, may_not),
            ({"ban": 51}, {}, may_not),
            ({"invite": 0}, {"invite": 51}, raises),
            ({"users_default": 0}, {"users_default": 51}, raises),
            # events
            ({}, {"events": {"m.room.name": 50}}, None),
            ({}, {"events": {"m.room.name": 51}}, raises),
            ({"events": {"m.room.name": 51}}, {"events": {"m.room.name": 51}}, None),
            ({"events": {"m.room.name": 51}}, {"events": {"m.room.name": 50}}, may_not),
            ({"events": {"m.room.name": 51}}, {"events": {}}, may_not),
            ({"events": {"m.room.name": 51}}, {}, may_not),
            ({"events": {"m.room.name": 50}}, {}, None),
        ):
            self.change(before, after, refusal)

    def test_since_version_6_nor_where_notifications_are_concerned(self) -> None:
        may_not, raises = "you may not change it", "above your own"
        for before, after, refusal in (
            ({}, {"notifications": {"room": 50}}, None),
            ({}, {"notifications": {"room": 51}}, raises),
            ({"notifications": {"room": 50}}, {"notifications": {"room": 20}}, None),
            ({"notifications": {"room": 51}}, {"notifications": {"room": 20}}, may_not),
            ({"notifications": {"room": 51}}, {}, may_not),
        ):
            self.change(before, after, refusal, version_ids=list(VERSIONS)[5:])
            self.change(before, after, None, version_ids=list(VERSIONS)[:5])

    def test_levels_are_compared_by_what_they_mean(self) -> None:
        may_not, raises = "you may not change it", "above your own"
        for before, after, refusal in (
            ({"ban": "51"}, {"ban": 51}, None),
            ({"ban": " +051 "}, {}, may_not),
            ({}, {"ban": "51"}, raises),
            ({}, {"events": {"m.room.name": "51"}}, raises),
            ({"events": {"m.room.name": "51"}}, {}, may_not),
        ):
            self.change(before, after, refusal, version_ids=WITH_TEXTS)
        for before, after, refusal in (
            ({"ban": 51.9}, {"ban": 51}, None),
            ({"ban": 51.0}, {}, may_not),
            ({}, {"ban": 50.9}, None),
            ({}, {"ban": 51.0}, raises),
        ):
            self.change(before, after, refusal, version_ids=WITH_FLOATS)
        for level, refusal in (("50", None), ("51", raises)):
            self.change({}, {}, refusal, {EVE: level}, WITH_TEXTS)
        self.change({}, {}, may_not, {CAROL: "49"}, WITH_TEXTS)
        self.change({}, {}, None, {CAROL: "50"}, WITH_TEXTS)

    def test_people_of_ones_own_level_are_out_of_reach_but_not_oneself(self) -> None:
        may_not, raises = "you may not change it", "above your own"
        for users, refusal in (
            ({BOB: 51}, raises),
            ({BOB: 49}, None),
            ({BOB: None}, None),
            ({CAROL: 49}, may_not),
            ({CAROL: 51}, may_not),
            ({CAROL: None}, may_not),
            ({DAVE: 50}, None),
            ({DAVE: 51}, raises),
            ({DAVE: 0}, None),
            ({DAVE: None}, None),
            ({EVE: 50}, None),
            ({EVE: 51}, raises),
            ({EVE: -5}, None),
        ):
            self.change({}, {}, refusal, users)

    def test_nobody_demotes_the_admin_but_the_admin(self) -> None:
        for version_id in list(VERSIONS)[:11]:
            room = self.room(version_id, {})
            users = {**room.events[TYPE, ""].content["users"], ALICE: 50}
            self.expect("you may not change it", room.send, BOB, TYPE, {"users": users}, "")
            self.expect(None, room.send, ALICE, TYPE, {"users": users}, "")

    def test_creators_of_version_12_change_everything(self) -> None:
        room = self.room("12", {"ban": 2**53 - 1})
        users = {BOB: 2**53 - 1, CAROL: 0}
        self.expect(None, room.send, ALICE, TYPE, {"users": users, "ban": 0}, "")

    def test_it_takes_the_level_to_send_power_levels_at_all(self) -> None:
        room = self.room("11", {"events": {TYPE: 51}})
        content = room.events[TYPE, ""].content
        self.expect("power level 51", room.send, BOB, TYPE, content, "")
        outsider = self.room("11", {}).member("leave", BOB)
        self.expect("not a member", outsider.send, BOB, TYPE, content, "")

    def room(self, version_id: str, content: dict[str, Any]) -> Room:
        room = Room(version_id).member("join", BOB, CAROL, DAVE)
        return room.levels(**content, users={BOB: 50, CAROL: 50, DAVE: 49})

    def change(
        self,
        before: dict[str, Any],
        after: dict[str, Any],
        refusal: str | None,
        changed: dict[str, Any] | None = None,
        version_ids: Iterable[str] = VERSIONS,
    ) -> None:
        for version_id in version_ids:
            room = self.room(version_id, before)
            users = {**room.events[TYPE, ""].content["users"], **(changed or {})}
            users = {person: level for person, level in users.items() if level is not None}
            self.expect(refusal, room.send, BOB, TYPE, {**after, "users": users}, "")


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    return int(content)


class Properties(TestCase):
    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(list(VERSIONS.values())), contents, contents, people)
    def test_nobody_gains_power_and_nobody_as_high_loses_it(
        self, version: Any, before: dict[str, Any], after: dict[str, Any], sender: str
    ) -> None:
        old = PowerLevels.of(before, version, (EVE,))
        new = PowerLevels.of(after, version, (EVE,))
        try:
            check_change(old, after, sender)
        except Forbidden:
            return
        own = old.level_of(sender)
        for person in after.get("users", {}):
            changed = new.level_of(person) != before.get("users", {}).get(person)
            self.assertFalse(changed and new.level_of(person) > own)
        for person, level in before.get("users", {}).items():
            if level >= own and person != sender:
                self.assertEqual(after.get("users", {}).get(person), level)
        for name in SINGLE:
            if before.get(name, own) > own:
                self.assertEqual(before[name], after.get(name))

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(WITH_FLOATS), contents_of(written), contents_of(written), people)
    def test_however_levels_are_written_the_same_changes_are_allowed(
        self, version_id: str, before: dict[str, Any], after: dict[str, Any], sender: str
    ) -> None:
        def allowed(before: dict[str, Any], after: dict[str, Any]) -> bool:
            try:
                check_change(PowerLevels.of(before, VERSIONS[version_id], ()), after, sender)
            except Forbidden:
                return False
            return True

        self.assertEqual(allowed(before, after), allowed(_plain(before), _plain(after)))

    @settings(deadline=None, max_examples=300)
    @given(contents, contents, people, st.integers(0, 5))
    def test_more_power_never_allows_less(
        self, before: dict[str, Any], after: dict[str, Any], sender: str, more: int
    ) -> None:
        """Whoever may make a change may make it with a higher level, all else equal."""
        users = {k: v for k, v in before.get("users", {}).items() if k != sender}
        target = {k: v for k, v in after.get("users", {}).items() if k != sender}

        def allowed(level: int) -> bool:
            own = {sender: level}
            old = PowerLevels.of({**before, "users": {**users, **own}}, VERSIONS["11"], ())
            try:
                check_change(old, {**after, "users": {**target, **own}}, sender)
            except Forbidden:
                return False
            return True

        self.assertFalse(allowed(2) and not allowed(2 + more))

    @settings(deadline=None, max_examples=400)
    @given(
        st.sampled_from(list(VERSIONS.values())),
        st.sampled_from(["m.room.create", "m.room.member", TYPE, "m.room.third_party_invite", "x"]),
        people,
        st.none() | people | st.text(max_size=5),
        odd_contents,
        odd_contents,
        odd_contents,
    )
    def test_any_content_is_allowed_or_forbidden_and_nothing_else(
        self,
        version: Any,
        event_type: str,
        sender: str,
        state_key: str | None,
        content: dict[str, Any],
        in_levels: dict[str, Any],
        in_join_rules: dict[str, Any],
    ) -> None:
        room = Room(version.id).member("join", BOB).member("invite", CAROL)
        room.version = version
        room.put(TYPE, "", **in_levels).put("m.room.join_rules", "", **in_join_rules)
        room.put("m.room.third_party_invite", "", BOB, public_keys=in_join_rules.get("users"))
        draft = Draft(event_type, sender, room.id, content, state_key)
        keys = auth_event_keys(version, draft)
        self.assertEqual(len(keys), len(set(keys)))
        try:
            check(version, draft, room)
        except Forbidden as refusal:
            self.assertTrue(refusal.error)
