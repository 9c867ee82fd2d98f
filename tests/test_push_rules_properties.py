"""A person changes their push rules: what is refused, what comes first, what is stored."""

from typing import Any
from unittest import TestCase

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.push.evaluate import Rulebook
from homeserver.push.rules import (
    KINDS,
    MAX_RULES,
    MAX_SEARCH,
    MAX_SIZE,
    MAX_TEXT,
    Ruleset,
)
from schema.errors import (
    BadJson,
    BadRequest,
    InvalidParam,
    MatrixError,
    MissingParam,
    NotFound,
    TooLarge,
)

ALICE = "@alice:hearth.example"
BOB = "@bob:hearth.example"
HIGHLIGHT = {"set_tweak": "highlight"}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
ALMOST_CONDITION = st.dictionaries(
    st.sampled_from(["kind", "key", "pattern", "value", "is"]),
    ANY_JSON
    | st.sampled_from(
        [
            "event_match",
            "event_property_is",
            "event_property_contains",
            "room_member_count",
            "sender_notification_permission",
            "contains_display_name",
            "content.body",
            "a*b?",
            "<=3",
            "9" * 5000,
        ]
    ),
)
ALMOST_BODY = ANY_JSON | st.fixed_dictionaries(
    {},
    optional={
        "actions": ANY_JSON | st.lists(st.sampled_from(["notify", "dont_notify", HIGHLIGHT])),
        "conditions": ANY_JSON | st.lists(ANY_JSON | ALMOST_CONDITION, max_size=3),
        "pattern": ANY_JSON,
        "extra": ANY_JSON,
    },
)
RULE_IDS = st.sampled_from(["one", "two", "three", ".m.rule.master"])


def override(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"actions": ["notify"], "conditions": list(conditions)}


def ids(ruleset: Ruleset, kind: str) -> list[str]:
    return [rule["rule_id"] for rule in ruleset.as_json(ALICE)[kind]]


class PredefinedRules(TestCase):
    """Client-server API v1.19, "Predefined Rules"."""

    def test_they_come_in_the_order_of_the_specification(self) -> None:
        rules = Ruleset()
        self.assertEqual(
            ids(rules, "override"),
            [
                ".m.rule.master",
                ".m.rule.suppress_notices",
                ".m.rule.invite_for_me",
                ".m.rule.member_event",
                ".m.rule.is_user_mention",
                ".m.rule.is_room_mention",
                ".m.rule.tombstone",
                ".m.rule.reaction",
                ".m.rule.room.server_acl",
                ".m.rule.suppress_edits",
                ".org.matrix.msc3930.rule.poll_response",
            ],
        )
        self.assertEqual(
            ids(rules, "underride"),
            [
                ".m.rule.call",
                ".m.rule.encrypted_room_one_to_one",
                ".m.rule.room_one_to_one",
                ".m.rule.message",
                ".m.rule.encrypted",
                ".org.matrix.msc3930.rule.poll_start_one_to_one",
                ".org.matrix.msc3930.rule.poll_start",
                ".org.matrix.msc3930.rule.poll_end_one_to_one",
                ".org.matrix.msc3930.rule.poll_end",
            ],
        )
        self.assertEqual([ids(rules, kind) for kind in ("content", "room", "sender")], [[], [], []])

    def test_everybody_reads_their_own_id_in_them(self) -> None:
        for user_id in (ALICE, BOB):
            self.assertEqual(
                Ruleset().get_rule("override", ".m.rule.is_user_mention").as_json(user_id),
                {
                    "rule_id": ".m.rule.is_user_mention",
                    "default": True,
                    "enabled": True,
                    "conditions": [
                        {
                            "kind": "event_property_contains",
                            "key": "content.m\\.mentions.user_ids",
                            "value": user_id,
                        }
                    ],
                    "actions": ["notify", {"set_tweak": "sound", "value": "default"}, HIGHLIGHT],
                },
            )

    def test_only_the_master_rule_is_disabled(self) -> None:
        rules = [rule for kind in KINDS for rule in Ruleset().as_json(ALICE)[kind]]
        disabled = [rule["rule_id"] for rule in rules if not rule["enabled"]]
        self.assertEqual(disabled, [".m.rule.master"])

    def test_own_rules_stand_between_the_master_rule_and_the_others(self) -> None:
        rules = Ruleset().put_rule("override", "mine", override())
        expected = [".m.rule.master", "mine", ".m.rule.suppress_notices"]
        self.assertEqual(ids(rules, "override")[:3], expected)

    def test_one_can_be_changed_but_not_deleted_nor_replaced(self) -> None:
        louder = Ruleset().set_actions("underride", ".m.rule.message", ["notify", HIGHLIGHT])
        rule = louder.get_rule("underride", ".m.rule.message").as_json(ALICE)
        self.assertEqual((rule["actions"], rule["default"]), (["notify", HIGHLIGHT], True))
        with self.assertRaises(InvalidParam):
            louder.delete_rule("underride", ".m.rule.message")
        with self.assertRaises(InvalidParam):
            louder.put_rule("underride", ".m.rule.message", override())

    def test_one_that_is_unknown_is_not_found(self) -> None:
        for kind, rule_id in (
            ("override", ".m.rule.roomnotif"),
            ("content", ".m.rule.contains_user_name"),
            ("underride", ".m.rule.master"),
            ("nonsense", ".m.rule.master"),
        ):
            for change in (
                lambda rules, *rule: rules.get_rule(*rule),
                lambda rules, *rule: rules.delete_rule(*rule),
                lambda rules, *rule: rules.set_enabled(*rule, True),
                lambda rules, *rule: rules.set_actions(*rule, []),
            ):
                with self.subTest(kind=kind, rule_id=rule_id), self.assertRaises(NotFound):
                    change(Ruleset(), kind, rule_id)

    def test_whoever_takes_a_change_back_has_the_rule_set_of_all_others(self) -> None:
        changed = Ruleset().set_enabled("override", ".m.rule.master", True)
        self.assertNotEqual(changed, Ruleset())
        back = changed.set_enabled("override", ".m.rule.master", False)
        self.assertEqual(back, Ruleset())
        rulebook = Rulebook()
        self.assertIs(rulebook.compiled(back), rulebook.compiled(Ruleset()))


