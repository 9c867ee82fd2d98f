"""Redactions: who may, by which way, what is left where, and how long the original is kept."""

import os
from typing import Any
from unittest import SkipTest
from urllib.parse import quote

import homeserver.rooms.originals
from homeserver.clock import system_clock
from homeserver.rooms.originals import DAY_MS
from homeserver.rooms.versions import VERSIONS
from storage.transaction import Transaction, WriteTransaction
from tests.support import Person, WireTest, timeline

TYPE = "m.room.redaction"
TOPIC = "m.room.topic"


class RedactionCase(WireTest):
    """Alice has a room and the say in it; Bob is there too, Carol is not."""

    async def setUp(self) -> None:
        await self.begin()

    async def begin(self, **settings: Any) -> None:
        self.hearth = await self.server(**settings)
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)

    async def redact(self, who: Person, event_id: str, reason: str = "spam", **more: str) -> str:
        room, txn_id = more.get("room", self.room), more.get("txn_id", who.transaction())
        path = f"/rooms/{room}/redact/{quote(event_id, safe='')}/{txn_id}"
        return str((await who.ask("PUT", path, {"reason": reason}))["event_id"])

    async def send(self, who: Person, event_id: Any, room: str = "", txn_id: str = "") -> Any:
        path = f"/rooms/{room or self.room}/send/{TYPE}/{txn_id or who.transaction()}"
        code, answer = await who.call("PUT", path, {"redacts": event_id, "reason": "spam"})
        return answer["event_id"] if code == 200 else (code, answer["errcode"])

    async def event(self, event_id: str, room: str = "") -> Any:
        path = f"/rooms/{room or self.room}/event/{quote(event_id, safe='')}"
        return await self.alice.ask("GET", path)


