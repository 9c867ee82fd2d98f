"""Filters of /sync over the wire, and members that come when they are needed."""

from typing import Any

import orjson
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.support import Person, WireTest, bodies, timeline
from tests.test_sync import PROMPTLY


class FiltersCase(WireTest):
    """Alice and Bob share two rooms."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room, self.other = [
            await self.alice.create_room(preset="public_chat", name=name) for name in ("One", "Two")
        ]
        for room in (self.room, self.other):
            await self.bob.join(room)

    async def section(self, wanted: dict[str, Any], room: str | None = None) -> dict[str, Any]:
        """What Bob's first sync with a filter says of a room."""
        answer = await self.bob.sync(filter={"room": wanted})
        found: dict[str, Any] = answer["rooms"]["join"][room or self.room]
        return found


class SavedTest(FiltersCase):
    async def test_a_filter_is_read_back_by_its_owner_only(self) -> None:
        path = f"/user/{self.bob.id}/filter"
        wanted = {"room": {"timeline": {"limit": 3}}, "event_fields": ["content.body"]}
        filter_id = (await self.bob.ask("POST", path, wanted))["filter_id"]
        self.assertFalse(filter_id.startswith("{"))
        await self.hearth.restart()
        self.assertEqual(await self.bob.ask("GET", f"{path}/{filter_id}"), wanted)
        for method, end in (("POST", ""), ("GET", f"/{filter_id}")):
            code, answer = await self.alice.call(method, path + end, wanted)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        own = f"/user/{self.alice.id}/filter/{filter_id}"
        code, answer = await self.alice.call("GET", own)
        self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))


class SectionsTest(FiltersCase):
    async def test_the_filter_for_rooms_comes_first(self) -> None:
        for wanted, expected in (
            ({"rooms": [self.room]}, {self.room}),
            ({"not_rooms": [self.room]}, {self.other}),
            ({"rooms": [self.room], "not_rooms": [self.room]}, set()),
            ({"rooms": [self.room], "timeline": {"rooms": [self.other]}}, {self.room}),
        ):
            answer = await self.bob.sync(filter={"room": wanted})
            self.assertEqual(answer.get("rooms", {}).get("join", {}).keys(), expected, wanted)
        since = (await self.bob.sync())["next_batch"]
        await self.alice.say(self.other, "not wanted")
        answer = await self.bob.sync(since=since, filter={"room": {"rooms": [self.room]}})
        self.assertNotIn("rooms", answer)

    async def test_state_is_filtered_by_type_sender_and_room(self) -> None:
        await self.bob.say(self.room, "newest")
        for wanted, expected in (
            ({"types": ["m.room.name"]}, {"m.room.name"}),
            ({"not_types": ["m.room.[a-l]*", "m.room.c*", "m.room.member"]}, None),
            ({"senders": [self.bob.id]}, {"m.room.member"}),
            ({"not_rooms": [self.room]}, set()),
        ):
            section = await self.section({"state": wanted, "timeline": {"limit": 1}})
            types = {event["type"] for event in section["state"]["events"]}
            if expected is None:
                self.assertIn("m.room.name", types)
                self.assertNotIn("m.room.create", types)
            else:
                self.assertEqual(types, expected, wanted)

    async def test_account_data_is_filtered(self) -> None:
        for key in ("org.x", "org.y"):
            await self.bob.ask("PUT", f"/user/{self.bob.id}/account_data/{key}", {"a": 1})
            path = f"/user/{self.bob.id}/rooms/{self.room}/account_data/{key}"
            await self.bob.ask("PUT", path, {"a": 1})
        section = await self.section({"account_data": {"types": ["org.x"]}})
        self.assertEqual([e["type"] for e in section["account_data"]["events"]], ["org.x"])
        section = await self.section({"account_data": {"not_rooms": [self.room]}})
        self.assertEqual(section.get("account_data", {}).get("events", []), [])
        answer = await self.bob.sync(filter={"account_data": {"not_types": ["org.x", "m.*"]}})
        self.assertEqual([e["type"] for e in answer["account_data"]["events"]], ["org.y"])

    async def test_ephemeral_events_are_filtered(self) -> None:
        said = await self.alice.say(self.room, "hello")
        await self.alice.ask("POST", f"/rooms/{self.room}/receipt/m.read/{said}")
        path = f"/rooms/{self.room}/typing/{self.alice.id}"
        await self.alice.ask("PUT", path, {"typing": True, "timeout": 60_000})
        for wanted, expected in (
            ({"types": ["m.typing"]}, ["m.typing"]),
            ({"not_types": ["m.typing"]}, ["m.receipt"]),
            ({"types": []}, []),
        ):
            section = await self.section({"ephemeral": wanted})
            events = section.get("ephemeral", {}).get("events", [])
            self.assertEqual([event["type"] for event in events], expected)

    async def test_presence_is_filtered(self) -> None:
        carol = await self.hearth.person("carol")
        await carol.join(self.room)
        for person in (self.alice, carol):
            await person.sync()
        for wanted, expected in (
            ({"senders": [self.alice.id]}, {self.alice.id}),
            ({"not_senders": [self.alice.id, self.bob.id]}, {carol.id}),
            ({"types": []}, set()),
        ):
            answer = await self.bob.sync(filter={"presence": wanted})
            events = answer.get("presence", {}).get("events", [])
            self.assertEqual({event["sender"] for event in events}, expected, wanted)

    async def test_only_the_fields_that_are_wanted_are_shown(self) -> None:
        await self.alice.say(self.room, "hello")
        wanted = {"event_fields": ["type", "content.body"], "room": {"timeline": {"limit": 1}}}
        query = {"filter": orjson.dumps(wanted).decode()}
        answer = await self.bob.ask("GET", "/sync", query=query, has_schema=False)
        section = answer["rooms"]["join"][self.room]
        [event] = section["timeline"]["events"]
        self.assertEqual(event, {"type": "m.room.message", "content": {"body": "hello"}})
        for event in section["state"]["events"]:
            self.assertLessEqual(event.keys(), {"type", "content"})


