"""Who is notified of what: stories, and a slow model that asks every member."""

import gc
from functools import cache
from time import process_time
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.push.conditions import PushEvent, RoomFacts
from homeserver.push.evaluate import (
    Audience,
    Case,
    CompiledRules,
    Member,
    Rulebook,
    Verdict,
    evaluate,
)
from homeserver.push.patterns import contains_words, fold, property_path, whole, words
from homeserver.push.rules import KINDS, MAX_TEXT, Ruleset

ALICE = "@alice:hearth.example"
BOB = "@bob:hearth.example"
CAROL = "@carol:hearth.example"
DAVE = "@dave:hearth.example"
ROOM = "!hall:hearth.example"

SOUND = {"set_tweak": "sound", "value": "default"}
HIGHLIGHT = {"set_tweak": "highlight"}
DEFAULT = Ruleset()
WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def message(sender: str = ALICE, **content: Any) -> dict[str, Any]:
    return event("m.room.message", {"msgtype": "m.text", "body": "hello", **content}, sender)


def event(
    event_type: str, content: dict[str, Any], sender: str = ALICE, **fields: Any
) -> dict[str, Any]:
    return {
        "type": event_type,
        "sender": sender,
        "room_id": ROOM,
        "event_id": "$event",
        "origin_server_ts": 1,
        "content": content,
        **fields,
    }


def judge(
    sent: dict[str, Any],
    rules: Ruleset = DEFAULT,
    members: int = 5,
    name: str | None = None,
    **facts: Any,
) -> Verdict:
    """What ``sent`` means to Bob."""
    bob = Member(BOB, name, Rulebook().compiled(rules))
    room = RoomFacts(members, **{"sender_power_level": 0, **facts})
    return evaluate(PushEvent(sent), room, Audience([bob])).verdict(bob)


def matches(condition: dict[str, Any], sent: dict[str, Any], **more: Any) -> bool:
    body = {"actions": ["notify"], "conditions": [condition]}
    verdict = judge(sent, Ruleset().put_rule("override", "mine", body), **more)
    return verdict.rule_id == "mine"


