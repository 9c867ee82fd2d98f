"""/sync, as a client lives with it; and reading back what it did not bring."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred

from tests.support import Person, WireTest, bodies, timeline

PROMPTLY = 10
"""Seconds, on a busy machine; a long poll of these tests would last 30."""


def state_types(section: dict[str, Any], key: str = "state") -> list[str]:
    """The types of the state events in a room's section."""
    return [event["type"] for event in section[key]["events"]]


class Neighbours(WireTest):
    """Alice and Bob share a room."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat", name="Street")
        await self.bob.join(self.room)

    async def news(self, who: Person, since: str, **query: Any) -> dict[str, Any]:
        """What a room's section says since a token."""
        answer = await who.sync(since=since, **query)
        section: dict[str, Any] = answer.get("rooms", {}).get("join", {}).get(self.room, {})
        return section


class TimelineTest(Neighbours):
    """Timelines: from the beginning, onwards, and over a gap."""

    async def test_a_new_device_sees_the_room_as_it_is(self) -> None:
        for number in range(15):
            await self.alice.say(self.room, str(number))
        answer = await self.bob.sync()
        section = answer["rooms"]["join"][self.room]
        self.assertEqual(bodies(section["timeline"]["events"]), [str(n) for n in range(5, 15)])
        self.assertTrue(section["timeline"]["limited"])
        self.assertIn("m.room.create", state_types(section))
        self.assertEqual(section["summary"]["m.joined_member_count"], 2)
        self.assertEqual(section["summary"]["m.heroes"], [self.alice.id])
        again = await self.bob.sync()
        self.assertEqual(again["rooms"]["join"].keys(), answer["rooms"]["join"].keys())

    async def test_state_is_what_it_was_before_the_timeline(self) -> None:
        before = await self.bob.sync(filter={"room": {"timeline": {"limit": 1}}})
        await self.alice.set_state(self.room, "m.room.name", {"name": "New"})
        [name] = [
            event
            for event in before["rooms"]["join"][self.room]["state"]["events"]
            if event["type"] == "m.room.name"
        ]
        self.assertEqual(name["content"], {"name": "Street"})
        fresh = await self.bob.sync(filter={"room": {"timeline": {"limit": 1}}})
        section = fresh["rooms"]["join"][self.room]
        self.assertEqual(section["timeline"]["events"][0]["content"], {"name": "New"})
        [name] = [e for e in section["state"]["events"] if e["type"] == "m.room.name"]
        self.assertEqual(name["content"], {"name": "Street"})

    async def test_only_what_is_new_comes(self) -> None:
        first = await self.bob.sync()
        await self.alice.say(self.room, "one")
        second = await self.bob.sync(since=first["next_batch"])
        self.assertEqual(bodies(timeline(second, self.room)), ["one"])
        self.assertEqual(state_types(second["rooms"]["join"][self.room]), [])
        third = await self.bob.sync(since=second["next_batch"])
        self.assertNotIn("rooms", third)
        again = await self.bob.sync(since=first["next_batch"])
        self.assertEqual(bodies(timeline(again, self.room)), ["one"])

    async def test_a_gap_is_said_and_can_be_filled(self) -> None:
        first = await self.bob.sync()
        await self.alice.set_state(self.room, "m.room.topic", {"topic": "Numbers"})
        for number in range(25):
            await self.alice.say(self.room, str(number))
        for restarted in (False, True):
            if restarted:
                await self.hearth.restart()
            section = await self.news(self.bob, first["next_batch"])
            self.assertTrue(section["timeline"]["limited"])
            shown = bodies(section["timeline"]["events"])
            self.assertEqual(shown, [str(n) for n in range(15, 25)])
            self.assertEqual(state_types(section), ["m.room.topic"])
            page = await self.bob.messages(
                self.room,
                **{"from": section["timeline"]["prev_batch"], "to": first["next_batch"]},
                limit=100,
            )
            filled = [event["content"] for event in reversed(page["chunk"])]
            self.assertEqual(filled[0], {"topic": "Numbers"})
            self.assertEqual([c["body"] for c in filled[1:]], [str(n) for n in range(15)])
            self.assertNotIn("end", page)

    async def test_the_state_after_the_timeline_under_both_names(self) -> None:
        first = await self.bob.sync()
        await self.alice.set_state(self.room, "m.room.topic", {"topic": "After"})
        for flag, key in (
            ("use_state_after", "state_after"),
            ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"),
        ):
            section = await self.news(self.bob, first["next_batch"], **{flag: "true"})
            self.assertEqual(state_types(section, key), ["m.room.topic"])
            self.assertNotIn("state", section)
            fresh = await self.bob.sync(**{flag: "true"})
            whole = state_types(fresh["rooms"]["join"][self.room], key)
            self.assertIn("m.room.topic", whole)

    async def test_full_state_brings_all_of_it(self) -> None:
        first = await self.bob.sync()
        section = await self.news(self.bob, first["next_batch"], full_state="true")
        self.assertIn("m.room.create", state_types(section))
        self.assertEqual(section["timeline"]["events"], [])

    async def test_a_filter_chooses(self) -> None:
        filter_id = (
            await self.bob.ask(
                "POST",
                f"/user/{self.bob.id}/filter",
                {"room": {"timeline": {"types": ["m.room.message"], "limit": 3}}},
            )
        )["filter_id"]
        for number in range(5):
            await self.alice.say(self.room, str(number))
            await self.alice.send(self.room, "org.example.noise", {"body": "noise"})
        answer = await self.bob.sync(filter=filter_id)
        self.assertEqual(bodies(timeline(answer, self.room)), ["2", "3", "4"])
        await self.hearth.restart()
        answer = await self.bob.sync(filter=filter_id)
        self.assertEqual(bodies(timeline(answer, self.room)), ["2", "3", "4"])
        code, _ = await self.bob.call("GET", "/sync", query={"filter": "999"})
        self.assertEqual(code, 404)

    async def test_members_come_when_they_are_needed(self) -> None:
        carol = await self.hearth.person("carol")
        await carol.join(self.room)
        await self.alice.say(self.room, "hello")
        lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
        answer = await self.bob.sync(filter=lazy)
        members = [
            event["state_key"]
            for event in answer["rooms"]["join"][self.room]["state"]["events"]
            if event["type"] == "m.room.member"
        ]
        self.assertEqual(sorted(members), [self.alice.id, self.bob.id, carol.id])
        await carol.say(self.room, "me too")
        await carol.say(self.room, "and again")
        section = await self.news(self.bob, answer["next_batch"], filter=lazy)
        self.assertEqual(state_types(section), [])

    async def test_who_comes_back_hears_who_has_left_meanwhile(self) -> None:
        """Or a client would go on to encrypt for them."""
        carol = await self.hearth.person("carol")
        await carol.join(self.room)
        lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
        inside = (await self.bob.sync(filter=lazy))["next_batch"]
        await self.bob.ask("POST", f"/rooms/{self.room}/leave", {})
        outside = (await self.bob.sync(since=inside, filter=lazy))["next_batch"]
        await carol.ask("POST", f"/rooms/{self.room}/leave", {})
        later = (await self.bob.sync(since=outside, filter=lazy))["next_batch"]
        await self.alice.say(self.room, "it is quiet here")
        await self.bob.join(self.room)
        for since in (inside, outside, later):
            section = await self.news(self.bob, since, filter=lazy)
            members = {
                event["state_key"]: event["content"]["membership"]
                for event in section["state"]["events"]
                if event["type"] == "m.room.member"
            }
            self.assertEqual(members.get(carol.id), "leave", since)

    async def test_the_sender_knows_their_own_message_again(self) -> None:
        first = await self.alice.sync()
        other = await self.hearth.log_in(self.alice)
        await self.alice.send(
            self.room, "m.room.message", {"msgtype": "m.text", "body": "x"}, "mine"
        )
        for who, expected in ((self.alice, "mine"), (other, None), (self.bob, None)):
            [event] = timeline(await who.sync(since=first["next_batch"]), self.room)
            self.assertEqual(event["unsigned"].get("transaction_id"), expected)