class LazyMembersTest(FiltersCase):
    """Client-server API, "Lazy-loading room members"."""

    async def members(self, since: str | None, **more: Any) -> tuple[set[str], dict[str, Any]]:
        state = {"lazy_load_members": True, **more}
        wanted = {"room": {"state": state, "timeline": {"limit": 1}}}
        answer = await self.bob.sync(since=since, filter=wanted)
        section = answer["rooms"]["join"][self.room]
        found = {e["state_key"] for e in section["state"]["events"] if e["type"] == "m.room.member"}
        return found, answer

    async def test_members_come_again_if_they_are_wanted_so(self) -> None:
        await self.alice.say(self.room, "one")
        _, answer = await self.members(None)
        since = answer["next_batch"]
        for redundant, expected in ((False, set()), (True, {self.alice.id})):
            await self.alice.say(self.room, "another")
            found, answer = await self.members(since, include_redundant_members=redundant)
            self.assertEqual(found, expected)
            since = answer["next_batch"]

    async def test_who_came_or_changed_in_a_gap_is_told(self) -> None:
        carol, dora = await self.hearth.people("carol", "dora")
        await carol.join(self.room)
        _, answer = await self.members(None)
        await carol.ask("PUT", f"/profile/{carol.id}/displayname", {"displayname": "C"})
        await dora.join(self.room)
        for text in ("one", "two", "three"):
            await self.alice.say(self.room, text)
        found, answer = await self.members(answer["next_batch"])
        self.assertLessEqual({carol.id, dora.id}, found)
        self.assertTrue(answer["rooms"]["join"][self.room]["timeline"]["limited"])

    async def test_who_joins_or_wants_everything_is_told_of_themselves(self) -> None:
        carol = await self.hearth.person("carol")
        lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
        since = (await carol.sync(filter=lazy))["next_batch"]
        await carol.join(self.room)
        await self.alice.say(self.room, "welcome")
        answer = await carol.sync(since=since, filter=lazy)
        full = await carol.sync(since=answer["next_batch"], filter=lazy, full_state="true")
        for each in (answer, full):
            events = each["rooms"]["join"][self.room]["state"]["events"]
            self.assertIn(carol.id, [event["state_key"] for event in events])