class SendingTest(RedactionCase):
    """As an event like any other (since v1.18), and by the endpoint of its own."""

    async def test_a_redaction_can_be_sent_like_any_event_in_every_version(self) -> None:
        offered = await self.alice.ask("GET", "/_matrix/client/versions")
        self.assertTrue(offered["unstable_features"]["com.beeper.msc4169"])
        for version in VERSIONS:
            room = await self.alice.create_room(room_version=version, preset="public_chat")
            await self.bob.join(room)
            said = await self.bob.say(room, "Rubbish")
            since = (await self.bob.sync())["next_batch"]
            redaction = await self.send(self.alice, said, room)
            gone = await self.event(said, room)
            self.assertEqual(gone["content"], {})
            self.assertEqual(gone["unsigned"]["redacted_because"]["event_id"], redaction)
            [seen] = timeline(await self.bob.sync(since=since), room)
            self.assertEqual(seen["event_id"], redaction)
            self.assertEqual(seen["content"], {"redacts": said, "reason": "spam"})
            self.assertEqual(seen["redacts"], said)

    async def test_the_same_rules_hold_on_both_ways(self) -> None:
        hers, his = await self.alice.say(self.room, "hers"), await self.bob.say(self.room, "his")
        elsewhere = await self.alice.create_room(preset="public_chat")
        other = await self.alice.say(elsewhere, "elsewhere")
        for who, event_id, refusal in (
            (self.bob, hers, (403, "M_FORBIDDEN")),
            (self.carol, his, (403, "M_FORBIDDEN")),
            (self.alice, other, (404, "M_NOT_FOUND")),
            (self.alice, "$nothing", (404, "M_NOT_FOUND")),
            (self.alice, "nonsense", (404, "M_NOT_FOUND")),
            (self.alice, "$" + "x" * 300, (404, "M_NOT_FOUND")),
        ):
            self.assertEqual(await self.send(who, event_id), refusal)
            path = f"/rooms/{self.room}/redact/{event_id}/{who.transaction()}"
            code, answer = await who.call("PUT", path, {})
            self.assertEqual((code, answer["errcode"]), refusal)
        for event_id in (None, 5, [hers], {}):
            self.assertEqual(await self.send(self.alice, event_id), (400, "M_BAD_JSON"))
        code, answer = await self.alice.call("PUT", f"/rooms/{self.room}/send/{TYPE}/x", {})
        self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"))
        self.assertEqual((await self.event(hers))["content"]["body"], "hers")
        self.assertEqual((await self.event(other, elsewhere))["content"]["body"], "elsewhere")

    async def test_sending_redactions_takes_their_level_too(self) -> None:
        levels = await self.alice.ask("GET", f"/rooms/{self.room}/state/m.room.power_levels")
        levels["events"][TYPE] = 50
        await self.alice.set_state(self.room, "m.room.power_levels", levels)
        his = await self.bob.say(self.room, "his")
        self.assertEqual(await self.send(self.bob, his), (403, "M_FORBIDDEN"))
        levels["users"][self.bob.id], levels["redact"] = 50, 51
        await self.alice.set_state(self.room, "m.room.power_levels", levels)
        hers = await self.alice.say(self.room, "hers")
        self.assertEqual(await self.send(self.bob, hers), (403, "M_FORBIDDEN"))
        self.assertIsInstance(await self.send(self.bob, his), str)

    async def test_the_same_request_twice_is_one_redaction(self) -> None:
        one, two = await self.bob.say(self.room, "one"), await self.bob.say(self.room, "two")
        first = await self.send(self.bob, one, txn_id="t")
        self.assertEqual(await self.send(self.bob, one, txn_id="t"), first)
        await self.hearth.restart()
        self.assertEqual(await self.send(self.bob, one, txn_id="t"), first)
        second = await self.redact(self.bob, two, txn_id="t")
        self.assertNotEqual(second, first)
        self.assertEqual((await self.event(two))["content"], {})
        for event_id, redaction in ((one, first), (two, second)):
            self.assertEqual(await self.redact(self.bob, event_id, txn_id="t"), redaction)

    async def test_what_made_the_room_stays(self) -> None:
        for version in VERSIONS:
            room = await self.alice.create_room(room_version=version, topic="Ladders")
            state = await self.alice.ask("GET", f"/rooms/{room}/state")
            [create] = [event for event in state if event["type"] == "m.room.create"]
            answer = await self.send(self.alice, create["event_id"], room)
            if int(version) < 11:
                self.assertEqual(answer, (403, "M_FORBIDDEN"))
            after = await self.alice.ask("GET", f"/rooms/{room}/state/m.room.create")
            self.assertEqual(after, create["content"])


