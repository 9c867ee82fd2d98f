"""initialSync and the event stream of before: few still ask, and they get the truth."""

from typing import Any

from twisted.internet.defer import Deferred

from tests.support import Person, WireTest, bodies

WORLD = [
    {
        "type": "m.room.history_visibility",
        "state_key": "",
        "content": {"history_visibility": "world_readable"},
    }
]


class OldSyncCase(WireTest):
    """Alice and Bob with old clients."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def events(self, who: Person, start: str | None, **query: Any) -> Any:
        if start is not None:
            query["from"] = start
        return await who.ask("GET", "/events", query=query)

    async def now(self, who: Person) -> str:
        return str((await self.events(who, None))["end"])


class InitialSyncTest(OldSyncCase):
    """What there is."""

    async def test_everything_at_once(self) -> None:
        room = await self.alice.create_room(
            preset="public_chat", visibility="public", name="Street"
        )
        invite = await self.bob.create_room(invite=[self.alice.id])
        left = await self.bob.create_room(preset="public_chat")
        await self.alice.join(left)
        await self.alice.ask("POST", f"/rooms/{left}/leave")
        for number in range(5):
            await self.alice.say(room, str(number))
        await self.alice.ask("PUT", f"/user/{self.alice.id}/rooms/{room}/tags/u.x", {})
        await self.alice.ask("PUT", f"/user/{self.alice.id}/account_data/org.x", {"a": 1})
        answer = await self.alice.ask("GET", "/initialSync", query={"limit": 2})
        rooms = {each["room_id"]: each for each in answer["rooms"]}
        self.assertEqual(set(rooms), {room, invite})
        self.assertEqual(bodies(rooms[room]["messages"]["chunk"]), ["3", "4"])
        names = [e["content"] for e in rooms[room]["state"] if e["type"] == "m.room.name"]
        self.assertEqual(names, [{"name": "Street"}])
        self.assertEqual(rooms[room]["visibility"], "public")
        self.assertEqual([e["type"] for e in rooms[room]["account_data"]], ["m.tag"])
        self.assertEqual(rooms[invite]["membership"], "invite")
        self.assertEqual(rooms[invite]["invite"]["sender"], self.bob.id)
        self.assertIn("org.x", [each["type"] for each in answer["account_data"]])
        start = rooms[room]["messages"]["start"]
        page = await self.alice.messages(room, **{"from": start}, limit=2)
        self.assertEqual(bodies(page["chunk"]), ["2", "1"])
        answer = await self.alice.ask("GET", "/initialSync", query={"archived": "true"})
        memberships = {each["room_id"]: each["membership"] for each in answer["rooms"]}
        self.assertEqual(memberships, {room: "join", invite: "invite", left: "leave"})

    async def test_one_room(self) -> None:
        room = await self.alice.create_room(name="Ours")
        for number in range(12):
            await self.alice.say(room, str(number))
        await self.alice.ask("PUT", f"/user/{self.alice.id}/rooms/{room}/tags/u.x", {})
        answer = await self.alice.ask("GET", f"/rooms/{room}/initialSync")
        self.assertEqual(bodies(answer["messages"]["chunk"]), [str(n) for n in range(2, 12)])
        self.assertEqual((answer["membership"], answer["visibility"]), ("join", "private"))
        self.assertEqual([each["type"] for each in answer["account_data"]], ["m.tag"])
        page = await self.alice.messages(room, **{"from": answer["messages"]["start"]}, limit=2)
        self.assertEqual(bodies(page["chunk"]), ["1", "0"])
        for other, expected in ((room, 403), ("!no:localhost", 403), ("no", 400)):
            code, refusal = await self.bob.call("GET", f"/rooms/{other}/initialSync")
            self.assertEqual(code, expected)
            self.assertTrue(refusal["error"])

    async def test_anybody_may_look_into_a_room_that_the_world_can_read(self) -> None:
        room = await self.alice.create_room(initial_state=WORLD)
        await self.alice.say(room, "hello world")
        answer = await self.bob.ask("GET", f"/rooms/{room}/initialSync")
        self.assertEqual(bodies(answer["messages"]["chunk"]), ["hello world"])
        self.assertNotIn("membership", answer)
        end = answer["messages"]["end"]
        await self.alice.say(room, "still here?")
        answer = await self.events(self.bob, end, room_id=room)
        self.assertEqual(bodies(answer["chunk"]), ["still here?"])
        answer = await self.events(self.bob, answer["end"], room_id=room)
        self.assertEqual(answer["chunk"], [])

    async def test_to_device_messages_wait_for_sync(self) -> None:
        path = f"/sendToDevice/org.x/{self.bob.transaction()}"
        message = {self.alice.id: {self.alice.device_id: {"a": 1}}}
        await self.bob.ask("PUT", path, {"messages": message})
        end = (await self.alice.ask("GET", "/initialSync"))["end"]
        end = (await self.events(self.alice, end))["end"]
        answer = await self.alice.sync(since=end)
        self.assertEqual(len(answer["to_device"]["events"]), 1)


class EventsTest(OldSyncCase):
    """What happens."""

    async def test_each_event_comes_once_and_in_order(self) -> None:
        joined = [{**WORLD[0], "content": {"history_visibility": "joined"}}]
        room = await self.alice.create_room(preset="public_chat", initial_state=joined)
        other = await self.alice.create_room(initial_state=WORLD)
        start = await self.now(self.bob)
        await self.alice.say(room, "before Bob")
        await self.bob.join(room)
        for number in range(205):
            await self.alice.say(room, str(number))
            if number % 50 == 0:
                await self.alice.say(other, "not for Bob")
        seen: list[Any] = []
        while True:
            answer = await self.events(self.bob, start)
            if not answer["chunk"]:
                break
            self.assertEqual(answer["start"], start)
            seen += answer["chunk"]
            start = answer["end"]
        self.assertEqual(bodies(seen), [str(n) for n in range(205)])
        self.assertEqual({event["room_id"] for event in seen}, {room})
        self.assertEqual(seen[0]["content"]["membership"], "join")

    async def test_it_waits_until_something_happens(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        start = await self.now(self.bob)
        self.assertEqual((await self.events(self.bob, start, timeout=50))["chunk"], [])
        for query in ({}, {"room_id": room}):
            waiting = Deferred.fromCoroutine(self.events(self.bob, start, timeout=60_000, **query))
            await self.alice.say(room, "wake up")
            answer = await waiting
            self.assertEqual(bodies(answer["chunk"]), ["wake up"])
            start = answer["end"]

    async def test_invites_come_too_and_typing_does_not(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        start = await self.now(self.bob)
        typing = {"typing": True, "timeout": 5000}
        await self.alice.ask("PUT", f"/rooms/{room}/typing/{self.alice.id}", typing)
        party = await self.alice.create_room(invite=[self.bob.id])
        answer = await self.events(self.bob, start)
        self.assertEqual([each["room_id"] for each in answer["chunk"]], [party])
        self.assertEqual((await self.events(self.bob, answer["end"]))["chunk"], [])

    async def test_a_single_event_only_for_who_may_see_it(self) -> None:
        room = await self.alice.create_room()
        event_id = await self.alice.say(room, "secret")
        event = await self.alice.ask("GET", f"/events/{event_id}")
        self.assertEqual((event["room_id"], event["content"]["body"]), (room, "secret"))
        for who, name in ((self.bob, event_id), (self.alice, "$nothing"), (self.alice, "x")):
            code, answer = await who.call("GET", f"/events/{name}")
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))

    async def test_bad_tokens_are_refused(self) -> None:
        room = await self.alice.create_room()
        for start in ("x", "s1", "t5", "s99999999_1_1", "s1_1_99999999999999999999"):
            code, answer = await self.alice.call("GET", "/events", query={"from": start})
            self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"), start)
        code, answer = await self.alice.call("GET", "/events", query={"from": "x", "room_id": room})
        self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"))
        code, answer = await self.bob.call("GET", "/events", query={"room_id": room})
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
