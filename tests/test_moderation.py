"""Locking and suspending accounts, and what a suspended person can still do."""

from typing import Any

from tests.support import PASSWORD, Person, WireTest

ADMIN = "/_matrix/client/v1/admin"
TEXT = {"msgtype": "m.text", "body": "hello"}
SUSPENDED = (403, "M_USER_SUSPENDED")


class ModerationCase(WireTest):
    """Olga is the organizer."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.olga, self.alice, self.bob = await self.hearth.people("olga", "alice", "bob")
        await self.hearth.app.people.accounts.set_admin(self.olga.id, True)

    async def answer(
        self, who: Person, method: str, path: str, body: Any = None
    ) -> tuple[int, str | None]:
        code, answer = await who.call(method, path, body)
        return code, answer.get("errcode")

    async def suspend(self, who: Person, suspended: bool = True) -> None:
        answer = await self.olga.ask("PUT", f"{ADMIN}/suspend/{who.id}", {"suspended": suspended})
        self.assertEqual(answer, {"suspended": suspended})


class AdministratorTest(ModerationCase):
    """Client-server API, "Server Administration"."""

    async def test_only_administrators_may_and_are_told_that_they_may(self) -> None:
        for name, value in (("lock", "locked"), ("suspend", "suspended")):
            for subject in (self.bob.id, "@nobody:localhost"):
                for method in ("GET", "PUT"):
                    path = f"{ADMIN}/{name}/{subject}"
                    got = await self.answer(self.alice, method, path, {value: True})
                    self.assertEqual(got, (403, "M_FORBIDDEN"))
        for who, expected in ((self.olga, {"lock": True, "suspend": True}), (self.alice, None)):
            answer = await who.ask("GET", "/capabilities")
            self.assertEqual(answer["capabilities"].get("m.account_moderation"), expected)

    async def test_not_everybody_can_be_moderated(self) -> None:
        await self.hearth.app.people.accounts.set_admin(self.alice.id, True)
        await self.hearth.app.people.accounts.deactivate(self.bob.id, erase=False)
        for name, value in (("lock", "locked"), ("suspend", "suspended")):
            for subject, refusal in (
                (self.alice.id, (403, "M_FORBIDDEN")),
                (self.bob.id, (404, "M_NOT_FOUND")),
                ("@nobody:localhost", (404, "M_NOT_FOUND")),
                ("@somebody:elsewhere.org", (400, "M_INVALID_PARAM")),
                ("somebody", (400, "M_INVALID_PARAM")),
            ):
                for method in ("GET", "PUT"):
                    path = f"{ADMIN}/{name}/{subject}"
                    got = await self.answer(self.olga, method, path, {value: True})
                    self.assertEqual(got, refusal, (method, path))
            own = f"{ADMIN}/{name}/{self.olga.id}"
            self.assertEqual(await self.olga.ask("GET", own), {value: False})
            got = await self.answer(self.olga, "PUT", own, {value: True})
            self.assertEqual(got, (403, "M_FORBIDDEN"))
            for body, errcode in (({}, "M_MISSING_PARAM"), ({value: "yes"}, "M_BAD_JSON")):
                got = await self.answer(self.olga, "PUT", f"{ADMIN}/{name}/@x:localhost", body)
                self.assertEqual(got, (400, errcode))

    async def test_a_locked_account_waits(self) -> None:
        path = f"{ADMIN}/lock/{self.bob.id}"
        self.assertEqual(await self.olga.ask("GET", path), {"locked": False})
        await self.bob.sync()
        self.assertEqual(await self.olga.ask("PUT", path, {"locked": True}), {"locked": True})
        self.assertEqual(await self.olga.ask("GET", path), {"locked": True})
        code, answer = await self.bob.call("GET", "/sync")
        self.assertEqual((code, answer["errcode"]), (401, "M_USER_LOCKED"))
        self.assertTrue(answer["soft_logout"])
        await self.olga.ask("PUT", path, {"locked": False})
        await self.bob.sync()


class SuspensionTest(ModerationCase):
    """Client-server API, "Account suspension"."""

    async def rooms(self) -> tuple[str, str]:
        """Bob's own room, and one of Alice that he is in and moderates."""
        own = await self.bob.create_room(preset="public_chat")
        room = await self.alice.create_room(preset="public_chat", invite=[])
        await self.bob.join(room)
        levels = await self.alice.ask("GET", f"/rooms/{room}/state/m.room.power_levels")
        levels["users"][self.bob.id] = 50
        await self.alice.set_state(room, "m.room.power_levels", levels)
        return own, room

    async def test_who_is_suspended_takes_part_in_nothing(self) -> None:
        own, room = await self.rooms()
        other = await self.alice.create_room(preset="public_chat")
        invited = await self.alice.create_room(invite=[self.bob.id])
        knock = await self.alice.create_room()
        await self.alice.set_state(knock, "m.room.join_rules", {"join_rule": "knock"})
        hers = await self.alice.say(room, "mine")
        await self.suspend(self.bob)
        about_alice = {"user_id": self.alice.id}
        for method, path, body in (
            ("PUT", f"/rooms/{room}/send/m.room.message/1", TEXT),
            ("PUT", f"/rooms/{room}/send/m.reaction/2", {}),
            ("PUT", f"/rooms/{room}/state/m.room.name", {"name": "Bob's"}),
            ("PUT", f"/rooms/{room}/redact/{hers}/3", {}),
            ("POST", f"/join/{other}", {}),
            ("POST", f"/rooms/{other}/join", {}),
            ("PUT", f"/rooms/{other}/state/m.room.member/{self.bob.id}", {"membership": "join"}),
            ("POST", f"/join/{invited}", {}),
            ("POST", f"/knock/{knock}", {}),
            ("POST", f"/rooms/{own}/invite", about_alice),
            ("POST", f"/rooms/{own}/ban", about_alice),
            ("POST", f"/rooms/{own}/upgrade", {"new_version": "11"}),
            ("POST", "/createRoom", {}),
            ("POST", "/createRoom", {"is_direct": True, "invite": [self.alice.id]}),
            ("PUT", f"/profile/{self.bob.id}/displayname", {"displayname": "B"}),
            ("PUT", f"/profile/{self.bob.id}/org.x", {"org.x": 1}),
            ("DELETE", f"/profile/{self.bob.id}/avatar_url", None),
        ):
            self.assertEqual(await self.answer(self.bob, method, path, body), SUSPENDED, path)
        page = await self.alice.messages(room, limit=1)
        self.assertEqual(page["chunk"][0]["event_id"], hers)
        await self.hearth.restart()
        path = f"/rooms/{room}/send/m.room.message/1"
        self.assertEqual(await self.answer(self.bob, "PUT", path, TEXT), SUSPENDED)
        await self.suspend(self.bob, False)
        await self.bob.say(room, "I am back")

    async def test_who_is_suspended_reads_on_and_may_go(self) -> None:
        _, room = await self.rooms()
        said = await self.bob.say(room, "I should not have said that")
        invited = await self.alice.create_room(invite=[self.bob.id])
        await self.suspend(self.bob)
        path = f"{ADMIN}/suspend/{self.bob.id}"
        self.assertEqual(await self.olga.ask("GET", path), {"suspended": True})
        await self.alice.say(room, "hello Bob")
        seen = await self.bob.sync()
        self.assertIn(room, seen["rooms"]["join"])
        self.assertEqual(
            (await self.bob.messages(room, limit=1))["chunk"][0]["content"],
            TEXT | {"body": "hello Bob"},
        )
        await self.bob.ask("PUT", f"/rooms/{room}/redact/{said}/1", {})
        again = await self.hearth.log_in(self.bob)
        self.assertEqual(
            await self.answer(again, "PUT", f"/rooms/{room}/send/m.room.message/2", TEXT), SUSPENDED
        )
        await self.bob.ask("POST", f"/rooms/{invited}/leave")
        await self.bob.ask(
            "PUT", f"/rooms/{room}/state/m.room.member/{self.bob.id}", {"membership": "leave"}
        )
        message = {"messages": {self.alice.id: {"*": {}}}}
        await self.bob.ask("PUT", "/sendToDevice/m.key.verification.request/3", message)
        await self.bob.ask("PUT", f"/user/{self.bob.id}/account_data/org.x", {"a": 1})
        code, answer = await self.bob.call("POST", "/account/deactivate", {})
        self.assertEqual(code, 401)
        auth = {
            "type": "m.login.password",
            "session": answer["session"],
            "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": self.bob.id},
        }
        await self.bob.ask("POST", "/account/deactivate", {"auth": auth})

    async def test_a_family_is_kept_in_step_all_the_same(self) -> None:
        families, store = self.hearth.app.rooms.families, self.hearth.app.storage.store
        roster = {self.alice.id: "guardian"}
        room = await store.write(lambda txn: families.create(txn, "Baker", roster))
        await self.suspend(self.bob)
        await self.suspend(self.alice)
        roster[self.bob.id] = "child"
        await store.write(lambda txn: families.follow(txn, room, roster))
        joined = await self.bob.ask("GET", f"/rooms/{room}/joined_members")
        self.assertIn(self.bob.id, joined["joined"])