class WhatIsLeftTest(RedactionCase):
    """Redacted is redacted wherever the event is quoted."""

    async def test_state_everywhere_at_once_and_after_a_restart(self) -> None:
        start = (await self.bob.sync())["next_batch"]
        first = await self.alice.set_state(self.room, TOPIC, {"topic": "secret"})
        second = await self.alice.set_state(self.room, TOPIC, {"topic": "open"})
        before = (await self.bob.sync())["next_batch"]
        redaction = await self.redact(self.alice, second)
        for _ in range(2):
            for answer in (await self.bob.sync(), await self.bob.sync(since=start)):
                section = answer["rooms"]["join"][self.room]
                shown = section["timeline"]["events"] + section["state"]["events"]
                [topic] = [event for event in shown if event["event_id"] == second]
                self.assertEqual(topic["content"], {})
                self.assertEqual(topic["unsigned"]["redacted_because"]["event_id"], redaction)
                self.assertEqual(topic["unsigned"]["replaces_state"], first)
            self.assertEqual(await self.bob.ask("GET", f"/rooms/{self.room}/state/{TOPIC}"), {})
            state = await self.bob.ask("GET", f"/rooms/{self.room}/state")
            [topic] = [event for event in state if event["type"] == TOPIC]
            self.assertEqual(topic["content"], {})
            late = await self.bob.sync(since=before)
            self.assertEqual([e["event_id"] for e in timeline(late, self.room)], [redaction])
            await self.hearth.restart()

    async def test_what_replaced_it_repeats_it_no_more_not_even_from_memory(self) -> None:
        start = (await self.bob.sync())["next_batch"]
        secret = {"topic": "secret", "x": '"redacted_because"', "redacted_because": {}}
        ids = [
            await self.alice.set_state(self.room, TOPIC, content)
            for content in (secret, {"topic": "open"}, {"topic": "third"})
        ]
        await self.redact(self.alice, ids[0])
        for _ in range(2):
            for answer in (await self.bob.sync(), await self.bob.sync(since=start)):
                self.assertNotIn("secret", str(answer))
            successor = await self.event(ids[1])
            self.assertEqual(successor["unsigned"]["prev_content"], {})
            self.assertEqual(successor["unsigned"]["replaces_state"], ids[0])
            self.assertNotIn("redacted_because", successor["unsigned"])
            last = await self.event(ids[2])
            self.assertEqual(last["unsigned"]["prev_content"], {"topic": "open"})
            await self.hearth.restart()

    async def test_a_new_name_stays_one_and_the_room_does_not_come_anew(self) -> None:
        start = (await self.bob.sync())["next_batch"]
        path = f"/rooms/{self.room}/state/m.room.member/{quote(self.bob.id)}"
        name = {"membership": "join", "displayname": "Rude"}
        renamed = (await self.bob.ask("PUT", path, name))["event_id"]
        await self.redact(self.alice, renamed)
        for _ in range(2):
            answer = await self.bob.sync(since=start)
            section = answer["rooms"]["join"][self.room]
            kinds = [event["type"] for event in section["timeline"]["events"]]
            self.assertEqual(kinds, ["m.room.member", TYPE])
            self.assertEqual(section["state"]["events"], [])
            self.assertNotIn("device_lists", answer)
            await self.hearth.restart()

    async def test_whoever_left_stays_gone_for_the_devices_of_the_others(self) -> None:
        await self.carol.join(self.room)
        start = (await self.bob.sync())["next_batch"]
        await self.carol.ask("POST", f"/rooms/{self.room}/leave", {"reason": "rude"})
        [left] = timeline(await self.bob.sync(since=start), self.room)
        await self.redact(self.alice, left["event_id"])
        for _ in range(2):
            answer = await self.bob.sync(since=start)
            self.assertNotIn("reason", timeline(answer, self.room)[0]["content"])
            self.assertEqual(answer["device_lists"].get("left"), [self.carol.id])
            await self.hearth.restart()

    async def test_a_redacted_redaction_still_redacts_but_its_reason_is_gone(self) -> None:
        for version in VERSIONS:
            room = await self.alice.create_room(room_version=version, preset="public_chat")
            start = (await self.alice.sync())["next_batch"]
            for state_key in (None, ""):
                if state_key is None:
                    said = await self.alice.say(room, "Rubbish")
                else:
                    said = await self.alice.set_state(room, TOPIC, {"topic": "Rubbish"})
                because = {"room": room, "reason": "he is a beast"}
                redaction = await self.redact(self.alice, said, **because)
                self.assertIn("beast", str(await self.event(said, room)))
                again = await self.redact(self.alice, redaction, room=room)
                gone = await self.event(said, room)
                self.assertEqual(gone["content"], {})
                quoted = gone["unsigned"]["redacted_because"]
                self.assertEqual(quoted["event_id"], redaction)
                kept = {"redacts": said} if int(version) >= 11 else {}
                self.assertEqual(quoted["content"], kept)
                self.assertEqual((await self.event(redaction, room))["content"], kept)
                self.assertNotEqual(again, redaction)
            for answer in (await self.alice.sync(), await self.alice.sync(since=start)):
                self.assertNotIn("beast", str(answer["rooms"]["join"][room]))

    async def test_the_reason_that_counts_is_the_last_one(self) -> None:
        said = await self.alice.say(self.room, "Rubbish")
        first = await self.redact(self.alice, said, "one")
        second = await self.redact(self.alice, said, "two")
        await self.redact(self.alice, first)
        quoted = (await self.event(said))["unsigned"]["redacted_because"]
        self.assertEqual((quoted["event_id"], quoted["content"]["reason"]), (second, "two"))