class PredefinedRules(TestCase):
    def expect(self, rule_id: str | None, actions: list[Any], verdict: Verdict) -> None:
        self.assertEqual((verdict.rule_id, verdict.actions), (rule_id, actions))
        self.assertEqual(verdict.notify, "notify" in actions)
        self.assertEqual(verdict.highlight, "notify" in actions and HIGHLIGHT in actions)

    def test_messages_notify_and_ring_in_a_conversation_of_two(self) -> None:
        encrypted = event("m.room.encrypted", {"ciphertext": "x"})
        one_to_one = ["notify", SOUND]
        self.expect(".m.rule.message", ["notify"], judge(message()))
        self.expect(".m.rule.encrypted", ["notify"], judge(encrypted))
        self.expect(".m.rule.room_one_to_one", one_to_one, judge(message(), members=2))
        self.expect(".m.rule.encrypted_room_one_to_one", one_to_one, judge(encrypted, members=2))
        ring = ["notify", {"set_tweak": "sound", "value": "ring"}]
        self.expect(".m.rule.call", ring, judge(event("m.call.invite", {})))
        self.expect(None, [], judge(event("org.example.other", {})))

    def test_what_stays_quiet(self) -> None:
        replacement = {"m.relates_to": {"rel_type": "m.replace", "event_id": "$a"}}
        for rule_id, sent in (
            (".m.rule.suppress_notices", message(msgtype="m.notice")),
            (".m.rule.suppress_edits", message(**replacement)),
            (".m.rule.reaction", event("m.reaction", {})),
            (".m.rule.room.server_acl", event("m.room.server_acl", {}, state_key="")),
            (".m.rule.member_event", event("m.room.member", {}, state_key=CAROL)),
        ):
            self.expect(rule_id, [], judge(sent))

    def test_a_poll_notifies_when_it_begins_and_ends_and_not_for_each_vote(self) -> None:
        rule = ".org.matrix.msc3930.rule.poll"
        for moment in ("start", "end"):
            sent = event(f"org.matrix.msc3381.poll.{moment}", {})
            self.expect(f"{rule}_{moment}", ["notify"], judge(sent))
            alone = judge(sent, members=2)
            self.expect(f"{rule}_{moment}_one_to_one", ["notify", SOUND], alone)
        vote = event("org.matrix.msc3381.poll.response", {})
        self.expect(f"{rule}_response", [], judge(vote, members=2))

    def test_a_mention_highlights(self) -> None:
        sent = message(**{"m.mentions": {"user_ids": [BOB]}})
        self.expect(".m.rule.is_user_mention", ["notify", SOUND, HIGHLIGHT], judge(sent))
        self.assertEqual(judge(sent).tweaks, {"sound": "default", "highlight": True})
        for odd in ({"user_ids": BOB}, {"user_ids": [[BOB], {}, None]}, [BOB], {}):
            verdict = judge(message(**{"m.mentions": odd}, body=f"Bob {BOB} bob"), name="Bob")
            self.expect(".m.rule.message", ["notify"], verdict)

    def test_the_room_is_mentioned_only_by_those_who_may(self) -> None:
        sent = message(**{"m.mentions": {"room": True}})
        room_mention = ["notify", HIGHLIGHT]
        mention = ".m.rule.is_room_mention"
        self.expect(".m.rule.message", ["notify"], judge(sent, sender_power_level=49))
        self.expect(mention, room_mention, judge(sent, sender_power_level=50))
        lowered = judge(sent, sender_power_level=20, notifications={"room": 20})
        self.expect(mention, room_mention, lowered)
        odd = judge(sent, sender_power_level=49, notifications={"room": "0"})
        self.expect(".m.rule.message", ["notify"], odd)
        self.assertFalse(
            judge(message(**{"m.mentions": {"room": 1}}), sender_power_level=100).highlight
        )

    def test_an_upgraded_room_highlights(self) -> None:
        sent = event("m.room.tombstone", {}, state_key="")
        self.expect(".m.rule.tombstone", ["notify", HIGHLIGHT], judge(sent))
        self.expect(None, [], judge(event("m.room.tombstone", {})))

    def test_an_invitation_rings_for_the_invited_only(self) -> None:
        book = Rulebook()
        bob, carol = (Member(user_id, None, book.compiled(DEFAULT)) for user_id in (BOB, CAROL))
        sent = PushEvent(event("m.room.member", {"membership": "invite"}, state_key=CAROL))
        outcome = evaluate(sent, RoomFacts(2, 100), Audience([bob]), invited=carol)
        self.expect(".m.rule.invite_for_me", ["notify", SOUND], outcome.verdict(carol))
        self.expect(".m.rule.member_event", [], outcome.verdict(bob))

    def test_nobody_is_notified_of_their_own_events(self) -> None:
        everything = Ruleset().put_rule("override", "all", {"actions": ["notify", HIGHLIGHT]})
        sent = message(sender=BOB, **{"m.mentions": {"user_ids": [BOB]}})
        self.expect(None, [], judge(sent, everything))

    def test_the_master_rule_stops_everything(self) -> None:
        quiet = (
            Ruleset()
            .put_rule("override", "all", {"actions": ["notify"]})
            .set_enabled("override", ".m.rule.master", True)
        )
        self.expect(".m.rule.master", [], judge(message(), quiet))