class OwnRules(TestCase):
    def test_a_new_one_is_enabled_and_comes_first(self) -> None:
        rules = Ruleset()
        for rule_id in ("tea", "time"):
            rules = rules.put_rule("content", rule_id, {"pattern": rule_id, "actions": ["notify"]})
        self.assertEqual(
            rules.as_json(ALICE)["content"],
            [
                {
                    "rule_id": rule_id,
                    "default": False,
                    "enabled": True,
                    "actions": ["notify"],
                    "pattern": rule_id,
                }
                for rule_id in ("time", "tea")
            ],
        )

    def test_a_replaced_one_stays_where_it_is_and_disabled(self) -> None:
        rules = Ruleset()
        for rule_id in ("a", "b", "c"):
            rules = rules.put_rule("sender", rule_id, {"actions": []})
        rules = rules.set_enabled("sender", "b", False)
        rules = rules.put_rule("sender", "b", {"actions": ["notify"]})
        self.assertEqual(ids(rules, "sender"), ["c", "b", "a"])
        rule = rules.get_rule("sender", "b")
        self.assertEqual((rule.enabled, rule.actions), (False, ["notify"]))

    def test_before_is_more_important_and_wins_over_after(self) -> None:
        rules = Ruleset()
        for rule_id in ("a", "b", "c"):
            rules = rules.put_rule("room", rule_id, {"actions": []})
        place = rules.put_rule
        body: dict[str, Any] = {"actions": []}
        self.assertEqual(ids(place("room", "x", body, before="a"), "room"), ["c", "b", "x", "a"])
        self.assertEqual(ids(place("room", "x", body, after="c"), "room"), ["c", "x", "b", "a"])
        both = place("room", "x", body, before="a", after="c")
        self.assertEqual(ids(both, "room"), ["c", "b", "x", "a"])
        self.assertEqual(ids(place("room", "a", body, before="c"), "room"), ["a", "c", "b"])
        self.assertEqual(ids(place("room", "a", body, after="a"), "room"), ["c", "b", "a"])

    def test_a_disabled_one_is_stored_as_disabled(self) -> None:
        rules = Ruleset().put_rule("room", "!a:b", {"actions": []})
        stored = rules.set_enabled("room", "!a:b", False).dump()
        self.assertFalse(Ruleset.load(stored).get_rule("room", "!a:b").enabled)

    def test_whoever_deletes_them_all_has_the_rule_set_of_all_others(self) -> None:
        rules = Ruleset().put_rule("room", "!a:b", {"actions": []})
        self.assertEqual(rules.delete_rule("room", "!a:b"), Ruleset())

    def test_two_sets_are_equal_whatever_came_first(self) -> None:
        calls = ("set_enabled", "underride", ".m.rule.call", False)
        quiet = ("set_enabled", "underride", ".m.rule.message", False)
        room = ("put_rule", "room", "!a:b", {"actions": [{"set_tweak": "sound", "value": "x"}]})
        cake = ("put_rule", "content", "cake", {"pattern": "cake", "actions": []})
        turned = ("put_rule", "room", "!a:b", {"actions": [{"value": "x", "set_tweak": "sound"}]})
        one, other = Ruleset(), Ruleset()
        for name, *change in (calls, quiet, room, cake):
            one = getattr(one, name)(*change)
        for name, *change in (cake, turned, quiet, calls):
            other = getattr(other, name)(*change)
        self.assertEqual((one, hash(one)), (other, hash(other)))

    def test_no_place_beside_a_rule_that_is_not_there_or_predefined(self) -> None:
        for name in ("before", "after"):
            with self.assertRaises(BadRequest) as caught:
                Ruleset().put_rule("override", "x", override(), **{name: "y"})
            self.assertEqual(caught.exception.errcode, "M_UNKNOWN")
            with self.assertRaises(InvalidParam):
                Ruleset().put_rule("override", "x", override(), **{name: ".m.rule.master"})

    def test_historical_actions_are_no_actions(self) -> None:
        rules = Ruleset().put_rule("room", "!a:b", {"actions": ["dont_notify", "coalesce"]})
        self.assertEqual(rules.get_rule("room", "!a:b").actions, [])
        rules = rules.set_actions("room", "!a:b", ["notify", "coalesce"])
        self.assertEqual(rules.get_rule("room", "!a:b").actions, ["notify"])

    def test_unknown_conditions_are_kept(self) -> None:
        condition = {"kind": "im.nheko.msc3664.related_event_match", "pattern": 5, "key": "sender"}
        rules = Ruleset().put_rule("override", "reply", override(condition))
        stored = rules.get_rule("override", "reply").as_json(ALICE)
        self.assertEqual(stored["conditions"], [condition])

    def test_what_is_refused(self) -> None:
        match = {"kind": "event_match", "key": "type"}
        deep: Any = []
        for _ in range(300):
            deep = [deep]
        for kind, rule_id, body, refusal in (
            ("nonsense", "x", override(), InvalidParam),
            ("override", "", override(), InvalidParam),
            ("override", "a/b", override(), InvalidParam),
            ("override", "a\\b", override(), InvalidParam),
            ("override", "x" * (MAX_TEXT + 1), override(), InvalidParam),
            ("override", "x", [], BadJson),
            ("override", "x", {}, MissingParam),
            ("override", "x", {"actions": "notify"}, BadJson),
            ("override", "x", {"actions": [1]}, BadJson),
            ("override", "x", {"actions": ["ring"]}, InvalidParam),
            ("override", "x", {"actions": [{}]}, MissingParam),
            ("override", "x", {"actions": [{"set_tweak": 5}]}, BadJson),
            ("override", "x", {"actions": [{"set_tweak": "x", "value": deep}]}, BadJson),
            ("override", "x", {"actions": [], "conditions": {}}, BadJson),
            ("override", "x", override("x"), BadJson),
            ("override", "x", override({}), MissingParam),
            ("override", "x", override({"kind": "unknown", "x": deep}), BadJson),
            ("override", "x", override(match), MissingParam),
            ("override", "x", override({**match, "pattern": 5}), BadJson),
            ("override", "x", override({**match, "pattern": "x" * 256}), InvalidParam),
            ("override", "x", override({**match, "kind": "event_property_is"}), MissingParam),
            (
                "override",
                "x",
                override({"kind": "event_property_is", "key": "a", "value": 1.5}),
                InvalidParam,
            ),
            (
                "override",
                "x",
                override({"kind": "event_property_contains", "key": "a", "value": 2**53}),
                InvalidParam,
            ),
            ("override", "x", override({"kind": "room_member_count", "is": "=2"}), InvalidParam),
            ("override", "x", override({"kind": "room_member_count", "is": 2}), BadJson),
            ("override", "x", override({"kind": "sender_notification_permission"}), MissingParam),
            ("content", "x", {"actions": []}, MissingParam),
            ("content", "x", {"actions": [], "pattern": None}, BadJson),
        ):
            with self.subTest(kind=kind, rule_id=rule_id, body=body), self.assertRaises(refusal):
                Ruleset().put_rule(kind, rule_id, body)
        with self.assertRaises(BadJson):
            Ruleset().set_enabled("override", ".m.rule.master", 1)
        with self.assertRaises(BadJson):
            Ruleset().set_actions("override", ".m.rule.master", None)

    def test_nobody_has_too_many_of_them(self) -> None:
        rules = Ruleset(
            {"sender": tuple(rule(f"@{number}:x") for number in range(MAX_RULES))},
        )
        with self.assertRaises(TooLarge):
            rules.put_rule("room", "!one:more", {"actions": []})
        fewer = rules.delete_rule("sender", "@7:x")
        fewer.put_rule("room", "!one:more", {"actions": []})

    def test_nobody_has_too_large_ones(self) -> None:
        tweak = {"set_tweak": "sound", "value": "x" * MAX_SIZE}
        with self.assertRaises(TooLarge):
            Ruleset().put_rule("room", "!a:b", {"actions": [tweak]})
        with self.assertRaises(TooLarge):
            Ruleset().set_actions("underride", ".m.rule.call", [tweak])

    def test_nobody_has_too_much_searched_for(self) -> None:
        rules = Ruleset()
        for number in range(MAX_SEARCH):
            rules = rules.put_rule("content", f"{number}", {"pattern": "word", "actions": []})
        with self.assertRaises(TooLarge):
            rules.put_rule("content", "more", {"pattern": "word", "actions": []})
        match = {"kind": "event_match", "key": "sender", "pattern": "@*:x"}
        with self.assertRaises(TooLarge):
            rules.put_rule("override", "more", override(match))
        # What is only compared costs nothing.
        rules.put_rule("override", "more", override({**match, "pattern": "@a:x"}))
        with self.assertRaises(TooLarge):
            Ruleset().put_rule("content", "x", {"pattern": "?" * 201, "actions": []})