class QuestionsTest(FiltersCase):
    """The other parameters of /sync."""

    async def test_without_a_timeout_the_answer_comes_at_once(self) -> None:
        since = (await self.bob.sync())["next_batch"]
        for query in ({}, {"full_state": "true", "timeout": 100_000}):
            asking = Deferred.fromCoroutine(
                self.bob.ask("GET", "/sync", query={"since": since, **query})
            )
            answer = await asking.addTimeout(PROMPTLY, reactor)
            self.assertEqual(bodies(timeline(answer, self.room)), [])
        carol = await self.hearth.person("carol")  # who has no rooms, and so never any news
        since = (await carol.sync())["next_batch"]
        asking = Deferred.fromCoroutine(carol.sync(since, 100_000, full_state="true"))
        self.assertNotIn("rooms", await asking.addTimeout(PROMPTLY, reactor))

    async def test_who_does_not_want_to_be_seen_is_not(self) -> None:
        since = (await self.bob.sync())["next_batch"]
        for presence in ("offline", "unavailable", "online"):
            await self.alice.sync(set_presence=presence)
            answer = await self.bob.sync(since=since)
            since = answer["next_batch"]
            told = {
                event["sender"]: event["content"]["presence"]
                for event in answer.get("presence", {}).get("events", [])
            }
            expected = None if presence == "offline" else presence
            self.assertEqual(told.get(self.alice.id), expected)

    async def test_state_comes_before_or_after_the_timeline_and_never_both(self) -> None:
        since = (await self.bob.sync())["next_batch"]
        await self.alice.set_state(self.room, "m.room.topic", {"topic": "x"})
        carol = await self.hearth.person("carol")
        await carol.join(self.other)
        before = (await carol.sync())["next_batch"]
        await carol.ask("POST", f"/rooms/{self.other}/leave")
        for flag, there, missing in (
            ({}, "state", "state_after"),
            ({"use_state_after": "false"}, "state", "state_after"),
            ({"use_state_after": "true"}, "state_after", "state"),
        ):
            for who, start, kind, room in (
                (self.bob, since, "join", self.room),
                (self.bob, None, "join", self.room),
                (carol, before, "leave", self.other),
            ):
                answer = await who.sync(since=start, **flag)
                section = answer["rooms"][kind][room]
                self.assertIn(there, section, (flag, kind))
                self.assertNotIn(missing, section, (flag, kind))


class HeroesTest(FiltersCase):
    """The people after whom a room is called that has no name."""

    async def heroes(self, who: Person, room: str) -> list[str]:
        answer = await who.sync()
        return list(answer["rooms"]["join"][room]["summary"]["m.heroes"])

    async def test_they_are_the_first_five_who_are_here_or_else_who_was(self) -> None:
        people = await self.hearth.people(*(f"p{n}" for n in range(7)))
        room = await self.alice.create_room(preset="public_chat")
        for person in people[:5]:
            await person.join(room)
        for person in people[5:]:
            await self.alice.ask("POST", f"/rooms/{room}/invite", {"user_id": person.id})
        self.assertEqual(await self.heroes(self.alice, room), [p.id for p in people[:5]])
        first = await self.heroes(people[0], room)
        self.assertEqual(first, [self.alice.id, *(p.id for p in people[1:5])])
        await people[0].ask("POST", f"/rooms/{room}/leave")
        self.assertEqual(await self.heroes(self.alice, room), [p.id for p in people[1:6]])
        for person in people[1:]:
            await self.alice.ask("POST", f"/rooms/{room}/ban", {"user_id": person.id})
        heroes = await self.heroes(self.alice, room)
        self.assertEqual(len(heroes), 5)
        self.assertLessEqual({*heroes}, {p.id for p in people})

    async def test_members_are_counted_anew_when_somebody_comes_or_goes(self) -> None:
        carol, dora = await self.hearth.people("carol", "dora")
        room = await self.alice.create_room(preset="public_chat")
        path = f"/rooms/{room}"
        for person, act, body, counted in (
            (carol, "join", {}, (2, 0)),
            (self.alice, "invite", {"user_id": dora.id}, (2, 1)),
            (dora, "join", {}, (3, 0)),
            (carol, "leave", {}, (2, 0)),
        ):
            await person.ask("POST", f"{path}/{act}", body)
            summary = (await self.alice.sync())["rooms"]["join"][room]["summary"]
            counts = summary["m.joined_member_count"], summary["m.invited_member_count"]
            self.assertEqual(counts, counted, act)
