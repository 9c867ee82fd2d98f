"""Coming and going, rule by rule (client-server API, "Room membership")."""

from typing import Any

from tests.support import Person, WireTest, timeline

REFUSED = (403, "M_FORBIDDEN")


class MembershipCase(WireTest):
    """Alice has rooms; Bob and Carol come and go."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def answer(
        self, who: Person, verb: str, room: str, target: Person | None = None, **more: Any
    ) -> tuple[int, Any]:
        """The status and the errcode of one membership request; the answer where it succeeds."""
        body = more if target is None else {"user_id": target.id, **more}
        code, answer = await who.call("POST", f"/rooms/{room}/{verb}", body)
        return code, answer if code == 200 else answer["errcode"]

    async def member(self, room: str, person: Person) -> dict[str, Any]:
        path = f"/rooms/{room}/state/m.room.member/{person.id}"
        return dict(await self.alice.ask("GET", path))

    async def room(self, rule: str = "invite", **content: Any) -> str:
        state = {"type": "m.room.join_rules", "content": {"join_rule": rule, **content}}
        return await self.alice.create_room(initial_state=[state])


class InvitingTest(MembershipCase):
    async def test_only_members_with_the_level_invite(self) -> None:
        room = await self.room("public")
        self.assertEqual(await self.answer(self.bob, "invite", room, self.carol), REFUSED)
        await self.bob.join(room)
        levels = await self.alice.ask("GET", f"/rooms/{room}/state/m.room.power_levels")
        await self.alice.set_state(room, "m.room.power_levels", {**levels, "invite": 50})
        self.assertEqual(await self.answer(self.bob, "invite", room, self.carol), REFUSED)
        path = f"/rooms/{room}/state/m.room.member/{self.carol.id}"
        code, _ = await self.bob.call("PUT", path, {"membership": "invite"})
        self.assertEqual(code, 403)
        self.assertNotIn("rooms", await self.carol.sync())

    async def test_who_is_in_the_room_is_not_invited(self) -> None:
        room = await self.room("public")
        await self.bob.join(room)
        self.assertEqual(await self.answer(self.alice, "invite", room, self.bob), REFUSED)

    async def test_a_reason_is_kept_with_every_step(self) -> None:
        room = await self.room("knock")
        steps = (
            (self.bob, "knock", None, "knock"),
            (self.alice, "invite", self.bob, "invite"),
            (self.bob, "join", None, "join"),
            (self.alice, "kick", self.bob, "leave"),
            (self.alice, "ban", self.bob, "ban"),
            (self.alice, "unban", self.bob, "leave"),
            (self.alice, "invite", self.bob, "invite"),
            (self.bob, "leave", None, "leave"),
        )
        for number, (who, verb, target, membership) in enumerate(steps):
            reason = f"reason {number}"
            if verb == "knock":
                await who.ask("POST", f"/knock/{room}", {"reason": reason})
            else:
                code, answer = await self.answer(who, verb, room, target, reason=reason)
                self.assertEqual(code, 200, answer)
            found = await self.member(room, self.bob)
            self.assertEqual((found["membership"], found["reason"]), (membership, reason))


class JoiningTest(MembershipCase):
    async def test_the_answer_names_the_room(self) -> None:
        room = await self.room("public")
        await self.alice.ask("PUT", "/directory/room/%23here:localhost", {"room_id": room})
        for person, path in (
            (self.bob, f"/rooms/{room}/join"),
            (self.carol, "/join/%23here:localhost"),
            (self.carol, f"/join/{room}"),
        ):
            self.assertEqual(await person.ask("POST", path), {"room_id": room})

    async def test_an_invite_opens_a_restricted_room_without_its_conditions(self) -> None:
        space = await self.alice.create_room()
        allow = [{"type": "m.room_membership", "room_id": space}]
        room = await self.room("restricted", allow=allow)
        self.assertEqual(await self.answer(self.bob, "join", room), REFUSED)
        await self.answer(self.alice, "invite", room, self.bob)
        self.assertEqual((await self.answer(self.bob, "join", room))[0], 200)

    async def test_to_be_invited_to_the_other_room_is_not_enough(self) -> None:
        space = await self.alice.create_room(invite=[self.bob.id])
        room = await self.room(
            "restricted", allow=[{"type": "m.room_membership", "room_id": space}]
        )
        self.assertEqual(await self.answer(self.bob, "join", room), REFUSED)

    async def test_who_has_joined_stays_when_the_condition_is_met_no_more(self) -> None:
        space = await self.alice.create_room(preset="public_chat")
        await self.bob.join(space)
        allow = [{"type": "m.room_membership", "room_id": space}]
        room = await self.room("restricted", allow=allow)
        await self.bob.join(room)
        self.assertIn("join_authorised_via_users_server", await self.member(room, self.bob))
        await self.answer(self.bob, "leave", space)
        await self.bob.say(room, "still here")
        # A later event of his own says no more who vouched for him.
        await self.bob.ask("PUT", f"/profile/{self.bob.id}/displayname", {"displayname": "B"})
        member = await self.member(room, self.bob)
        self.assertEqual(member["displayname"], "B")
        self.assertNotIn("join_authorised_via_users_server", member)

    async def test_conditions_that_are_none_let_nobody_in(self) -> None:
        open_room = await self.room("public")
        await self.bob.join(open_room)
        for allow in (
            None,
            "everybody",
            [],
            [open_room],
            [{"type": "m.room_membership"}],
            [{"type": "m.room_membership", "room_id": 5}],
            [{"type": "org.example.friends", "room_id": open_room}],
        ):
            room = await self.room("restricted", **({} if allow is None else {"allow": allow}))
            self.assertEqual(await self.answer(self.bob, "join", room), REFUSED, allow)
            await self.answer(self.alice, "invite", room, self.bob)
            self.assertEqual((await self.answer(self.bob, "join", room))[0], 200)

    async def test_names_and_pictures_come_with_every_membership(self) -> None:
        shown = {"displayname": "Bob B.", "avatar_url": "mxc://localhost/bob"}
        for key, value in shown.items():
            await self.bob.ask("PUT", f"/profile/{self.bob.id}/{key}", {key: value})
        room = await self.room("knock")
        await self.bob.ask("POST", f"/knock/{room}")
        await self._check_shown(room, "knock", shown)
        await self.answer(self.alice, "invite", room, self.bob)
        await self._check_shown(room, "invite", shown)
        await self.bob.join(room)
        await self._check_shown(room, "join", shown)

    async def _check_shown(self, room: str, membership: str, shown: dict[str, str]) -> None:
        member = await self.member(room, self.bob)
        self.assertEqual(member["membership"], membership)
        self.assertEqual({key: member.get(key) for key in shown}, shown, membership)


class KnockingTest(MembershipCase):
    async def test_a_knock_is_taken_back_or_turned_away(self) -> None:
        room = await self.room("knock")
        for who, verb, membership in (
            (self.bob, "leave", "leave"),
            (self.alice, "kick", "leave"),
            (self.alice, "ban", "ban"),
        ):
            self.assertEqual(await self.bob.ask("POST", f"/knock/{room}"), {"room_id": room})
            before = await self.bob.sync()
            self.assertIn(room, before["rooms"]["knock"])
            target = None if who is self.bob else self.bob
            self.assertEqual((await self.answer(who, verb, room, target))[0], 200)
            self.assertEqual((await self.member(room, self.bob))["membership"], membership)
            after = await self.bob.sync(since=before["next_batch"])
            self.assertIn(room, after["rooms"]["leave"])

    async def test_where_one_cannot_knock(self) -> None:
        for rule in ("invite", "public", "restricted"):
            room = await self.room(rule)
            code, answer = await self.bob.call("POST", f"/knock/{room}")
            self.assertEqual((code, answer["errcode"]), REFUSED, rule)
        room = await self.room("knock")
        code, _ = await self.alice.call("POST", f"/knock/{room}")
        self.assertEqual(code, 403)
        await self.answer(self.alice, "invite", room, self.bob)
        code, _ = await self.bob.call("POST", f"/knock/{room}")
        self.assertEqual(code, 403)
        await self.answer(self.alice, "ban", room, self.carol)
        code, _ = await self.carol.call("POST", f"/knock/{room}")
        self.assertEqual(code, 403)
        for name in ("!none:localhost", "%23none:localhost"):
            code, answer = await self.bob.call("POST", f"/knock/{name}")
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))

    async def test_members_of_another_room_join_and_others_knock(self) -> None:
        space = await self.alice.create_room(preset="public_chat")
        await self.bob.join(space)
        allow = [{"type": "m.room_membership", "room_id": space}]
        room = await self.room("knock_restricted", allow=allow)
        await self.bob.join(room)
        self.assertEqual(await self.answer(self.carol, "join", room), REFUSED)
        await self.carol.ask("POST", f"/knock/{room}")
        await self.answer(self.alice, "invite", room, self.carol)
        await self.carol.join(room)


class LeavingTest(MembershipCase):
    async def test_who_has_left_needs_an_invite_again(self) -> None:
        room = await self.room()
        for _ in range(2):
            self.assertEqual(await self.answer(self.bob, "join", room), REFUSED)
            await self.answer(self.alice, "invite", room, self.bob)
            await self.bob.join(room)
            await self.answer(self.bob, "leave", room)
        await self.answer(self.alice, "invite", room, self.bob)
        await self.answer(self.bob, "leave", room)
        self.assertEqual(await self.answer(self.bob, "join", room), REFUSED)

    async def test_who_never_came_cannot_leave(self) -> None:
        room = await self.room("public")
        self.assertEqual(await self.answer(self.bob, "leave", room), REFUSED)

    async def test_of_a_forgotten_room_nothing_can_be_read(self) -> None:
        room = await self.room("public")
        await self.bob.join(room)
        said = await self.alice.say(room, "remember?")
        paths = (
            (f"/rooms/{room}/messages?dir=b", 403),
            (f"/rooms/{room}/state", 403),
            (f"/rooms/{room}/members", 403),
            (f"/rooms/{room}/state/m.room.create", 403),
            (f"/rooms/{room}/event/{said}", 404),
        )
        await self.answer(self.bob, "leave", room)
        for path, _ in paths:
            await self.bob.ask("GET", path)
        await self.answer(self.bob, "forget", room)
        for restarted in (False, True):
            if restarted:
                await self.hearth.restart()
            for path, code in paths:
                self.assertEqual((await self.bob.call("GET", path))[0], code, path)
        await self.bob.join(room)
        for path, _ in paths:
            await self.bob.ask("GET", path)

    async def test_a_forgotten_room_is_back_with_an_invite_or_a_knock(self) -> None:
        for rule, section in (("invite", "invite"), ("knock", "knock")):
            room = await self.room(rule)
            await self.answer(self.alice, "invite", room, self.bob)
            await self.bob.join(room)
            await self.answer(self.bob, "leave", room)
            await self.answer(self.bob, "forget", room)
            since = (await self.bob.sync())["next_batch"]
            if section == "invite":
                await self.answer(self.alice, "invite", room, self.bob)
            else:
                await self.bob.ask("POST", f"/knock/{room}")
            for answer in (await self.bob.sync(since=since), await self.bob.sync()):
                self.assertIn(room, answer["rooms"][section])


class BanningTest(MembershipCase):
    async def test_memberships_are_set_as_state_under_the_same_rules(self) -> None:
        room = await self.room("public")
        await self.bob.join(room)
        await self.carol.join(room)
        since = (await self.carol.sync())["next_batch"]
        path = f"/rooms/{room}/state/m.room.member/{self.carol.id}"
        for membership in ("leave", "ban"):
            code, answer = await self.bob.call("PUT", path, {"membership": membership})
            self.assertEqual((code, answer["errcode"]), REFUSED)
        for membership in ("leave", "ban", "leave"):
            await self.alice.ask("PUT", path, {"membership": membership})
            self.assertEqual((await self.member(room, self.carol))["membership"], membership)
        gone = await self.carol.sync(since=since)
        self.assertIn(room, gone["rooms"]["leave"])
        own = f"/rooms/{room}/state/m.room.member/{self.bob.id}"
        await self.bob.ask("PUT", own, {"membership": "leave"})
        await self.bob.ask("PUT", own, {"membership": "join"})
        self.assertEqual((await self.member(room, self.bob))["membership"], "join")

    async def test_banning_takes_the_level_and_ends_the_membership(self) -> None:
        room = await self.room("public")
        await self.bob.join(room)
        await self.carol.join(room)
        self.assertEqual(await self.answer(self.bob, "ban", room, self.carol), REFUSED)
        self.assertEqual(await self.answer(self.carol, "ban", room, self.bob), REFUSED)
        await self.answer(self.alice, "ban", room, self.bob)
        code, _ = await self.bob.call("PUT", f"/rooms/{room}/send/m.x/1", {})
        self.assertEqual(code, 403)
        since = (await self.bob.sync())["next_batch"]
        await self.alice.say(room, "not for Bob")
        self.assertEqual(timeline(await self.bob.sync(since=since), room), [])
        self.assertEqual(await self.answer(self.carol, "unban", room, self.bob), REFUSED)

    async def test_who_is_not_banned_cannot_be_forgiven(self) -> None:
        room = await self.room("public")
        await self.bob.join(room)
        for person in (self.bob, self.carol):
            got = await self.answer(self.alice, "unban", room, person)
            self.assertEqual(got, (403, "M_BAD_STATE"))
        self.assertEqual((await self.member(room, self.bob))["membership"], "join")

    async def test_levels_wait_for_who_is_not_there(self) -> None:
        room = await self.room("public")
        levels = await self.alice.ask("GET", f"/rooms/{room}/state/m.room.power_levels")
        levels["users"][self.bob.id] = 50
        await self.alice.set_state(room, "m.room.power_levels", levels)
        await self.bob.join(room)
        await self.bob.set_state(room, "m.room.name", {"name": "Bob's"})
        await self.answer(self.bob, "leave", room)
        await self.bob.join(room)
        await self.bob.set_state(room, "m.room.name", {"name": "Still Bob's"})