class WaitingTest(Neighbours):
    """Long polls."""

    async def test_a_message_wakes_whoever_waits(self) -> None:
        first = await self.bob.sync()
        waiting: Deferred[dict[str, Any]] = ensureDeferred(
            self.bob.sync(since=first["next_batch"], timeout=30_000)
        )
        await self.alice.say(self.room, "wake up")
        answer = await waiting.addTimeout(PROMPTLY, reactor)
        self.assertEqual(bodies(timeline(answer, self.room)), ["wake up"])

    async def test_time_runs_out(self) -> None:
        first = await self.bob.sync()
        answer = await self.bob.sync(since=first["next_batch"], timeout=50)
        self.assertNotIn("rooms", answer)

    async def test_what_does_not_concern_somebody_does_not_wake_them(self) -> None:
        carol = await self.hearth.person("carol")
        first = await carol.sync()
        waiting: Deferred[dict[str, Any]] = ensureDeferred(
            carol.sync(since=first["next_batch"], timeout=300)
        )
        await self.alice.say(self.room, "not for you")
        self.assertNotIn("rooms", await waiting)

    async def test_an_invite_wakes(self) -> None:
        first = await self.bob.sync()
        waiting: Deferred[dict[str, Any]] = ensureDeferred(
            self.bob.sync(since=first["next_batch"], timeout=30_000)
        )
        room = await self.alice.create_room(invite=[self.bob.id])
        answer = await waiting.addTimeout(PROMPTLY, reactor)
        self.assertIn(room, answer["rooms"]["invite"])


