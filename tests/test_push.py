"""Push over the wire: rules on every device, counts, the list of notifications, pushers."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import TestCase as PlainTestCase
from unittest.mock import patch
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import DeferredList, ensureDeferred

from homeserver.push import notifications
from homeserver.push.conditions import Addressed, PushEvent, RoomFacts
from homeserver.push.evaluate import Case
from homeserver.push.rules import Ruleset
from homeserver.push.sealing import load_seal
from homeserver.push.variants import RulesByRoom, Variants
from homeserver.requester import Requester
from schema.errors import Unavailable
from storage.transaction import WriteTransaction
from tests.support import Person, WireTest
from tests.test_push_evaluate import EVENTS, HIGHLIGHT, ROOM, ROOMS, rulesets

MSC3881 = "org.matrix.msc3881."
GATEWAY = "https://push.example.org/_matrix/push/v1/notify"
GLOBAL = "/pushrules/global"


def rules_in(sync: dict[str, Any]) -> list[dict[str, Any]]:
    """What an answer of /sync says of push rules."""
    events = sync.get("account_data", {}).get("events", [])
    return [e["content"]["global"] for e in events if e["type"] == "m.push_rules"]


def unread(sync: dict[str, Any], room: str) -> tuple[int, int]:
    """The counts of a room in an answer of /sync."""
    counts = sync["rooms"]["join"][room]["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


class RulesTest(WireTest):
    """Push rules are one person's, on all of their devices."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice = await self.hearth.person("alice")

    async def test_everybody_begins_with_the_predefined_rules(self) -> None:
        everything = await self.alice.ask("GET", "/pushrules/")
        self.assertEqual(everything["global"], await self.alice.ask("GET", f"{GLOBAL}/"))
        self.assertEqual(rules_in(await self.alice.sync()), [everything["global"]])
        self.assertEqual(everything["global"]["override"][0]["rule_id"], ".m.rule.master")

    async def test_a_change_reaches_the_other_devices_at_once_and_after_a_restart(self) -> None:
        phone = await self.hearth.log_in(self.alice)
        since = (await phone.sync())["next_batch"]
        self.assertEqual(rules_in(await phone.sync(since)), [])
        body = {"pattern": "cake", "actions": ["notify", HIGHLIGHT]}
        await self.alice.ask("PUT", f"{GLOBAL}/content/cake", body)
        for _ in range(2):
            [told] = rules_in(await phone.sync(since, timeout=10_000))
            self.assertEqual(told["content"][0]["pattern"], "cake")
            self.assertEqual(told, await phone.ask("GET", f"{GLOBAL}/"))
            await self.hearth.restart()
        later = (await phone.sync(since))["next_batch"]
        self.assertEqual(rules_in(await phone.sync(later)), [])

    async def test_a_change_that_changes_nothing_is_no_news(self) -> None:
        body = {"pattern": "cake", "actions": ["notify"]}
        await self.alice.ask("PUT", f"{GLOBAL}/content/cake", body)
        since = (await self.alice.sync())["next_batch"]
        await self.alice.ask("PUT", f"{GLOBAL}/content/cake", body)
        self.assertEqual(rules_in(await self.alice.sync(since)), [])

    async def test_a_rule_is_read_changed_placed_and_deleted(self) -> None:
        path = f"{GLOBAL}/override/{quote('a b', safe='')}"
        rule = {"conditions": [{"kind": "room_member_count", "is": "2"}], "actions": ["notify"]}
        await self.alice.ask("PUT", path, rule)
        self.assertEqual(
            await self.alice.ask("GET", path),
            {"rule_id": "a b", "default": False, "enabled": True, **rule},
        )
        await self.alice.ask("PUT", f"{path}/enabled", {"enabled": False})
        self.assertEqual(await self.alice.ask("GET", f"{path}/enabled"), {"enabled": False})
        await self.alice.ask("PUT", f"{path}/actions", {"actions": [HIGHLIGHT]})
        self.assertEqual(await self.alice.ask("GET", f"{path}/actions"), {"actions": [HIGHLIGHT]})
        await self.alice.ask("PUT", f"{GLOBAL}/override/c", rule, query={"after": "a b"})
        rules = (await self.alice.ask("GET", f"{GLOBAL}/"))["override"]
        self.assertEqual([each["rule_id"] for each in rules[1:3]], ["a b", "c"])
        await self.alice.ask("DELETE", path)
        code, answer = await self.alice.call("GET", path)
        self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))

    async def test_what_cannot_be_is_refused_and_changes_nothing(self) -> None:
        before = await self.alice.ask("GET", "/pushrules/")
        rule = {"actions": ["notify"]}
        for method, path, body, expected in (
            ("PUT", "override/.mine", rule, (400, "M_INVALID_PARAM")),
            ("PUT", "nonsense/a", rule, (400, "M_INVALID_PARAM")),
            ("PUT", "content/a", rule, (400, "M_MISSING_PARAM")),
            ("PUT", "override/a", {}, (400, "M_MISSING_PARAM")),
            ("PUT", "override/a?before=b", rule, (400, "M_UNKNOWN")),
            ("DELETE", "override/.m.rule.master", None, (400, "M_INVALID_PARAM")),
            ("DELETE", "override/a", None, (404, "M_NOT_FOUND")),
            ("PUT", "override/a/enabled", {"enabled": True}, (404, "M_NOT_FOUND")),
            ("PUT", "override/.m.rule.master/enabled", {"enabled": 1}, (400, "M_BAD_JSON")),
        ):
            code, answer = await self.alice.call(method, f"{GLOBAL}/{path}", body)
            self.assertEqual((code, answer["errcode"]), expected, path)
        self.assertEqual(await self.alice.ask("GET", "/pushrules/"), before)