def rule(rule_id: str) -> Any:
    return Ruleset().put_rule("sender", rule_id, {"actions": []}).get_rule("sender", rule_id)


class AnyChange(TestCase):
    @settings(deadline=None)
    @given(st.sampled_from(KINDS), st.text(max_size=5), ALMOST_BODY)
    def test_any_rule_is_refused_or_can_be_used(self, kind: str, rule_id: str, body: Any) -> None:
        try:
            rules = Ruleset().put_rule(kind, rule_id, body)
        except MatrixError as refusal:
            self.assertIn(refusal.status, (400, 413))
            return
        Rulebook().compiled(rules)
        self.assertEqual(orjson.loads(orjson.dumps(rules.as_json(ALICE))), rules.as_json(ALICE))

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "delete", "enable", "disable", "actions"]),
                st.sampled_from(["override", "room"]),
                RULE_IDS,
                st.none() | RULE_IDS,
                st.none() | RULE_IDS,
            ),
            max_size=15,
        )
    )
    def test_a_list_of_rules_behaves_the_same(self, changes: list[tuple[Any, ...]]) -> None:
        rules = Ruleset()
        model = Ruleset().as_json(ALICE)
        for number, (change, kind, rule_id, before, after) in enumerate(changes):
            actions = [{"set_tweak": "sound", "value": number}]
            listed = [rule["rule_id"] for rule in model[kind]]
            try:
                if change == "put":
                    body = {"actions": actions, "conditions": []}
                    rules = rules.put_rule(kind, rule_id, body, before, after)
                elif change == "delete":
                    rules = rules.delete_rule(kind, rule_id)
                elif change == "actions":
                    rules = rules.set_actions(kind, rule_id, actions)
                else:
                    rules = rules.set_enabled(kind, rule_id, change == "enable")
            except MatrixError:
                own = [name for name in listed if not name.startswith(".")]
                neighbours = {before, after} - {None}
                refused = (
                    rule_id.startswith(".") or not neighbours <= {*own}
                    if change == "put"
                    else rule_id not in (own if change == "delete" else listed)
                )
                self.assertTrue(refused)
                continue
            change_model(model[kind], change, kind, rule_id, before, after, actions)
            self.assertEqual(rules.as_json(ALICE), model)
            again = Ruleset.load(rules.dump())
            self.assertEqual((again, hash(again)), (rules, hash(rules)))
            self.assertEqual(again.as_json(BOB), rules.as_json(BOB))


def change_model(
    listed: list[dict[str, Any]],
    change: str,
    kind: str,
    rule_id: str,
    before: str | None,
    after: str | None,
    actions: list[Any],
) -> None:
    """The same change to the plain JSON."""
    names = [rule["rule_id"] for rule in listed]
    if change != "put":
        index = names.index(rule_id)
        if change == "delete":
            del listed[index]
        elif change == "actions":
            listed[index]["actions"] = actions
        else:
            listed[index]["enabled"] = change == "enable"
        return
    new = {"rule_id": rule_id, "default": False, "enabled": True, "actions": actions}
    if kind != "room":
        new["conditions"] = []
    if rule_id in names:
        new["enabled"] = listed[names.index(rule_id)]["enabled"]
    neighbour = before or after
    if neighbour is None and rule_id not in names:
        listed.insert(1 if kind == "override" else 0, new)
    elif neighbour in (None, rule_id):
        listed[names.index(rule_id)] = new
    else:
        listed[:] = [rule for rule in listed if rule["rule_id"] != rule_id]
        names = [rule["rule_id"] for rule in listed]
        listed.insert(names.index(neighbour) + (0 if before else 1), new)