class TokenTest(Neighbours):
    """Tokens that are old, from the future, or nonsense."""

    async def test_old_tokens_work_after_a_restart(self) -> None:
        first = await self.bob.sync()
        await self.alice.say(self.room, "one")
        await self.hearth.restart()
        await self.alice.say(self.room, "two")
        answer = await self.bob.sync(since=first["next_batch"])
        self.assertEqual(bodies(timeline(answer, self.room)), ["one", "two"])

    async def test_a_token_nobody_gave_leads_to_a_full_sync(self) -> None:
        for token in ("s999999999_1_1", "nonsense", "s1_2", "s-1_0_0", "t5"):
            answer = await self.bob.sync(since=token)
            self.assertIn("m.room.create", str(answer["rooms"]["join"][self.room]))


class EphemeralTest(Neighbours):
    """Typing, receipts, presence, account data and tags."""

    async def ephemeral(self, who: Person, since: str, kind: str, **query: Any) -> Any:
        section = await self.news(who, since, **query)
        events = section.get("ephemeral", {}).get("events", [])
        return [event["content"] for event in events if event["type"] == kind]

    async def test_typing_starts_and_ends(self) -> None:
        first = await self.bob.sync()
        path = f"/rooms/{self.room}/typing/{self.alice.id}"
        await self.alice.ask("PUT", path, {"typing": True, "timeout": 200})
        second = await self.bob.sync(since=first["next_batch"], timeout=5000)
        [typing] = [
            event["content"] for event in second["rooms"]["join"][self.room]["ephemeral"]["events"]
        ]
        self.assertEqual(typing, {"user_ids": [self.alice.id]})
        [typing] = await self.ephemeral(self.bob, second["next_batch"], "m.typing", timeout=5000)
        self.assertEqual(typing, {"user_ids": []})
        code, _ = await self.bob.call("PUT", path, {"typing": True})
        self.assertEqual(code, 403)

    async def test_nobody_types_in_a_room_that_they_have_left(self) -> None:
        path = f"/rooms/{self.room}/typing/{self.bob.id}"
        for way in ("leave", "kick"):
            await self.bob.join(self.room)
            await self.bob.ask("PUT", path, {"typing": True, "timeout": 30_000})
            seen = await self.alice.sync()
            body = {"user_id": self.bob.id} if way == "kick" else {}
            who = self.alice if way == "kick" else self.bob
            await who.ask("POST", f"/rooms/{self.room}/{way}", body)
            [typing] = await self.ephemeral(self.alice, seen["next_batch"], "m.typing")
            self.assertEqual(typing, {"user_ids": []})

    async def test_receipts_are_seen_by_the_others_and_private_ones_are_not(self) -> None:
        event_id = await self.alice.say(self.room, "read me")
        first = await self.alice.sync()
        receipt = f"/rooms/{self.room}/receipt"
        await self.bob.ask("POST", f"{receipt}/m.read.private/{event_id}")
        self.assertEqual(await self.ephemeral(self.alice, first["next_batch"], "m.receipt"), [])
        [own] = await self.ephemeral(self.bob, first["next_batch"], "m.receipt")
        self.assertIn(self.bob.id, own[event_id]["m.read.private"])
        await self.bob.ask("POST", f"{receipt}/m.read/{event_id}", {"thread_id": "main"})
        [seen] = await self.ephemeral(self.alice, first["next_batch"], "m.receipt")
        self.assertEqual(seen[event_id]["m.read"][self.bob.id]["thread_id"], "main")
        await self.hearth.restart()
        [seen] = await self.ephemeral(self.alice, first["next_batch"], "m.receipt")
        self.assertEqual(list(seen[event_id]), ["m.read"])

    async def test_receipts_never_move_back(self) -> None:
        one = await self.alice.say(self.room, "one")
        two = await self.alice.say(self.room, "two")
        first = await self.alice.sync()
        for event_id in (two, one):
            await self.bob.ask("POST", f"/rooms/{self.room}/receipt/m.read/{event_id}")
        [seen] = await self.ephemeral(self.alice, first["next_batch"], "m.receipt")
        self.assertEqual(list(seen), [two])

    async def test_read_markers_move_all_three(self) -> None:
        event_id = await self.alice.say(self.room, "read me")
        first = await self.bob.sync()
        marks = dict.fromkeys(("m.fully_read", "m.read", "m.read.private"), event_id)
        await self.bob.ask("POST", f"/rooms/{self.room}/read_markers", marks)
        section = await self.news(self.bob, first["next_batch"])
        [marker] = section["account_data"]["events"]
        self.assertEqual(marker, {"type": "m.fully_read", "content": {"event_id": event_id}})
        code, _ = await self.bob.call(
            "PUT", f"/user/{self.bob.id}/rooms/{self.room}/account_data/m.fully_read", {}
        )
        self.assertEqual(code, 405)

    async def test_who_syncs_is_online_for_those_who_share_a_room(self) -> None:
        carol = await self.hearth.person("carol")
        first = await self.bob.sync()
        stranger = await carol.sync()
        await self.alice.sync()
        answer = await self.bob.sync(since=first["next_batch"], timeout=5000)
        [event] = answer["presence"]["events"]
        self.assertEqual((event["sender"], event["content"]["presence"]), (self.alice.id, "online"))
        self.assertNotIn("presence", await carol.sync(since=stranger["next_batch"]))
        status = {"presence": "unavailable", "status_msg": "Lunch"}
        await self.alice.ask("PUT", f"/presence/{self.alice.id}/status", status)
        seen = await self.bob.ask("GET", f"/presence/{self.alice.id}/status")
        self.assertEqual((seen["presence"], seen["status_msg"]), ("unavailable", "Lunch"))
        code, _ = await carol.call("GET", f"/presence/{self.alice.id}/status")
        self.assertEqual(code, 403)

    async def test_account_data_reaches_the_other_devices(self) -> None:
        phone = await self.hearth.log_in(self.bob)
        first = await phone.sync()
        path = f"/user/{self.bob.id}/account_data/org.example"
        await self.bob.ask("PUT", path, {"a": 1})
        await self.bob.ask("PUT", f"/user/{self.bob.id}/rooms/{self.room}/tags/u.fun", {"order": 1})
        answer = await phone.sync(since=first["next_batch"])
        self.assertEqual(
            answer["account_data"]["events"], [{"type": "org.example", "content": {"a": 1}}]
        )
        [tags] = answer["rooms"]["join"][self.room]["account_data"]["events"]
        self.assertEqual(tags["content"], {"tags": {"u.fun": {"order": 1}}})
        self.assertNotIn("account_data", await self.alice.sync(since=first["next_batch"]))
        self.assertEqual(await self.bob.ask("GET", path), {"a": 1})
        code, _ = await self.alice.call("GET", path)
        self.assertEqual(code, 403)