class CountsTest(WireTest):
    """Alice and Bob talk, and somebody counts."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)

    async def counted(self, who: Person, since: str | None = None) -> tuple[int, int]:
        return unread(await who.sync(since), self.room)

    async def mention(self, text: str = "Bob!", **more: Any) -> str:
        mentions = {"m.mentions": {"user_ids": [self.bob.id]}}
        return await self.alice.say(self.room, text, **mentions, **more)

    async def read(self, who: Person, event_id: str, **body: Any) -> None:
        await who.ask("POST", f"/rooms/{self.room}/receipt/m.read/{event_id}", body)

    async def test_counts_come_with_the_message_and_go_with_the_receipt(self) -> None:
        since = (await self.bob.sync())["next_batch"]
        await self.alice.say(self.room, "hello")
        last = await self.mention()
        self.assertEqual(await self.counted(self.bob, since), (2, 1))
        self.assertEqual(await self.counted(self.alice), (0, 0))
        await self.hearth.restart()
        self.assertEqual(await self.counted(self.bob), (2, 1))
        since = (await self.bob.sync())["next_batch"]
        await self.read(self.bob, last)
        self.assertEqual(await self.counted(self.bob, since), (0, 0))

    async def test_the_live_edge_makes_no_query(self) -> None:
        await self.counted(self.bob)
        store, counts = self.hearth.app.storage.store, self.hearth.app.rooms.push.counts
        last = await self.mention()
        with patch.object(store, "read") as read:
            found = await counts.counts(self.bob.id, [self.room])
            self.assertEqual(
                found[self.room],
                {"unread_notifications": {"notification_count": 1, "highlight_count": 1}},
            )
        await self.read(self.bob, last)
        with patch.object(store, "read", read):
            found = await counts.counts(self.bob.id, [self.room])
        self.assertEqual(found[self.room]["unread_notifications"]["notification_count"], 0)
        read.assert_not_called()

    async def test_who_joins_has_nothing_to_read_and_a_new_name_changes_nothing(self) -> None:
        await self.alice.say(self.room, "before")
        carol = await self.hearth.person("carol")
        await carol.join(self.room)
        self.assertEqual(await self.counted(carol), (0, 0))
        await self.alice.say(self.room, "after")
        await carol.ask("PUT", f"/profile/{carol.id}/displayname", {"displayname": "C"})
        self.assertEqual(await self.counted(carol), (1, 0))
        await carol.ask("POST", f"/rooms/{self.room}/leave")
        await self.alice.say(self.room, "while she is away")
        await carol.join(self.room)
        self.assertEqual(await self.counted(carol), (0, 0))

    async def test_who_answers_has_read(self) -> None:
        await self.mention()
        await self.bob.send(self.room, "m.reaction", {})
        self.assertEqual(await self.counted(self.bob), (1, 1))
        await self.bob.say(self.room, "I am here")
        self.assertEqual(await self.counted(self.bob), (0, 0))

    async def test_a_muted_room_counts_nothing_while_it_is_muted(self) -> None:
        await self.alice.say(self.room, "loud")
        rule = f"{GLOBAL}/room/{quote(self.room, safe='')}"
        await self.bob.ask("PUT", rule, {"actions": []})
        await self.alice.say(self.room, "muted")
        self.assertEqual(await self.counted(self.bob), (1, 0))
        await self.mention("mentions pass")
        self.assertEqual(await self.counted(self.bob), (2, 1))
        await self.bob.ask("DELETE", rule)
        await self.alice.say(self.room, "loud again")
        for _ in range(2):
            self.assertEqual(await self.counted(self.bob), (3, 1))
            await self.hearth.restart()

    async def test_a_change_of_rules_that_failed_judges_nothing(self) -> None:
        push, store = self.hearth.app.rooms.push, self.hearth.app.storage.store
        await self.counted(self.bob)

        def fail(txn: WriteTransaction) -> None:
            push.spans.rules_changed(txn, self.bob.id, Ruleset(), txn.position())
            raise Unavailable("The disk is full")

        def mute(rules: Ruleset) -> Ruleset:
            return rules.put_rule("room", self.room, {"actions": []})

        alice = Requester(self.alice.id, self.alice.device_id)
        content = {"msgtype": "m.text", "body": "muted"}
        send = self.hearth.app.rooms.send.message
        # The first is a batch of its own; the others wait for it and become the next one.
        works = [
            store.write(lambda txn: None),
            push.rules.change(self.bob.id, mute),
            store.write(fail),
            send(alice, self.room, "m.room.message", "m", content),
        ]
        done = await DeferredList([ensureDeferred(work) for work in works], consumeErrors=True)
        self.assertEqual([succeeded for succeeded, _ in done], [True, True, False, True])
        for _ in range(2):
            self.assertEqual(await self.counted(self.bob), (0, 0))
            await self.hearth.restart()

    async def test_a_redacted_message_counts_no_more(self) -> None:
        event_id = await self.mention()
        self.assertEqual(await self.counted(self.bob), (1, 1))
        await self.alice.ask("PUT", f"/rooms/{self.room}/redact/{event_id}/1")
        for _ in range(2):
            self.assertEqual(await self.counted(self.bob), (0, 0))
            await self.hearth.restart()

    async def test_threads_are_counted_and_read_one_by_one(self) -> None:
        root = await self.alice.say(self.room, "root")
        in_thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        reply = await self.mention("reply", **in_thread)
        about = {"m.relates_to": {"rel_type": "m.reference", "event_id": reply}}
        last = await self.alice.say(self.room, "about the reply", **about)

        wanted = {"room": {"timeline": {"unread_thread_notifications": True}}}

        async def by_thread() -> dict[str, Any]:
            section = (await self.bob.sync(filter=wanted))["rooms"]["join"][self.room]
            return {name: value for name, value in section.items() if name.startswith("unread")}

        one = {"notification_count": 1, "highlight_count": 0}
        two = {"notification_count": 2, "highlight_count": 1}
        self.assertEqual(
            await by_thread(),
            {"unread_notifications": one, "unread_thread_notifications": {root: two}},
        )
        self.assertEqual(await self.counted(self.bob), (3, 1))
        await self.read(self.bob, last, thread_id=root)
        self.assertEqual(await by_thread(), {"unread_notifications": one})
        await self.read(self.bob, root, thread_id="main")
        self.assertEqual(await self.counted(self.bob), (0, 0))


class NotificationsTest(WireTest):
    """The list of what somebody was notified of."""

    async def test_newest_first_page_by_page_with_what_was_read(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        first = await alice.say(room, "one")
        mentions = {"m.mentions": {"user_ids": [bob.id]}}
        second = await alice.say(room, "two", **mentions)
        await bob.ask("POST", f"/rooms/{room}/receipt/m.read/{first}")
        await bob.send(room, "m.reaction", {})
        invited = await alice.create_room(invite=[bob.id])
        page = await bob.ask("GET", "/notifications", query={"limit": 2})
        told = page["notifications"]
        self.assertEqual([each["room_id"] for each in told], [invited, room])
        self.assertEqual([each["read"] for each in told], [False, False])
        self.assertEqual(told[1]["event"]["event_id"], second)
        self.assertNotIn("room_id", told[1]["event"])
        self.assertIn(HIGHLIGHT, told[1]["actions"])
        rest = await bob.ask("GET", "/notifications", query={"from": page["next_token"]})
        self.assertNotIn("next_token", rest)
        [oldest] = rest["notifications"]
        self.assertEqual((oldest["event"]["event_id"], oldest["read"]), (first, True))
        loud = await bob.ask("GET", "/notifications", query={"only": "highlight"})
        self.assertEqual([e["event"]["event_id"] for e in loud["notifications"]], [second])
        self.assertEqual((await alice.ask("GET", "/notifications"))["notifications"], [])
        code, answer = await bob.call("GET", "/notifications", query={"from": "x"})
        self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"))

    async def test_what_came_long_ago_stands_on_the_same_page(self) -> None:
        self.patch(notifications, "NEAR", 6)
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        street = await alice.create_room(preset="public_chat")
        garden = await alice.create_room(preset="public_chat")
        await alice.say(street, "before Bob was there")
        for room in (street, garden):
            await bob.join(room)
        said = [await alice.say((street, garden)[n % 2], f"{n}") for n in range(9)]
        for _ in range(4):
            await bob.say(street, "nobody tells me what I say")
        for limit in (1, 3, 20):
            seen: list[str] = []
            query: dict[str, Any] = {"limit": limit}
            while True:
                page = await bob.ask("GET", "/notifications", query=query)
                seen += [each["event"]["event_id"] for each in page["notifications"]]
                if "next_token" not in page:
                    break
                self.assertEqual(len(page["notifications"]), limit)
                query["from"] = page["next_token"]
            self.assertEqual(seen, said[::-1])


class PushersTest(WireTest):
    """Where devices want to be notified."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice = await self.hearth.person("alice")

    def pusher(self, **more: Any) -> dict[str, Any]:
        return {
            "pushkey": "secret pushkey",
            "kind": "http",
            "app_id": "org.example.app",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "profile_tag": "xyz",
            "lang": "en",
            "data": {"url": GATEWAY, "format": "event_id_only"},
            **more,
        }

    async def pushers(self, who: Person) -> Any:
        """As version 1 of the API has them."""
        found = (await who.ask("GET", "/pushers"))["pushers"]
        return [{key: each[key] for key in each if not key.startswith(MSC3881)} for each in found]

    async def test_a_pusher_is_set_changed_and_removed(self) -> None:
        await self.alice.ask("POST", "/pushers/set", self.pusher(append=False))
        self.assertEqual(await self.pushers(self.alice), [self.pusher()])
        await self.alice.ask("POST", "/pushers/set", self.pusher(lang="de"))
        await self.hearth.restart()
        self.assertEqual(await self.pushers(self.alice), [self.pusher(lang="de")])
        removal = {"pushkey": "secret pushkey", "app_id": "org.example.app", "kind": None}
        await self.alice.ask("POST", "/pushers/set", removal)
        self.assertEqual(await self.pushers(self.alice), [])

    async def test_it_ends_with_the_session_that_made_it(self) -> None:
        phone = await self.hearth.log_in(self.alice)
        await phone.ask("POST", "/pushers/set", self.pusher())
        await self.alice.ask("POST", "/pushers/set", self.pusher(pushkey="another"))
        await phone.ask("POST", "/logout")
        self.assertEqual([p["pushkey"] for p in await self.pushers(self.alice)], ["another"])

    async def test_another_device_can_silence_it(self) -> None:
        """MSC3881."""
        enabled, device_id = f"{MSC3881}enabled", f"{MSC3881}device_id"
        phone = await self.hearth.log_in(self.alice)
        await phone.ask("POST", "/pushers/set", self.pusher())
        expected = self.pusher(**{enabled: True, device_id: phone.device_id})
        for wanted in (False, True, False):
            [found] = (await self.alice.ask("GET", "/pushers"))["pushers"]
            self.assertEqual(found, expected)
            await self.alice.ask("POST", "/pushers/set", {**found, enabled: wanted})
            expected[enabled] = wanted
        await self.hearth.restart()
        self.assertEqual((await phone.ask("GET", "/pushers"))["pushers"], [expected])
        await self.alice.ask("POST", "/logout")
        self.assertEqual(len(await self.pushers(phone)), 1)
        tablet = await self.hearth.log_in(self.alice)
        await tablet.ask("POST", "/pushers/set", self.pusher())
        [found] = (await tablet.ask("GET", "/pushers"))["pushers"]
        self.assertEqual((found[enabled], found[device_id]), (True, tablet.device_id))

    async def test_a_phone_that_changes_hands_notifies_its_new_owner_only(self) -> None:
        bob = await self.hearth.person("bob")
        await self.alice.ask("POST", "/pushers/set", self.pusher())
        await bob.ask("POST", "/pushers/set", self.pusher(append=True))
        self.assertEqual(len(await self.pushers(self.alice)), 1)
        await bob.ask("POST", "/pushers/set", self.pusher())
        self.assertEqual(await self.pushers(self.alice), [])
        self.assertEqual(len(await self.pushers(bob)), 1)

    async def test_what_is_no_gateway_is_refused(self) -> None:
        for change, errcode in (
            ({"data": {"url": "https://push.example.org/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": f"{GATEWAY}/more"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "ftp://push.example.org/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": GATEWAY.replace("https", "http")}}, "M_INVALID_PARAM"),
            ({"data": {"url": "https://[/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "https://a:99999/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {"url": "/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
            ({"data": {}}, "M_MISSING_PARAM"),
            ({"data": {"url": GATEWAY, "more": "x" * 10_000}}, "M_TOO_LARGE"),
            ({"kind": "email"}, "M_INVALID_PARAM"),
            ({"app_id": "a" * 65}, "M_INVALID_PARAM"),
            ({"pushkey": "ä" * 300}, "M_INVALID_PARAM"),
            ({"pushkey": ""}, "M_INVALID_PARAM"),
        ):
            code, answer = await self.alice.call("POST", "/pushers/set", self.pusher(**change))
            self.assertEqual((code >= 400, answer["errcode"]), (True, errcode), change)
        self.assertEqual(await self.pushers(self.alice), [])

    async def test_there_is_an_end_to_pushers(self) -> None:
        for number in range(100):
            await self.alice.ask("POST", "/pushers/set", self.pusher(pushkey=f"k{number}"))
        code, answer = await self.alice.call("POST", "/pushers/set", self.pusher())
        self.assertEqual((code, answer["errcode"]), (413, "M_TOO_LARGE"))
        self.assertEqual(len(await self.pushers(self.alice)), 100)

    async def test_the_database_alone_tells_nobody_the_key_or_the_address(self) -> None:
        await self.alice.ask("POST", "/pushers/set", self.pusher())
        rows = await self.hearth.app.storage.store.read(
            lambda txn: txn.all("SELECT * FROM pushers")
        )
        self.assertEqual(len(rows), 1)
        self.assertNotIn("secret", str(rows))
        self.assertNotIn("push.example.org", str(rows))


class VariantsTest(PlainTestCase):
    """What rules come to in a room."""

    @settings(deadline=None)
    @given(rulesets(), EVENTS, ROOMS, st.sampled_from(["!other:x", ROOM, ROOM.upper(), "!hall*"]))
    def test_in_its_room_a_variant_judges_as_all_the_rules_do(
        self, rules: Ruleset, sent: dict[str, Any], room: RoomFacts, pattern: str
    ) -> None:
        condition = {"kind": "event_match", "key": "room_id", "pattern": pattern}
        body = {"conditions": [condition], "actions": ["notify"]}
        for kind in ("override", "underride"):
            rules = rules.put_rule(kind, "by room", body)
        variants = Variants()
        case = Case(PushEvent(sent), room)
        verdicts = [
            variants.of(each).rules.judge(case, Addressed())
            for each in (rules, RulesByRoom(rules).in_room(ROOM))
        ]
        self.assertEqual(verdicts[0], verdicts[1])

    def test_rules_about_another_room_make_no_difference(self) -> None:
        variants = Variants()
        other = Ruleset().put_rule("room", "!other:x", {"actions": []})
        self.assertEqual(variants.of(RulesByRoom(other).in_room(ROOM)), variants.default)
        self.assertNotEqual(variants.of(RulesByRoom(other).in_room("!other:x")), variants.default)


class SealTest(PlainTestCase):
    """Secrets that the server has to be able to read."""

    def test_only_the_key_opens_what_was_sealed(self) -> None:
        with TemporaryDirectory() as one, TemporaryDirectory() as other:
            seal, stranger = load_seal(Path(one)), load_seal(Path(other))
            sealed = seal.close("secret")
            self.assertNotIn("secret", sealed)
            self.assertEqual(load_seal(Path(one)).open(sealed), "secret")
            self.assertIsNone(stranger.open(sealed))
            self.assertEqual(seal.fingerprint("a"), load_seal(Path(one)).fingerprint("a"))
            self.assertNotEqual(seal.fingerprint("a"), stranger.fingerprint("a"))
            self.assertNotEqual(seal.fingerprint("a"), seal.fingerprint("b"))
            self.assertEqual((Path(one) / "sealing.key").stat().st_mode & 0o777, 0o600)
