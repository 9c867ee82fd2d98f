"""Conversation types, as people meet them: what each one allows, on every path."""

from collections.abc import Mapping
from typing import Any

from tests.support import Person, Server, WireTest, timeline

ROOM_TYPE = "org.hearth.room_type"


async def kind_of(person: Person, room: str) -> str:
    """The type that a room's create event names."""
    create = await person.ask("GET", f"/rooms/{room}/state/m.room.create")
    return str(create[ROOM_TYPE])


async def family(server: Server, name: str, roster: Mapping[Person, str]) -> str:
    """A family's conversation, made as the families service makes it."""
    rooms = server.app.rooms
    roles = {person.id: role for person, role in roster.items()}
    return await server.app.storage.store.write(lambda txn: rooms.families.create(txn, name, roles))


class DirectTest(WireTest):
    """``direct``: exactly two people, once."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def direct(self, one: Person, other: Person, **more: Any) -> str:
        return await one.create_room(
            is_direct=True, invite=[other.id], preset="trusted_private_chat", **more
        )

    async def test_asking_again_gives_the_same_room(self) -> None:
        room = await self.direct(self.alice, self.bob)
        self.assertEqual(await kind_of(self.alice, room), "direct")
        self.assertEqual(await self.direct(self.alice, self.bob), room)
        await self.bob.join(room)
        self.assertEqual(await self.direct(self.bob, self.alice), room)
        self.assertNotEqual(await self.direct(self.alice, self.carol), room)

    async def test_the_other_may_ask_instead_of_accepting(self) -> None:
        room = await self.direct(self.alice, self.bob)
        self.assertEqual(await self.direct(self.bob, self.alice), room)
        joined = await self.bob.ask("GET", "/joined_rooms")
        self.assertEqual(joined["joined_rooms"], [room])

    async def test_no_third_person_on_any_path(self) -> None:
        room = await self.direct(self.alice, self.bob)
        await self.bob.join(room)
        member = f"/rooms/{room}/state/m.room.member/{self.carol.id}"
        for method, path, body in (
            ("POST", f"/rooms/{room}/invite", {"user_id": self.carol.id}),
            ("PUT", member, {"membership": "invite"}),
        ):
            code, answer = await self.alice.call(method, path, body)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), path)
            self.assertIn("direct", answer["error"])
        code, answer = await self.carol.call("POST", f"/rooms/{room}/join")
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))

    async def test_never_public_and_without_alias(self) -> None:
        room = await self.direct(self.alice, self.bob)
        alias = "/directory/room/%23us:localhost"
        for method, path, body in (
            ("PUT", f"/rooms/{room}/state/m.room.join_rules", {"join_rule": "public"}),
            ("PUT", f"/rooms/{room}/state/m.room.join_rules", {"join_rule": "knock"}),
            (
                "PUT",
                f"/rooms/{room}/state/m.room.history_visibility",
                {"history_visibility": "world_readable"},
            ),
            ("PUT", alias, {"room_id": room}),
            ("PUT", f"/directory/list/room/{room}", {"visibility": "public"}),
        ):
            code, answer = await self.alice.call(method, path, body)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), path)
        for wish in ({"room_alias_name": "us"}, {"visibility": "public"}):
            body = {"is_direct": True, "invite": [self.carol.id], **wish}
            code, answer = await self.alice.call("POST", "/createRoom", body)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), wish)

    async def test_both_can_come_back(self) -> None:
        room = await self.direct(self.alice, self.bob)
        await self.bob.join(room)
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        await self.bob.join(room)
        await self.alice.ask("POST", f"/rooms/{room}/leave")
        self.assertEqual(await self.direct(self.alice, self.bob), room)
        for person in (self.alice, self.bob):
            joined = await person.ask("GET", "/joined_rooms")
            self.assertEqual(joined["joined_rooms"], [room])

    async def test_a_room_that_both_have_left_is_over(self) -> None:
        room = await self.direct(self.alice, self.bob)
        await self.bob.join(room)
        for person in (self.alice, self.bob):
            await person.ask("POST", f"/rooms/{room}/leave")
        self.assertNotEqual(await self.direct(self.alice, self.bob), room)

    async def test_several_people_are_a_group(self) -> None:
        room = await self.alice.create_room(is_direct=True, invite=[self.bob.id, self.carol.id])
        self.assertEqual(await kind_of(self.alice, room), "group")

    async def test_the_type_can_be_named(self) -> None:
        creation = {ROOM_TYPE: "direct"}
        room = await self.alice.create_room(creation_content=creation, invite=[self.bob.id])
        self.assertEqual(await kind_of(self.alice, room), "direct")
        code, answer = await self.alice.call(
            "POST", "/createRoom", {"creation_content": creation, "invite": []}
        )
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        code, answer = await self.alice.call(
            "POST", "/createRoom", {"creation_content": {ROOM_TYPE: "secret"}}
        )
        self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"))

    async def test_the_type_is_for_life(self) -> None:
        room = await self.direct(self.alice, self.bob)
        code, answer = await self.alice.call(
            "PUT", f"/rooms/{room}/state/m.room.create", {ROOM_TYPE: "group"}
        )
        self.assertEqual(code, 400, answer)
        await self.hearth.restart()
        self.assertEqual(await kind_of(self.alice, room), "direct")
        code, answer = await self.alice.call(
            "POST", f"/rooms/{room}/invite", {"user_id": self.carol.id}
        )
        self.assertEqual(code, 403, answer)


class SelfTest(WireTest):
    """``self``: somebody's notes to themselves."""

    async def test_everybody_has_one_from_the_start(self) -> None:
        hearth = await self.server(rooms={"self_room": True})
        alice = await hearth.person("alice")
        joined = await alice.ask("GET", "/joined_rooms")
        [room] = joined["joined_rooms"]
        self.assertEqual(await kind_of(alice, room), "self")
        again = await alice.create_room(creation_content={ROOM_TYPE: "self"})
        self.assertEqual(again, room)

    async def test_nobody_else_comes_in(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(creation_content={ROOM_TYPE: "self"})
        code, answer = await alice.call("POST", f"/rooms/{room}/invite", {"user_id": bob.id})
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        self.assertIn("notes to themselves", answer["error"])
        body = {"creation_content": {ROOM_TYPE: "self"}, "invite": [bob.id]}
        code, answer = await alice.call("POST", "/createRoom", body)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))


