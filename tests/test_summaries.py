"""Rooms in short: what people are told of a room before they are in it."""

from typing import Any
from urllib.parse import quote

from tests.support import Person, WireTest

SUMMARY = "/_matrix/client/v1/room_summary/"
NHEKO = "/_matrix/client/unstable/im.nheko.summary"


class SummaryTest(WireTest):
    """Client-server API, "Room Summaries"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def seen(self, who: Person | None, room: str) -> int:
        token = None if who is None else who.token
        path = SUMMARY + quote(room, safe="")
        code, answer = await self.hearth.call("GET", path, token=token)
        if code != 200:
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))
        return code

    async def test_a_summary_says_what_a_stranger_may_know(self) -> None:
        room = await self.alice.create_room(
            preset="public_chat",
            room_alias_name="street",
            name="Our street",
            topic="What happens here",
            initial_state=[
                {
                    "type": "m.room.encryption",
                    "state_key": "",
                    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
                },
                {"type": "m.room.avatar", "state_key": "", "content": {"url": "mxc://localhost/a"}},
            ],
        )
        expected = {
            "room_id": room,
            "name": "Our street",
            "topic": "What happens here",
            "avatar_url": "mxc://localhost/a",
            "canonical_alias": "#street:localhost",
            "num_joined_members": 1,
            "join_rule": "public",
            "world_readable": False,
            "guest_can_join": False,
            "room_version": "11",
            "encryption": "m.megolm.v1.aes-sha2",
        }
        code, answer = await self.hearth.call("GET", SUMMARY + "%23street:localhost")
        self.assertEqual((code, answer), (200, expected))
        answer = await self.bob.ask("GET", SUMMARY + room)
        self.assertEqual(answer, {**expected, "membership": "leave"})
        answer = await self.alice.ask("GET", SUMMARY + room, query={"via": "elsewhere.org"})
        self.assertEqual(answer, {**expected, "membership": "join"})
        old = {
            **expected,
            "membership": "join",
            "im.nheko.summary.room_version": "11",
            "im.nheko.summary.encryption": "m.megolm.v1.aes-sha2",
        }
        for path in (f"{NHEKO}/summary/{room}", f"{NHEKO}/rooms/{room}/summary"):
            self.assertEqual(await self.alice.ask("GET", path), old)

    async def test_only_who_may_come_in_knock_or_read_sees_a_room(self) -> None:
        space = await self.alice.create_room(creation_content={"type": "m.space"}, preset=None)
        room = await self.alice.create_room(name="Ours")

        async def rule(content: dict[str, Any]) -> None:
            await self.alice.set_state(room, "m.room.join_rules", content)

        allowed = [{"type": "m.room_membership", "room_id": space}]
        for content, member, other, stranger in (
            ({"join_rule": "invite"}, 200, 404, 404),
            ({"join_rule": "private"}, 200, 404, 404),
            ({"join_rule": "public"}, 200, 200, 200),
            ({"join_rule": "knock"}, 200, 200, 200),
            ({"join_rule": "knock_restricted", "allow": allowed}, 200, 200, 200),
            ({"join_rule": "restricted", "allow": allowed}, 200, 404, 404),
            ({"join_rule": "restricted", "allow": "everybody"}, 200, 404, 404),
            (
                {"join_rule": "restricted", "allow": [5, {"type": "m.room_membership"}]},
                200,
                404,
                404,
            ),
        ):
            await rule(content)
            self.assertEqual(await self.seen(self.alice, room), member, content)
            self.assertEqual(await self.seen(self.bob, room), other, content)
            self.assertEqual(await self.seen(None, room), stranger, content)
        await rule({"join_rule": "restricted", "allow": allowed})
        await self.alice.ask("POST", f"/rooms/{space}/invite", {"user_id": self.bob.id})
        self.assertEqual(await self.seen(self.bob, room), 404)
        await self.bob.join(space)
        self.assertEqual(await self.seen(self.bob, room), 200)
        self.assertEqual(await self.seen(None, room), 404)
        answer = await self.bob.ask("GET", SUMMARY + room)
        self.assertEqual((answer["allowed_room_ids"], answer["membership"]), ([space], "leave"))

    async def test_an_invite_shows_the_room_and_a_ban_hides_it(self) -> None:
        room = await self.alice.create_room()
        self.assertEqual(await self.seen(self.bob, room), 404)
        await self.alice.ask("POST", f"/rooms/{room}/invite", {"user_id": self.bob.id})
        answer = await self.bob.ask("GET", SUMMARY + room)
        self.assertEqual(answer["membership"], "invite")
        await self.alice.set_state(room, "m.room.join_rules", {"join_rule": "public"})
        await self.alice.ask("POST", f"/rooms/{room}/ban", {"user_id": self.bob.id})
        self.assertEqual(await self.seen(self.bob, room), 404)
        await self.alice.set_state(
            room, "m.room.history_visibility", {"history_visibility": "world_readable"}
        )
        self.assertEqual(await self.seen(self.bob, room), 200)

    async def test_odd_state_makes_no_odd_summary(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        for event_type, content in (
            ("m.room.name", {"name": ["a", "list"]}),
            ("m.room.topic", {"topic": {"an": "object"}}),
            ("m.room.avatar", {"url": "https://elsewhere.org/tracker.png"}),
            ("m.room.canonical_alias", {"alias": ""}),
            ("m.room.encryption", {"algorithm": "org.example.rot13"}),
            ("m.room.guest_access", {"guest_access": 5}),
        ):
            await self.alice.set_state(room, event_type, content)
        answer = await self.bob.ask("GET", SUMMARY + room)
        self.assertEqual(
            answer,
            {
                "room_id": room,
                "num_joined_members": 1,
                "join_rule": "public",
                "world_readable": False,
                "guest_can_join": False,
                "room_version": "11",
                "membership": "leave",
            },
        )

    async def test_what_is_no_room_has_no_summary(self) -> None:
        for name, code in (
            ("!nobody:localhost", 404),
            ("!room:elsewhere.org", 404),
            ("%23nobody:localhost", 404),
            ("%23alias:elsewhere.org", 404),
            ("@alice:localhost", 400),
            ("nonsense", 400),
            ("%00", 400),
        ):
            for prefix in (SUMMARY, f"{NHEKO}/summary/"):
                got, answer = await self.bob.call("GET", prefix + name)
                self.assertEqual(got, code, name)
                self.assertTrue(answer["error"])
        code, answer = await self.hearth.call("GET", SUMMARY + "!a:localhost", token="hs_wrong")
        self.assertEqual((code, answer["errcode"]), (401, "M_UNKNOWN_TOKEN"))