class HistoryTest(Neighbours):
    """/messages, /context, members: back and forth through the past."""

    async def test_pages_meet_in_both_directions(self) -> None:
        for number in range(30):
            await self.alice.say(self.room, str(number))
        for direction in ("b", "f"):
            found: list[str] = []
            token: dict[str, str] = {}
            while True:
                page = await self.bob.messages(self.room, dir=direction, limit=7, **token)
                found += bodies(page["chunk"])
                if "end" not in page or (direction == "f" and not page["chunk"]):
                    break
                token = {"from": page["end"]}
            expected = [str(n) for n in range(30)]
            self.assertEqual(found, expected if direction == "f" else expected[::-1])

    async def test_what_surrounds_an_event(self) -> None:
        ids = [await self.alice.say(self.room, str(number)) for number in range(9)]
        context = await self.bob.ask("GET", f"/rooms/{self.room}/context/{ids[4]}?limit=4")
        self.assertEqual(context["event"]["event_id"], ids[4])
        self.assertEqual(bodies(context["events_before"]), ["3", "2"])
        self.assertEqual(bodies(context["events_after"]), ["5", "6"])
        older = await self.bob.messages(self.room, **{"from": context["start"]}, limit=2)
        self.assertEqual(bodies(older["chunk"]), ["1", "0"])
        newer = await self.bob.messages(self.room, dir="f", **{"from": context["end"]}, limit=2)
        self.assertEqual(bodies(newer["chunk"]), ["7", "8"])

    async def test_members_as_they_were(self) -> None:
        before = await self.bob.sync()
        carol = await self.hearth.person("carol")
        await carol.join(self.room)
        now = await self.bob.ask("GET", f"/rooms/{self.room}/members?membership=join")
        self.assertEqual(len(now["chunk"]), 3)
        then = await self.bob.ask("GET", f"/rooms/{self.room}/members?at={before['next_batch']}")
        self.assertEqual(len(then["chunk"]), 2)

    async def test_late_comers_see_what_the_room_shows_them(self) -> None:
        for setting, seen in (
            ("shared", ["early", "late"]),
            ("invited", ["late"]),
            ("joined", ["late"]),
            ("world_readable", ["early", "late"]),
        ):
            content = {"history_visibility": setting}
            visibility = {"type": "m.room.history_visibility", "state_key": "", "content": content}
            room = await self.alice.create_room(preset="public_chat", initial_state=[visibility])
            await self.alice.say(room, "early")
            await self.bob.join(room)
            await self.alice.say(room, "late")
            page = await self.bob.messages(room, dir="f", limit=100)
            self.assertEqual(bodies(page["chunk"]), seen, setting)
            self.assertEqual(bodies(timeline(await self.bob.sync(), room)), seen, setting)

    async def test_who_never_was_inside_hears_of_a_ban_and_of_nothing_else(self) -> None:
        carol = await self.hearth.person("carol")
        since = (await carol.sync())["next_batch"]
        room = await self.alice.create_room(name="Plans", topic="a surprise for Carol")
        for verb in ("ban", "unban"):
            await self.alice.ask("POST", f"/rooms/{room}/{verb}", {"user_id": carol.id})
            for query in ({}, {"use_state_after": "true"}, {"full_state": "true"}):
                section = (await carol.sync(since, **query))["rooms"]["leave"][room]
                state = section.get("state") or section["state_after"]
                told = [event["state_key"] for event in state["events"]]
                self.assertEqual((told, section["timeline"]["events"]), ([carol.id], []))
                self.assertNotIn("summary", section)
        everything = {"filter": {"room": {"include_leave": True}}}
        for query in (everything, {**everything, "use_state_after": "true"}):
            self.assertNotIn("surprise", str(await carol.sync(**query)))

    async def test_who_comes_back_does_not_learn_who_was_there_meanwhile(self) -> None:
        hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room = await self.alice.create_room(preset="public_chat", initial_state=[hidden])
        await self.bob.join(room)
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        carol = await self.hearth.person("carol")
        await carol.join(room)
        meanwhile = (await self.bob.sync())["next_batch"]
        await carol.ask("POST", f"/rooms/{room}/leave")
        await self.bob.join(room)
        answer = await self.bob.ask("GET", f"/rooms/{room}/members?at={meanwhile}")
        self.assertNotIn(carol.id, [event["state_key"] for event in answer["chunk"]])

    async def test_a_receipt_at_an_event_out_of_sight_is_not_told(self) -> None:
        hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room = await self.alice.create_room(preset="public_chat", initial_state=[hidden])
        before = await self.alice.say(room, "before")
        await self.alice.ask("POST", f"/rooms/{room}/receipt/m.read/{before}")
        await self.bob.join(room)
        section = (await self.bob.sync())["rooms"]["join"][room]
        self.assertNotIn(before, str(section))
        after = await self.alice.say(room, "after")
        await self.alice.ask("POST", f"/rooms/{room}/receipt/m.read/{after}")
        (receipt,) = (await self.bob.sync())["rooms"]["join"][room]["ephemeral"]["events"]
        self.assertEqual([*receipt["content"]], [after])

    async def test_who_has_left_does_not_hear_why_something_was_redacted_since(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        said = await self.alice.say(room, "said")
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        path = f"/rooms/{room}/redact/{said}/{self.alice.transaction()}"
        await self.alice.ask("PUT", path, {"reason": "not for Bob"})
        for reader, hears in ((self.bob, False), (self.alice, True)):
            event = await reader.ask("GET", f"/rooms/{room}/event/{said}")
            told = "redacted_because" in event["unsigned"]
            self.assertEqual((event["content"], told), ({}, hears))