class OwnRules(TestCase):
    def test_the_most_important_kind_decides(self) -> None:
        rules = Ruleset()
        bodies: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("underride", "u", {}),
            ("sender", ALICE, {}),
            ("room", ROOM, {}),
            ("content", "c", {"pattern": "hel*"}),
            ("override", "o", {}),
        )
        for kind, rule_id, body in bodies:
            tweak = {"set_tweak": "sound", "value": kind}
            rules = rules.put_rule(kind, rule_id, {**body, "actions": ["notify", tweak]})
            self.assertEqual(judge(message(), rules).tweaks, {"sound": kind})
        for kind, rule_id, _ in reversed(bodies):
            self.assertEqual(judge(message(), rules).rule_id, rule_id)
            rules = rules.set_enabled(kind, rule_id, False)
        self.assertEqual(judge(message(), rules).rule_id, ".m.rule.message")

    def test_a_highlight_needs_a_notification(self) -> None:
        for actions, highlight, tweaks in (
            ([HIGHLIGHT], False, {"highlight": True}),
            (["notify", {**HIGHLIGHT, "value": False}], False, {"highlight": False}),
            (["notify", HIGHLIGHT], True, {"highlight": True}),
            (["notify", {"set_tweak": "flash"}], False, {}),
        ):
            rules = Ruleset().set_actions("underride", ".m.rule.message", actions)
            verdict = judge(message(), rules)
            self.assertEqual((verdict.highlight, verdict.tweaks), (highlight, tweaks))

    def test_event_match(self) -> None:
        topic = {"kind": "event_match", "key": "content.topic", "pattern": "lunc?*"}
        for value, found in (
            ("Lunch plans", True),
            ("LUNCH", True),
            (" lunch", False),
            ("lunc", False),
            (None, False),
            (["lunch"], False),
        ):
            with self.subTest(value):
                self.assertEqual(matches(topic, event("m.room.topic", {"topic": value})), found)
        self.assertFalse(matches({**topic, "pattern": "*"}, event("m.room.topic", {})))

    def test_event_match_in_the_body_finds_words(self) -> None:
        body = {"kind": "event_match", "key": "content.body"}
        for pattern, text, found in (
            ("ex*ple", "An example event.", True),
            ("ex*ple", "exple", True),
            ("ex*ple", "An exciting triple-whammy", True),
            ("ex*ple", "lexample", False),
            ("ex*ple", "examples", False),
            ("ex*ple", "exa\nmple", True),
            ("ti?e", "ti\ne", True),
            ("tea", "It's time for TEA!", True),
            ("tea", "I like steak", False),
        ):
            with self.subTest(pattern=pattern, text=text):
                self.assertEqual(matches({**body, "pattern": pattern}, message(body=text)), found)

    def test_event_property_is_compares_types_too(self) -> None:
        federate = {"kind": "event_property_is", "key": r"content.m\.federate", "value": True}
        for condition, value, found in (
            (True, True, True),
            (True, "true", False),
            (True, 1, False),
            (1, True, False),
            (None, None, True),
            (5, 5, True),
            ("x", "x", True),
            ("x", "X", False),
        ):
            with self.subTest(condition=condition, value=value):
                sent = event("m.room.create", {"m.federate": value})
                self.assertEqual(matches({**federate, "value": condition}, sent), found)
        self.assertFalse(matches({**federate, "value": None}, event("m.room.create", {})))

    def test_event_property_contains(self) -> None:
        aliases = {"kind": "event_property_contains", "key": "content.alt_aliases"}
        for value, found in (("#myroom:example.com", True), (":example.com", False), (1, False)):
            sent = event("x", {"alt_aliases": ["#a:b", "#myroom:example.com", True, {}]})
            self.assertEqual(matches({**aliases, "value": value}, sent), found)
        self.assertFalse(matches({**aliases, "value": "#"}, event("x", {"alt_aliases": "#"})))

    def test_room_member_count(self) -> None:
        for text, counts in (
            ("2", {2}),
            ("==2", {2}),
            ("<2", {0, 1}),
            (">2", {3, 4}),
            ("<=2", {0, 1, 2}),
            (">=2", {2, 3, 4}),
        ):
            condition = {"kind": "room_member_count", "is": text}
            found = {count for count in range(5) if matches(condition, message(), members=count)}
            self.assertEqual(found, counts)

    def test_display_names_are_found_as_words(self) -> None:
        condition = {"kind": "contains_display_name"}
        for name, body, found in (
            ("Bob", "hey BOB!", True),
            ("Bob", "bobsled", False),
            ("B*b", "Blob", False),
            ("B*b", "a b*b", True),
            ("(", "a (", True),
            ("", "anything", False),
            (None, "None", False),
            ("Bob", "bobs, bob", True),
        ):
            with self.subTest(name=name, body=body):
                self.assertEqual(matches(condition, message(body=body), name=name), found)
        self.assertFalse(matches(condition, message(body=["Bob"]), name="Bob"))

    def test_what_is_unknown_never_matches(self) -> None:
        self.assertFalse(matches({"kind": "org.example.moon_phase"}, message()))

    def test_paths_are_unescaped(self) -> None:
        for key, path in (
            ("content.body", ("content", "body")),
            (r"content.m\.relates_to.x", ("content", "m.relates_to", "x")),
            (r"content.m\\foo", ("content", r"m\foo")),
            (r"content.m\xfoo", ("content", r"m\xfoo")),
            ("a..b", ("a", "", "b")),
            ("\\", ("\\",)),
            (r"a\\.b", ("a\\", "b")),
        ):
            self.assertEqual(property_path(key), path)