class FamilyTest(WireTest):
    """``family``: in step with the roster."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.mum, self.dad, self.kid, self.aunt = await self.hearth.people(
            "mum", "dad", "kid", "aunt"
        )
        self.roster = {self.mum: "guardian", self.dad: "guardian", self.kid: "child"}
        self.room = await family(self.hearth, "The Millers", self.roster)

    async def follow(self) -> None:
        roles = {person.id: role for person, role in self.roster.items()}
        families = self.hearth.app.rooms.families
        await self.hearth.app.storage.store.write(
            lambda txn: families.follow(txn, self.room, roles)
        )

    async def levels(self) -> dict[str, int]:
        path = f"/rooms/{self.room}/state/m.room.power_levels"
        content = await self.mum.ask("GET", path)
        return dict(content["users"])

    async def joined(self) -> set[str]:
        answer = await self.mum.ask("GET", f"/rooms/{self.room}/joined_members")
        return set(answer["joined"])

    async def test_everybody_of_the_roster_is_in_it(self) -> None:
        self.assertEqual(await kind_of(self.kid, self.room), "family")
        self.assertEqual(await self.joined(), {self.mum.id, self.dad.id, self.kid.id})
        levels = {self.mum.id: 100, self.dad.id: 100, self.kid.id: 0}
        self.assertEqual(await self.levels(), levels)
        encryption = await self.kid.ask("GET", f"/rooms/{self.room}/state/m.room.encryption")
        self.assertEqual(encryption["algorithm"], "m.megolm.v1.aes-sha2")

    async def test_they_talk(self) -> None:
        before = await self.dad.sync()
        await self.kid.send(self.room, "m.room.encrypted", {"ciphertext": "..."})
        after = await self.dad.sync(since=before["next_batch"])
        self.assertEqual([e["sender"] for e in timeline(after, self.room)], [self.kid.id])

    async def test_members_cannot_change_who_is_in_it(self) -> None:
        member = f"/rooms/{self.room}/state/m.room.member/{self.aunt.id}"
        for person, method, path, body in (
            (self.mum, "POST", f"/rooms/{self.room}/invite", {"user_id": self.aunt.id}),
            (self.mum, "PUT", member, {"membership": "invite"}),
            (self.mum, "POST", f"/rooms/{self.room}/kick", {"user_id": self.kid.id}),
            (self.mum, "POST", f"/rooms/{self.room}/ban", {"user_id": self.kid.id}),
            (self.kid, "POST", f"/rooms/{self.room}/leave", {}),
            (self.aunt, "POST", f"/rooms/{self.room}/join", {}),
        ):
            code, answer = await person.call(method, path, body)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), path)
            self.assertIn("roster", answer["error"])

    async def test_members_cannot_change_their_roles(self) -> None:
        path = f"/rooms/{self.room}/state/m.room.power_levels"
        content = await self.mum.ask("GET", path)
        content["users"][self.kid.id] = 50
        code, answer = await self.mum.call("PUT", path, content)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        self.assertIn("roster", answer["error"])

    async def test_createroom_cannot_make_one(self) -> None:
        body = {"creation_content": {ROOM_TYPE: "family"}}
        code, answer = await self.mum.call("POST", "/createRoom", body)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))

    async def test_it_follows_the_roster(self) -> None:
        self.roster[self.aunt] = "adult"
        await self.follow()
        self.assertIn(self.aunt.id, await self.joined())
        del self.roster[self.aunt]
        await self.follow()
        self.assertNotIn(self.aunt.id, await self.joined())
        gone = await self.aunt.sync(filter={"room": {"include_leave": True}})
        self.assertIn(self.room, gone["rooms"]["leave"])

    async def test_a_guardian_steps_down_and_another_takes_over(self) -> None:
        self.roster[self.kid], self.roster[self.dad] = "guardian", "adult"
        await self.follow()
        levels = {self.mum.id: 100, self.dad.id: 50, self.kid.id: 100}
        self.assertEqual(await self.levels(), levels)
        del self.roster[self.dad]
        await self.follow()
        self.assertEqual(await self.joined(), {self.mum.id, self.kid.id})

    async def test_it_can_follow_the_roster_whatever_version_new_rooms_have(self) -> None:
        hearth = await self.server(rooms={"default_version": "12", "self_room": False})
        mum, dad = await hearth.people("mum", "dad")
        room = await family(hearth, "Twelve", {mum: "guardian", dad: "adult"})
        create = await dad.ask("GET", f"/rooms/{room}/state/m.room.create")
        self.assertEqual((create["room_version"], create[ROOM_TYPE]), ("11", "family"))

    async def test_a_name_can_change_in_it(self) -> None:
        await self.kid.ask("PUT", f"/profile/{self.kid.id}/displayname", {"displayname": "Kit"})
        answer = await self.mum.ask("GET", f"/rooms/{self.room}/joined_members")
        self.assertEqual(answer["joined"][self.kid.id]["display_name"], "Kit")


class EncryptionByTypeTest(WireTest):
    """Encryption is on by default where people talk privately, and can be required."""

    async def encrypted(self, person: Person, room: str) -> bool:
        code, _ = await person.call("GET", f"/rooms/{room}/state/m.room.encryption")
        return code == 200

    async def test_private_rooms_are_encrypted_and_public_ones_are_not(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        self.assertTrue(await self.encrypted(alice, await alice.create_room(name="Private")))
        direct = await alice.create_room(is_direct=True, invite=[bob.id])
        self.assertTrue(await self.encrypted(alice, direct))
        public = await alice.create_room(preset="public_chat")
        self.assertFalse(await self.encrypted(alice, public))
        space = await alice.create_room(creation_content={"type": "m.space"})
        self.assertFalse(await self.encrypted(alice, space))
        self.assertEqual(await kind_of(alice, space), "space")

    async def test_required_means_that_plaintext_is_refused(self) -> None:
        hearth = await self.server(rooms={"require_encryption": ["group"], "self_room": False})
        alice = await hearth.person("alice")
        room = await alice.create_room()
        content = {"msgtype": "m.text", "body": "hello"}
        code, answer = await alice.call("PUT", f"/rooms/{room}/send/m.room.message/1", content)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        self.assertIn("encrypted", answer["error"])
        await alice.send(room, "m.room.encrypted", {"ciphertext": "..."})
        verify = {"msgtype": "m.key.verification.request", "body": "...", "to": alice.id}
        await alice.send(room, "m.room.message", verify)
        code, answer = await alice.call(
            "PUT", f"/rooms/{room}/state/m.room.encryption", {"algorithm": "none"}
        )
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
