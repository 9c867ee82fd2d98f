"""Presence: who is here, as their devices and what they do come to."""

from collections.abc import Collection
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from homeserver.clock import system_clock
from homeserver.presence import Presence
from homeserver.sync.ephemeral import Ephemeral
from tests.support import Person, WireTest

ALICE, BOB = "@alice:localhost", "@bob:localhost"
MINUTE = 60


class Nobody:
    """Ignores nobody."""

    def of(self, user_id: str) -> frozenset[str]:
        return frozenset()


class RulesTest(SynchronousTestCase):
    """Client-server API, "Presence", on a clock that is moved by hand."""

    def setUp(self) -> None:
        self.time = Clock()
        self.told: list[str] = []
        now = self.now
        nobody: Any = Nobody()
        ephemeral = Ephemeral(now, self.tell)
        self.presence = Presence(self.time, now, ephemeral, lambda user_id: {ALICE, BOB}, nobody)
        self.presence.start()
        self.addCleanup(self.presence.stop)

    def now(self) -> int:
        return int(self.time.seconds() * 1000)

    def tell(self, users: Collection[str]) -> None:
        self.told.append("")

    def is_now(self, expected: str, announced: int) -> None:
        """How Alice is, and how often others have been told since the last look."""
        self.assertEqual(self.presence.get(BOB, ALICE)["presence"], expected)
        self.assertEqual(len(self.told), announced)
        self.told.clear()

    def sync_for(self, minutes: int, device_id: str = "PHONE", presence: str = "online") -> None:
        """Alice's device goes on syncing."""
        for _ in range(minutes * 2):
            self.presence.seen(ALICE, device_id, presence, 30_000)
            self.time.advance(30)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds // 15):
            self.time.advance(15)

    def test_who_stops_goes_offline_a_minute_after_the_last_poll(self) -> None:
        self.is_now("offline", 0)
        self.presence.seen(ALICE, "PHONE", "online", 120_000)
        self.pass_time(3 * MINUTE - 15)
        self.is_now("online", 1)
        self.pass_time(2 * 15)
        self.is_now("offline", 1)

    def test_who_does_nothing_for_five_minutes_is_idle(self) -> None:
        self.sync_for(5)
        self.is_now("online", 1)
        self.sync_for(3)
        self.is_now("unavailable", 1)
        self.presence.set(ALICE, "PHONE", ALICE, "online", None)
        self.is_now("online", 1)

    def test_the_device_that_is_most_present_counts(self) -> None:
        self.presence.seen(ALICE, "PHONE", "unavailable", 0)
        self.is_now("unavailable", 1)
        self.presence.seen(ALICE, "LAPTOP", "online", 0)
        self.is_now("online", 1)
        for _ in range(5):
            self.presence.seen(ALICE, "PHONE", "unavailable", 0)
            self.presence.seen(ALICE, "LAPTOP", "online", 0)
        self.is_now("online", 0)
        self.sync_for(2, "PHONE", "unavailable")
        self.is_now("unavailable", 1)

    def test_who_hides_is_not_seen(self) -> None:
        self.presence.seen(ALICE, "PHONE", "offline", 0)
        self.is_now("offline", 0)
        self.presence.seen(ALICE, "PHONE", "online", 0)
        self.presence.set(ALICE, "PHONE", ALICE, "offline", None)
        self.is_now("offline", 2)

    def test_a_message_for_others_is_told_once(self) -> None:
        self.presence.set(ALICE, "PHONE", ALICE, "online", "Lunch")
        self.presence.set(ALICE, "PHONE", ALICE, "online", "Lunch")
        self.is_now("online", 1)
        self.presence.set(ALICE, "PHONE", ALICE, "online", None)
        self.is_now("online", 1)


