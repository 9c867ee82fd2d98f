"""A new room begins as the specification says (client-server API, "Creation")."""

from typing import Any

from tests.support import Person, WireTest

AVATAR = {"type": "m.room.avatar", "state_key": "", "content": {"url": "mxc://localhost/a"}}


class CreationCase(WireTest):
    """Alice makes rooms; nothing is encrypted unless they ask."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def state(self, room: str, event_type: str, who: Person | None = None) -> Any:
        return await (who or self.alice).ask("GET", f"/rooms/{room}/state/{event_type}")

    async def first_events(self, room: str) -> list[tuple[str, str]]:
        page = await self.alice.messages(room, dir="f", limit=50)
        return [(event["type"], event["state_key"]) for event in page["chunk"]]


class OrderTest(CreationCase):
    """The first events of a room."""

    async def test_they_come_in_the_order_of_the_specification(self) -> None:
        for version in ("11", "12"):
            room = await self.alice.create_room(
                room_version=version,
                preset="private_chat",
                room_alias_name=f"street{version}",
                name="Our street",
                topic="What happens here",
                invite=[self.bob.id, self.carol.id],
                initial_state=[AVATAR, {"type": "org.x", "state_key": "k", "content": {}}],
            )
            self.assertEqual(
                await self.first_events(room),
                [
                    ("m.room.create", ""),
                    ("m.room.member", self.alice.id),
                    ("m.room.power_levels", ""),
                    ("m.room.canonical_alias", ""),
                    ("m.room.join_rules", ""),
                    ("m.room.history_visibility", ""),
                    ("m.room.guest_access", ""),
                    ("m.room.avatar", ""),
                    ("org.x", "k"),
                    ("m.room.name", ""),
                    ("m.room.topic", ""),
                    ("m.room.member", self.bob.id),
                    ("m.room.member", self.carol.id),
                ],
            )

    async def test_each_obeys_the_levels_that_stand_before_it(self) -> None:
        own = {"users": {self.alice.id: 50}}
        for wish, levels in (
            ({}, {"state_default": 51}),
            ({"name": "Ours"}, {"events": {"m.room.name": 51}}),
            ({"topic": "This"}, {"events": {"m.room.topic": 51}}),
            ({"room_alias_name": "ours"}, {"events": {"m.room.canonical_alias": 51}}),
            ({"initial_state": [AVATAR]}, {"events": {"m.room.avatar": 51}}),
            ({"invite": [self.bob.id]}, {"events": {}, "invite": 51}),
        ):
            wish = {**wish, "power_level_content_override": {**own, **levels}}
            code, answer = await self.alice.call("POST", "/createRoom", wish)
            self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_ROOM_STATE"), wish)
        self.assertEqual((await self.alice.ask("GET", "/joined_rooms"))["joined_rooms"], [])
        self.assertNotIn("rooms", await self.bob.sync())
        code, _ = await self.alice.call("GET", "/directory/room/%23ours:localhost")
        self.assertEqual(code, 404)
        enough = {**own, "events": {"m.room.name": 50}, "invite": 50}
        await self.alice.create_room(
            name="Ours", invite=[self.bob.id], power_level_content_override=enough
        )

    async def test_there_is_one_create_event_and_it_obeys_its_version(self) -> None:
        for wish in (
            {"initial_state": [{"type": "m.room.create", "content": {}}]},
            {"room_version": "12", "creation_content": {"additional_creators": self.bob.id}},
            {"room_version": "12", "creation_content": {"additional_creators": ["bob"]}},
        ):
            code, answer = await self.alice.call("POST", "/createRoom", wish)
            self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_ROOM_STATE"), wish)
        self.assertEqual((await self.alice.ask("GET", "/joined_rooms"))["joined_rooms"], [])


class ContentTest(CreationCase):
    """What the events say."""

    async def test_the_create_event_says_who_and_what_and_no_lies(self) -> None:
        for version in ("10", "11"):
            room = await self.alice.create_room(
                room_version=version,
                creation_content={
                    "creator": self.bob.id,
                    "room_version": "1",
                    "type": "org.example.garden",
                    "org.x": {"a": 1},
                },
            )
            event = await self.alice.ask("GET", f"/rooms/{room}/state/m.room.create?format=event")
            content = event["content"]
            self.assertEqual(event["sender"], self.alice.id)
            self.assertEqual(content["room_version"], version)
            self.assertEqual(content.get("creator"), self.alice.id if version == "10" else None)
            self.assertEqual(content["type"], "org.example.garden")
            self.assertEqual(content["org.x"], {"a": 1})

    async def test_each_preset_sets_its_three_rules(self) -> None:
        public, private = ("public", "shared", "forbidden"), ("invite", "shared", "can_join")
        for wish, rules in (
            ({"preset": "private_chat"}, private),
            ({"preset": "trusted_private_chat"}, private),
            ({"preset": "public_chat"}, public),
            ({}, private),
            ({"visibility": "private"}, private),
            ({"visibility": "public"}, public),
            ({"visibility": "public", "preset": "private_chat"}, private),
            ({"visibility": "private", "preset": "public_chat"}, public),
        ):
            room = await self.alice.create_room(**wish)
            found = (
                (await self.state(room, "m.room.join_rules"))["join_rule"],
                (await self.state(room, "m.room.history_visibility"))["history_visibility"],
                (await self.state(room, "m.room.guest_access"))["guest_access"],
            )
            self.assertEqual(found, rules, wish)
            listed = await self.alice.ask("GET", f"/directory/list/room/{room}")
            self.assertEqual(listed["visibility"], wish.get("visibility", "private"))

    async def test_initial_state_stands_above_the_preset_and_below_name_and_topic(self) -> None:
        given = {
            "m.room.history_visibility": {"history_visibility": "joined"},
            "m.room.name": {"name": "Overwritten"},
            "m.room.topic": {"topic": "Overwritten"},
            "m.room.join_rules": {"join_rule": "knock"},
        }
        state = [{"type": name, "content": content} for name, content in given.items()]
        room = await self.alice.create_room(
            preset="public_chat", initial_state=state, name="Name", topic="Topic"
        )
        for event_type in ("m.room.history_visibility", "m.room.join_rules"):
            self.assertEqual(await self.state(room, event_type), given[event_type])
        self.assertEqual(await self.state(room, "m.room.name"), {"name": "Name"})
        topic = await self.state(room, "m.room.topic")
        self.assertEqual(topic["topic"], "Topic")
        [text] = topic["m.topic"]["m.text"]
        self.assertEqual(text["body"], "Topic")
        self.assertEqual(text.get("mimetype", "text/plain"), "text/plain")

    async def test_who_is_trusted_has_the_level_of_the_creator(self) -> None:
        wish = {"preset": "trusted_private_chat", "invite": [self.bob.id, self.carol.id]}
        room = await self.alice.create_room(**wish, room_version="11")
        everybody = [self.alice.id, self.bob.id, self.carol.id]
        levels = await self.state(room, "m.room.power_levels")
        self.assertEqual(levels["users"], dict.fromkeys(everybody, 100))
        room = await self.alice.create_room(preset="private_chat", invite=[self.bob.id])
        levels = await self.state(room, "m.room.power_levels")
        self.assertEqual(levels["users"], {self.alice.id: 100})

    async def test_in_version_12_who_is_trusted_is_a_creator(self) -> None:
        dora = "@dora:localhost"
        room = await self.alice.create_room(
            preset="trusted_private_chat",
            invite=[self.bob.id, self.carol.id],
            creation_content={"additional_creators": [self.carol.id, dora]},
            room_version="12",
        )
        create = await self.state(room, "m.room.create")
        creators = [self.bob.id, self.carol.id, dora]
        self.assertEqual(sorted(create["additional_creators"]), creators)
        levels = await self.state(room, "m.room.power_levels")
        self.assertEqual(levels["users"], {})
        await self.bob.join(room)
        await self.bob.set_state(room, "m.room.power_levels", {**levels, "ban": 2**53 - 1})

    async def test_in_version_12_a_tombstone_takes_more_than_other_state(self) -> None:
        room = await self.alice.create_room(room_version="12")
        levels = await self.state(room, "m.room.power_levels")
        self.assertEqual(levels["users"], {})
        self.assertGreater(levels["events"]["m.room.tombstone"], levels["state_default"])

    async def test_an_invite_to_a_direct_conversation_says_so(self) -> None:
        for is_direct in (True, False):
            wish = {"invite": [self.bob.id, self.carol.id], "is_direct": is_direct}
            room = await self.alice.create_room(**wish)
            for person in (self.bob, self.carol):
                content = await self.state(room, f"m.room.member/{person.id}")
                self.assertEqual(content.get("is_direct", False), is_direct)
