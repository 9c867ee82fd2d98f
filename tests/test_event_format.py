"""How events look to clients (client-server API, "Room event format", "Stripped state")."""

from typing import Any

from tests.support import Person, WireTest, timeline

STATE = {
    "m.room.name": {"name": "Ours"},
    "m.room.topic": {"topic": "What happens here"},
    "m.room.avatar": {"url": "mxc://localhost/a"},
    "m.room.join_rules": {"join_rule": "knock"},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
}


class EventFormatTest(WireTest):
    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def test_the_room_is_named_but_in_its_own_section(self) -> None:
        room = await self.alice.create_room()
        said = await self.alice.say(room, "hello")
        [in_sync] = [
            e for e in timeline(await self.alice.sync(), room) if e["type"] == "m.room.message"
        ]
        self.assertNotIn("room_id", in_sync)
        page = await self.alice.messages(room, limit=1)
        alone = await self.alice.ask("GET", f"/rooms/{room}/event/{said}")
        state = await self.alice.ask("GET", f"/rooms/{room}/state")
        for event in (*page["chunk"], alone, *state):
            self.assertEqual(event["room_id"], room)
        for event in (in_sync, alone):
            self.assertEqual(event["sender"], self.alice.id)
            self.assertTrue(0 <= event["unsigned"]["age"] < 60_000)
            self.assertNotIn("state_key", event)

    async def test_an_event_tells_what_its_reader_was_at_the_time(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.alice.say(room, "before")
        await self.alice.ask("POST", f"/rooms/{room}/invite", {"user_id": self.bob.id})
        await self.alice.say(room, "invited")
        await self.bob.join(room)
        await self.alice.say(room, "joined")
        expected = {"before": "leave", "invited": "invite", "joined": "join"}
        page = await self.bob.messages(room, limit=10)
        told = {
            event["content"]["body"]: event["unsigned"]["membership"]
            for event in [*page["chunk"], *timeline(await self.bob.sync(), room)]
            if event["type"] == "m.room.message"
        }
        self.assertEqual(told, expected)
        own = [e for e in page["chunk"] if e.get("state_key") == self.bob.id]
        told = {e["content"]["membership"]: e["unsigned"]["membership"] for e in own}
        self.assertEqual(told, {"invite": "invite", "join": "join"})


class StrippedStateTest(WireTest):
    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")
        self.room = await self.alice.create_room(
            room_alias_name="ours",
            initial_state=[{"type": name, "content": value} for name, value in STATE.items()],
        )

    async def shown(self, who: Person, kind: str) -> list[dict[str, Any]]:
        answer = await who.sync()
        return list(answer["rooms"][kind][self.room][f"{kind}_state"]["events"])

    async def test_who_may_come_in_sees_what_the_room_is(self) -> None:
        await self.alice.set_state(self.room, "org.x", {"not": "for outsiders"})
        await self.alice.ask("POST", f"/rooms/{self.room}/invite", {"user_id": self.bob.id})
        await self.carol.ask("POST", f"/knock/{self.room}")
        for who, kind in ((self.bob, "invite"), (self.carol, "knock")):
            shown = await self.shown(who, kind)
            of_room = [event for event in shown if event["type"] != "m.room.member"]
            for event in of_room:
                self.assertEqual(event.keys(), {"sender", "type", "state_key", "content"})
            found = {event["type"]: event["content"] for event in of_room}
            create = found.pop("m.room.create")
            self.assertEqual(create["room_version"], "11")
            alias = found.pop("m.room.canonical_alias")
            self.assertEqual(alias, {"alias": "#ours:localhost"})
            self.assertEqual(found, STATE)
            [own] = [event for event in shown if event["state_key"] == who.id]
            self.assertEqual(own["content"]["membership"], kind)
            inviter = [event for event in shown if event["state_key"] == self.alice.id]
            self.assertEqual(len(inviter), 1 if kind == "invite" else 0)