class WireStories(WireTest):
    """What somebody does shows that they are there."""

    async def test_whoever_writes_or_reads_is_back(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        away = {"presence": "unavailable"}
        said = ""
        for deed in ("write", "read"):
            await alice.ask("PUT", f"/presence/{alice.id}/status", away)
            token = (await bob.sync())["next_batch"]
            if deed == "write":
                said = await alice.say(room, "Hello")
            else:
                await alice.ask("POST", f"/rooms/{room}/receipt/m.read/{said}")
            [event] = (await bob.sync(token))["presence"]["events"]
            self.assertEqual(event["content"]["presence"], "online", deed)
        token = (await bob.sync())["next_batch"]
        await alice.ask("PUT", f"/presence/{alice.id}/status", {"presence": "offline"})
        await alice.say(room, "I was never here")
        [event] = (await bob.sync(token))["presence"]["events"]
        self.assertEqual(event["content"]["presence"], "offline")


class PresenceTest(WireTest):
    """Client-server API, "Presence"; Alice and Bob share a room, and time is ours."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        self.presence = self.hearth.app.syncing.presence
        self.now = system_clock()
        self.patch(self.presence, "_clock", lambda: self.now)

    async def status(self, of: Person) -> Any:
        return await self.bob.ask("GET", f"/presence/{of.id}/status")

    async def set(self, who: Person, presence: str, **more: Any) -> None:
        await who.ask("PUT", f"/presence/{who.id}/status", {"presence": presence, **more})

    async def told(self, since: str) -> tuple[list[Any], str]:
        """What Bob is told of Alice."""
        answer = await self.bob.sync(since, set_presence="offline")
        events = answer.get("presence", {}).get("events", [])
        contents = [event["content"] for event in events if event["sender"] == self.alice.id]
        return contents, answer["next_batch"]

    async def test_who_syncs_no_more_is_offline_after_a_minute(self) -> None:
        _, token = await self.told((await self.bob.sync(set_presence="offline"))["next_batch"])
        await self.alice.sync()
        [content], token = await self.told(token)
        self.assertEqual(content["presence"], "online")
        self.now += 59_000
        self.presence._sweep()
        self.assertEqual((await self.told(token))[0], [])
        self.now += 2_000
        self.presence._sweep()
        [content], token = await self.told(token)
        self.assertEqual((content["presence"], content["last_active_ago"]), ("offline", 61_000))
        self.assertNotIn("currently_active", content)
        self.presence._sweep()
        self.assertEqual((await self.told(token))[0], [])

    async def test_what_somebody_does_updates_when_they_were_active(self) -> None:
        await self.set(self.alice, "online")
        for passed, ago, active in ((0, 0, True), (59_000, 59_000, True), (2_000, 61_000, False)):
            self.now += passed
            expected = {
                "presence": "online",
                "last_active_ago": ago,
                "currently_active": active,
            }
            self.assertEqual(await self.status(self.alice), expected)
        await self.set(self.alice, "unavailable", status_msg="Lunch")
        expected = {"presence": "unavailable", "last_active_ago": 0, "status_msg": "Lunch"}
        self.assertEqual(await self.status(self.alice), expected)
        self.now += 5_000
        answer = await self.bob.sync()
        [content] = [
            event["content"]
            for event in answer["presence"]["events"]
            if event["sender"] == self.alice.id
        ]
        self.assertEqual(content["last_active_ago"], 5_000)

    async def test_nobody_speaks_for_somebody_else(self) -> None:
        for who, of, presence, refusal in (
            (self.bob, self.alice, "online", (403, "M_FORBIDDEN")),
            (self.bob, self.bob, "asleep", (400, "M_BAD_JSON")),
            (self.bob, self.bob, 5, (400, "M_BAD_JSON")),
        ):
            path = f"/presence/{of.id}/status"
            code, answer = await who.call("PUT", path, {"presence": presence})
            self.assertEqual((code, answer["errcode"]), refusal)
        self.assertEqual((await self.status(self.alice))["presence"], "offline")

    async def test_a_status_is_taken_away_by_leaving_it_out(self) -> None:
        await self.set(self.alice, "online", status_msg="Lunch")
        await self.set(self.alice, "online")
        self.assertNotIn("status_msg", await self.status(self.alice))