class OriginalsTest(RedactionCase):
    """What was said is kept for some days, in the database only."""

    async def kept(self) -> list[str]:
        def work(txn: Transaction) -> list[str]:
            rows = txn.all("SELECT json FROM redacted_originals ORDER BY redacted_at, position")
            return [json for (json,) in rows]

        return await self.hearth.app.storage.store.read(work)

    async def pass_time(self, days: int) -> None:
        """Everything was redacted so many days earlier, and the server keeps house."""

        def work(txn: WriteTransaction) -> None:
            earlier = system_clock() - days * DAY_MS
            txn.run("UPDATE redacted_originals SET redacted_at = ?", earlier)

        await self.hearth.app.storage.store.write(work)
        self.hearth.app._keep_house()
        await self.hearth.app.background.finish()

    async def test_it_is_there_for_seven_days_and_then_gone(self) -> None:
        said = await self.alice.say(self.room, "Rubbish")
        topic = await self.alice.set_state(self.room, TOPIC, {"topic": "secret"})
        await self.redact(self.bob, await self.bob.say(self.room, "mine"))
        for event_id in (said, topic, said):
            await self.redact(self.alice, event_id)
        await self.hearth.restart()
        texts = await self.kept()
        said_words = [word for word in ("mine", "Rubbish", "secret") if word in str(texts)]
        self.assertEqual((len(texts), len(said_words)), (3, 3))
        await self.pass_time(6)
        self.assertEqual(len(await self.kept()), 3)
        await self.pass_time(7)
        self.assertEqual(await self.kept(), [])

    async def test_nobody_sees_it(self) -> None:
        said = await self.alice.say(self.room, "Rubbish")
        await self.redact(self.alice, said)
        self.assertIn("Rubbish", str(await self.kept()))
        for answer in (
            await self.alice.sync(),
            await self.alice.messages(self.room),
            await self.event(said),
            await self.alice.ask("GET", f"/rooms/{self.room}/context/{said}"),
        ):
            self.assertNotIn("Rubbish", str(answer))

    async def test_much_goes_in_portions(self) -> None:
        self.patch(homeserver.rooms.originals, "PORTION", 2)
        for number in range(3):
            await self.redact(self.alice, await self.alice.say(self.room, str(number)))
        for left in (1, 0, 0):
            await self.pass_time(8)
            self.assertEqual(len(await self.kept()), left)

    async def test_who_wants_to_keep_nothing_keeps_nothing(self) -> None:
        await self.redact(self.alice, await self.alice.say(self.room, "kept"))
        kept = await self.kept()
        self.hearth._settings = {"rooms": {"keep_redacted_days": 0, "self_room": False}}
        await self.hearth.restart()
        await self.redact(self.alice, await self.alice.say(self.room, "not kept"))
        self.assertEqual(await self.kept(), kept)
        self.hearth.app._keep_house()
        await self.hearth.app.background.finish()
        self.assertEqual(await self.kept(), [])

    async def test_a_failed_redaction_keeps_nothing(self) -> None:
        hers = await self.alice.say(self.room, "hers")
        self.assertEqual(await self.send(self.bob, hers), (403, "M_FORBIDDEN"))
        self.assertEqual(await self.kept(), [])

    async def test_nothing_of_it_is_left_in_the_file(self) -> None:
        if os.environ.get("HEARTH_TEST_POSTGRES"):
            raise SkipTest("PostgreSQL cleans up when it vacuums")
        word = b"Donaudampfschiff"
        text = word.decode() * 1000
        said = [await self.alice.say(self.room, each) for each in (text[:16], text)]
        await self.hearth.stop()
        self.assertIn(word, self.file())
        await self.hearth.start()
        for event_id in said:
            await self.redact(self.alice, event_id)
        await self.pass_time(7)
        await self.hearth.stop()
        self.assertNotIn(word, self.file())

    def file(self) -> bytes:
        """The database and what SQLite puts beside it."""
        return b"".join(each.read_bytes() for each in self.hearth._folder.glob("hearth.db*"))