class Cost(TestCase):
    def test_500_members_with_equal_rules_are_judged_once(self) -> None:
        book = Rulebook()
        crowd = Audience(
            Member(f"@person{number}:hearth.example", f"Person {number}", book.compiled(Ruleset()))
            for number in range(500)
        )
        for sent, times in (
            (message(), 1),
            (message(**{"m.mentions": {"user_ids": ["@person7:hearth.example", DAVE]}}), 2),
        ):
            with patch.object(
                CompiledRules, "judge", autospec=True, side_effect=CompiledRules.judge
            ) as judged:
                outcome = evaluate(PushEvent(sent), RoomFacts(500, 0), crowd)
            self.assertEqual(judged.call_count, times)
            self.assertEqual((len(outcome.common), len(outcome.personal)), (1, times - 1))

    def test_predefined_rules_are_looked_at_once_for_all(self) -> None:
        book = Rulebook()
        rules = [
            book.compiled(Ruleset().put_rule("room", f"!{number}:x", {"actions": []}))
            for number in range(50)
        ]
        crowd = Audience(
            Member(f"@person{number}:hearth.example", "hello", each)
            for number, each in enumerate(rules)
        )
        with (
            patch.object(Case, "matching", autospec=True, side_effect=Case.matching) as asked,
            patch("homeserver.push.evaluate.contains_words") as searched,
        ):
            evaluate(PushEvent(message()), RoomFacts(50, 0), crowd)
        # Override and underride: the own ones of everybody, and the predefined ones.
        self.assertEqual(asked.call_count, 2 * 50 + 2)
        searched.assert_not_called()
        mentioned = message(**{"m.mentions": {"user_ids": [*crowd.members]}})
        with patch.object(Case, "matching", autospec=True, side_effect=Case.matching) as asked:
            evaluate(PushEvent(mentioned), RoomFacts(50, 0), crowd)
        # And the override rules once more for those who are mentioned.
        self.assertEqual(asked.call_count, 2 * 50 + 2 + 50 + 1)

    def test_compiled_rules_go_with_the_last_who_has_them(self) -> None:
        book = Rulebook()
        rules = Ruleset().put_rule("room", ROOM, {"actions": []})
        compiled = book.compiled(rules)
        self.assertIs(book.compiled(Ruleset.load(rules.dump())), compiled)
        gone = id(compiled)
        del compiled
        gc.collect()
        self.assertNotIn(gone, map(id, book._compiled.values()))
        self.assertEqual(len(book._compiled), 0)

    def test_hostile_patterns_take_no_time(self) -> None:
        longest = 60_000
        for pattern, text in (
            ("*a" * 127 + "b", "a" * longest),
            ("a?" * 127 + "b", "a" * longest),
            ("?" * MAX_TEXT, "a-" * (longest // 2)),
            ("aa-" * 84 + "a", "-aa" * (longest // 3)),
            ("a*" * 127 + "?b", "aaaa " * (longest // 5)),
        ):
            started = process_time()
            found = words(pattern).matches(text), whole(pattern).matches(text)
            self.assertLess(process_time() - started, 0.5, pattern)
            self.assertEqual(found[1], False, pattern)
        self.assertFalse(contains_words("-aa" * (longest // 3), "aa-" * 84 + "a"))


LETTERS = st.text("ab_- é\n", max_size=8)
PATTERNS = st.text("aAb_- é*?", max_size=6)


def slow_glob(pattern: str, text: str) -> bool:
    @cache
    def found(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(text)
        if pattern[i] == "*":
            return found(i + 1, j) or (j < len(text) and found(i, j + 1))
        return j < len(text) and pattern[i] in ("?", text[j]) and found(i + 1, j + 1)

    return found(0, 0)


def slow_words(pattern: str, text: str) -> bool:
    edges = [
        index
        for index in range(len(text) + 1)
        if index in (0, len(text)) or text[index - 1] not in WORD or text[index] not in WORD
    ]
    return any(slow_glob(pattern, text[i:j]) for i in edges for j in edges if i <= j)


class Patterns(TestCase):
    @settings(deadline=None)
    @given(PATTERNS, LETTERS)
    def test_they_match_like_the_slow_model(self, pattern: str, text: str) -> None:
        self.assertEqual(whole(pattern).matches(fold(text)), slow_glob(fold(pattern), fold(text)))
        self.assertEqual(words(pattern).matches(fold(text)), slow_words(fold(pattern), fold(text)))

    @settings(deadline=None)
    @given(st.text("ab_- é", min_size=1, max_size=3), LETTERS)
    def test_names_are_found_like_by_the_slow_model(self, name: str, text: str) -> None:
        self.assertEqual(contains_words(text, name), slow_words(name, text))

    @given(st.text())
    def test_folding_keeps_the_length(self, text: str) -> None:
        self.assertEqual(len(fold(text)), len(text))
        self.assertEqual(fold(fold(text)), fold(text))

    def test_folding_knows_more_than_english(self) -> None:
        for one, other in (("ÄRGER", "ärger"), ("ΟΔΟΣ", "οδος"), ("ПРИВЕТ", "привет")):
            self.assertEqual(fold(one), fold(other))
        self.assertTrue(whole("stra?e").matches(fold("STRAẞE")))
        self.assertTrue(whole("?stanbul").matches(fold("İSTANBUL")))


ACTIONS = st.lists(
    st.sampled_from(
        ["notify", HIGHLIGHT, {**HIGHLIGHT, "value": False}, SOUND, {"set_tweak": "x"}]
    ),
    max_size=3,
)
KEYS = st.sampled_from(
    [
        "type",
        "state_key",
        "sender",
        "room_id",
        "content",
        "content.body",
        "content.msgtype",
        r"content.m\.mentions.user_ids",
        r"content.m\.mentions.room",
        r"content.m\.relates_to.rel_type",
        "content.number",
        "content.missing.deeper",
    ]
)
VALUES = st.sampled_from([BOB, CAROL, "m.replace", "m.text", True, False, 1, 0, None, "a"])
CONDITIONS = st.one_of(
    st.builds(
        lambda key, pattern: {"kind": "event_match", "key": key, "pattern": pattern},
        KEYS,
        PATTERNS | st.sampled_from(["m.*", "M.room.message", BOB, ROOM, "!*", ""]),
    ),
    st.builds(
        lambda kind, key, value: {"kind": kind, "key": key, "value": value},
        st.sampled_from(["event_property_is", "event_property_contains"]),
        KEYS,
        VALUES,
    ),
    st.builds(
        lambda sign, number: {"kind": "room_member_count", "is": f"{sign}{number}"},
        st.sampled_from(["", "==", "<", ">", "<=", ">="]),
        st.integers(1, 4),
    ),
    st.builds(
        lambda key: {"kind": "sender_notification_permission", "key": key},
        st.sampled_from(["room", "other"]),
    ),
    st.sampled_from([{"kind": "contains_display_name"}, {"kind": "unknown"}]),
)
RULES = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(["a", "b", ROOM, ALICE, BOB]),
    ACTIONS,
    st.lists(CONDITIONS, max_size=2),
    PATTERNS,
    st.booleans(),
)
CHANGES = st.tuples(
    st.sampled_from(
        [(kind, rule["rule_id"]) for kind in KINDS for rule in Ruleset().as_json("")[kind]]
    ),
    st.none() | ACTIONS,
    st.booleans(),
)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "body": LETTERS | st.just(5),
        "msgtype": st.sampled_from(["m.text", "m.notice"]),
        "membership": st.sampled_from(["invite", "join"]),
        "number": st.sampled_from([0, 1, True, None, [1, True, None, "a"]]),
        "m.mentions": st.fixed_dictionaries(
            {},
            optional={
                "user_ids": st.lists(st.sampled_from([ALICE, BOB, CAROL, DAVE, 1, None]))
                | st.just(BOB),
                "room": st.sampled_from([True, False, 1]),
            },
        ),
        "m.relates_to": st.fixed_dictionaries(
            {}, optional={"rel_type": st.sampled_from(["m.replace", "m.thread"])}
        ),
    },
)
EVENTS = st.builds(
    lambda event_type, content, sender, state_key: event(
        event_type, content, sender, **({} if state_key is None else {"state_key": state_key})
    ),
    st.sampled_from(
        [
            "m.room.message",
            "m.room.encrypted",
            "m.room.member",
            "m.room.tombstone",
            "m.room.server_acl",
            "m.reaction",
            "m.call.invite",
        ]
    ),
    CONTENTS,
    st.sampled_from([ALICE, BOB]),
    st.sampled_from([None, "", BOB, CAROL, DAVE]),
)
ROOMS = st.builds(
    RoomFacts,
    st.integers(1, 4),
    st.sampled_from([0, 49, 50, 100]),
    st.dictionaries(st.sampled_from(["room", "other"]), st.sampled_from([0, 50, 60])),
)


@st.composite
def rulesets(draw: st.DrawFn) -> Ruleset:
    rules = Ruleset()
    for kind, rule_id, actions, conditions, pattern, enabled in draw(st.lists(RULES, max_size=5)):
        body = {"actions": actions, "conditions": conditions, "pattern": pattern}
        rules = rules.put_rule(kind, rule_id, body).set_enabled(kind, rule_id, enabled)
    for (kind, rule_id), actions, enabled in draw(st.lists(CHANGES, max_size=3)):
        rules = rules.set_enabled(kind, rule_id, enabled)
        if actions is not None:
            rules = rules.set_actions(kind, rule_id, actions)
    return rules


class SlowModel:
    """Judges by reading the JSON of GET /pushrules/, rule by rule, for one person."""

    def __init__(self, sent: dict[str, Any], room: RoomFacts) -> None:
        self.sent = sent
        self.room = room

    def judge(self, rules: dict[str, Any], user_id: str, name: str | None) -> dict[str, Any] | None:
        if self.sent["sender"] == user_id:
            return None
        for kind in ("override", "content", "room", "sender", "underride"):
            for rule in rules[kind]:
                if rule["enabled"] and self.matches(kind, rule, name):
                    return rule
        return None

    def matches(self, kind: str, rule: dict[str, Any], name: str | None) -> bool:
        match kind:
            case "room":
                return self.sent["room_id"] == rule["rule_id"]
            case "sender":
                return self.sent["sender"] == rule["rule_id"]
            case "content":
                return self.finds("content.body", rule["pattern"])
        return all(self.holds(condition, name) for condition in rule["conditions"])

    def holds(self, condition: dict[str, Any], name: str | None) -> bool:
        match condition["kind"]:
            case "event_match":
                return self.finds(condition["key"], condition["pattern"])
            case "event_property_is":
                return self.same(self.property(condition["key"]), condition["value"])
            case "event_property_contains":
                values = self.property(condition["key"])
                return isinstance(values, list) and any(
                    self.same(value, condition["value"]) for value in values
                )
            case "room_member_count":
                number = int(condition["is"].lstrip("=<>"))
                count = self.room.member_count
                return {
                    "": count == number,
                    "==": count == number,
                    "<": count < number,
                    ">": count > number,
                    "<=": count <= number,
                    ">=": count >= number,
                }[condition["is"].rstrip("0123456789")]
            case "sender_notification_permission":
                level = self.room.notifications.get(condition["key"], 50)
                return self.room.sender_power_level >= level
            case "contains_display_name":
                body = self.property("content.body")
                if not name or not isinstance(body, str):
                    return False
                return slow_words(fold(name), fold(body))
        return False

    def finds(self, key: str, pattern: str) -> bool:
        text = self.property(key)
        if not isinstance(text, str):
            return False
        slow = slow_words if key == "content.body" else slow_glob
        return slow(fold(pattern), fold(text))

    def property(self, key: str) -> Any:
        """Found among all properties, written out."""
        return dict(self.written_out("", self.sent)).get(key, ...)

    def written_out(self, prefix: str, value: dict[str, Any]) -> Any:
        for name, part in value.items():
            key = prefix + name.replace("\\", "\\\\").replace(".", "\\.")
            yield key, part
            if isinstance(part, dict):
                yield from self.written_out(f"{key}.", part)

    def same(self, value: Any, expected: Any) -> bool:
        return repr(value) == repr(expected)


class EveryMember(TestCase):
    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(rulesets(), min_size=1, max_size=3),
        EVENTS,
        ROOMS,
        st.lists(st.tuples(st.integers(0, 2), st.none() | LETTERS), min_size=4, max_size=4),
        st.booleans(),
    )
    def test_is_judged_as_the_slow_model_does(
        self,
        sets: list[Ruleset],
        sent: dict[str, Any],
        room: RoomFacts,
        chosen: list[tuple[int, str | None]],
        last_is_invited: bool,
    ) -> None:
        book = Rulebook()
        members = [
            Member(user_id, name, book.compiled(sets[index % len(sets)]))
            for user_id, (index, name) in zip((ALICE, BOB, CAROL, DAVE), chosen, strict=True)
        ]
        invited = members.pop() if last_is_invited else None
        outcome = evaluate(PushEvent(sent), room, Audience(members), invited)
        for member in members:
            if member.user_id in outcome.personal and member.user_id != sent["sender"]:
                common = outcome.common[member.rules]
                self.assertIsNot(outcome.personal[member.user_id], common)
        for member in [*members, *([invited] if invited else [])]:
            rules = member.rules.ruleset.as_json(member.user_id)
            expected = SlowModel(sent, room).judge(rules, member.user_id, member.display_name)
            verdict = outcome.verdict(member)
            if expected is None:
                self.assertEqual((verdict.rule_id, verdict.actions), (None, []))
                continue
            self.assertEqual(
                (verdict.rule_id, verdict.actions), (expected["rule_id"], expected["actions"])
            )
