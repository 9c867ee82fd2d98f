"""Blocking invites: whoever wants none gets none, by whichever route."""

from typing import Any

from tests.support import Person, WireTest

BLOCKED = (403, "M_INVITE_BLOCKED")


class InvitePermissionTest(WireTest):
    """Client-server API, "Invite permission": Bob wants to be left alone."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def block(self, content: Any) -> None:
        path = f"/user/{self.bob.id}/account_data/m.invite_permission_config"
        await self.bob.ask("PUT", path, content)

    async def answer(
        self, who: Person, method: str, path: str, body: Any
    ) -> tuple[int, str | None]:
        code, answer = await who.call(method, path, body)
        return code, answer.get("errcode")

    async def test_every_way_to_invite_is_refused_and_leaves_nothing_behind(self) -> None:
        room = await self.alice.create_room(invite=[self.carol.id])
        direct = await self.alice.create_room(is_direct=True, invite=[self.bob.id])
        await self.bob.join(direct)
        await self.bob.ask("POST", f"/rooms/{direct}/leave")
        await self.block({"default_action": "block"})
        rooms = (await self.alice.ask("GET", "/joined_rooms"))["joined_rooms"]
        invite = {"user_id": self.bob.id}
        member = f"/rooms/{room}/state/m.room.member/{self.bob.id}"
        by_state = {"type": "m.room.member", "state_key": self.bob.id}
        content = {"membership": "invite"}
        for method, path, body in (
            ("POST", f"/rooms/{room}/invite", invite),
            ("PUT", member, content),
            ("POST", "/createRoom", {"invite": [self.carol.id, self.bob.id]}),
            ("POST", "/createRoom", {"is_direct": True, "invite": [self.bob.id]}),
            ("POST", "/createRoom", {"initial_state": [{**by_state, "content": content}]}),
            ("POST", f"/rooms/{direct}/invite", invite),
            ("POST", f"/rooms/{direct}/upgrade", {"new_version": "11"}),
        ):
            got = await self.answer(self.alice, method, path, body)
            self.assertEqual(got, BLOCKED, (method, path, body))
        self.assertEqual((await self.alice.ask("GET", "/joined_rooms"))["joined_rooms"], rooms)
        self.assertNotIn("invite", (await self.bob.sync()).get("rooms", {}))
        await self.hearth.restart()
        self.assertEqual(
            await self.answer(self.alice, "POST", f"/rooms/{room}/invite", invite), BLOCKED
        )
        await self.block({})
        await self.alice.ask("POST", f"/rooms/{room}/invite", invite)
        self.assertEqual(list((await self.bob.sync())["rooms"]["invite"]), [room])

    async def test_who_may_not_invite_hears_that_and_no_more(self) -> None:
        room = await self.alice.create_room()
        await self.block({"default_action": "block"})
        got = await self.answer(
            self.carol, "POST", f"/rooms/{room}/invite", {"user_id": self.bob.id}
        )
        self.assertEqual(got, (403, "M_FORBIDDEN"))

    async def test_only_the_action_block_blocks(self) -> None:
        room = await self.alice.create_room()
        in_room = f"/user/{self.bob.id}/rooms/{room}/account_data/m.invite_permission_config"
        await self.bob.ask("PUT", in_room, {"default_action": "block"})
        for content in ({}, {"default_action": "allow"}, {"default_action": ["block"]}):
            await self.block(content)
            await self.alice.ask("POST", f"/rooms/{room}/invite", {"user_id": self.bob.id})
            await self.bob.ask("POST", f"/rooms/{room}/leave")

    async def test_invites_from_before_are_not_shown_while_they_are_blocked(self) -> None:
        token = (await self.bob.sync())["next_batch"]
        start = (await self.bob.ask("GET", "/events", query={"timeout": 0}))["end"]
        room = await self.alice.create_room(invite=[self.bob.id], preset="private_chat")
        await self.block({"default_action": "block"})
        for since in (token, None):
            self.assertNotIn("invite", (await self.bob.sync(since)).get("rooms", {}))
        answer = await self.bob.ask("GET", "/events", query={"from": start, "timeout": 0})
        self.assertEqual(answer["chunk"], [])
        answer = await self.bob.ask("GET", "/initialSync")
        self.assertEqual(answer["rooms"], [])
        state = await self.alice.ask("GET", f"/rooms/{room}/members")
        self.assertIn(self.bob.id, [event["state_key"] for event in state["chunk"]])
        await self.bob.join(room)

    async def test_coming_in_by_oneself_is_no_invite(self) -> None:
        public = await self.alice.create_room(preset="public_chat")
        direct = await self.alice.create_room(is_direct=True, invite=[self.bob.id])
        await self.bob.join(direct)
        await self.bob.ask("POST", f"/rooms/{direct}/leave")
        families, store = self.hearth.app.rooms.families, self.hearth.app.storage.store
        roster = {self.alice.id: "guardian"}
        family = await store.write(lambda txn: families.create(txn, "Baker", roster))
        await self.block({"default_action": "block"})
        await self.bob.join(public)
        await self.bob.join(direct)
        roster[self.bob.id] = "child"
        await store.write(lambda txn: families.follow(txn, family, roster))
        joined = await self.bob.ask("GET", "/joined_rooms")
        self.assertEqual(set(joined["joined_rooms"]), {public, direct, family})
