"""Hiding a conversation: out of sight until somebody writes, and nobody else notices."""

from typing import Any

from tests.support import Person, WireTest, bodies


class HideTest(WireTest):
    """Bob hides the street's room."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)
        self.path = f"/_hearth/client/v1/hidden_rooms/{self.room}"

    async def rooms(self, who: Person, since: str | None = None) -> tuple[dict[str, Any], str]:
        answer = await who.sync(since=since)
        return answer.get("rooms", {}), answer["next_batch"]

    async def test_it_leaves_and_comes_back_with_the_next_message(self) -> None:
        _, token = await self.rooms(self.bob)
        await self.bob.ask("PUT", self.path)
        rooms, token = await self.rooms(self.bob, token)
        self.assertEqual(list(rooms["leave"]), [self.room])
        phone = await self.hearth.log_in(self.bob)
        self.assertEqual((await self.rooms(phone))[0], {})
        await self.alice.set_state(self.room, "m.room.topic", {"topic": "No message"})
        await self.hearth.restart()
        rooms, token = await self.rooms(self.bob, token)
        self.assertEqual(rooms, {})
        await self.alice.say(self.room, "Is anybody there?")
        rooms, token = await self.rooms(self.bob, token)
        section = rooms["join"][self.room]
        self.assertEqual(bodies(section["timeline"]["events"]), ["Is anybody there?"])
        types = [e["type"] for e in section["state"]["events"] + section["timeline"]["events"]]
        self.assertIn("m.room.create", types)
        listed = await self.bob.ask("GET", "/_hearth/client/v1/hidden_rooms")
        self.assertEqual(listed, {"rooms": []})

    async def test_it_comes_back_when_it_is_wanted(self) -> None:
        await self.bob.ask("PUT", self.path)
        rooms, token = await self.rooms(self.bob)
        self.assertEqual(rooms, {})
        listed = await self.bob.ask("GET", "/_hearth/client/v1/hidden_rooms")
        self.assertEqual(listed, {"rooms": [self.room]})
        await self.bob.ask("DELETE", self.path)
        rooms, token = await self.rooms(self.bob, token)
        self.assertEqual(list(rooms["join"]), [self.room])
        self.assertEqual((await self.rooms(self.bob, token))[0], {})

    async def test_nobody_else_notices(self) -> None:
        _, token = await self.rooms(self.alice)
        await self.bob.ask("PUT", self.path)
        self.assertEqual((await self.rooms(self.alice, token))[0], {})
        members = await self.alice.ask("GET", f"/rooms/{self.room}/joined_members")
        self.assertEqual(set(members["joined"]), {self.alice.id, self.bob.id})

    async def test_only_ones_own_rooms(self) -> None:
        private = await self.alice.create_room()
        code, answer = await self.bob.call("PUT", f"/_hearth/client/v1/hidden_rooms/{private}")
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
