"""Guests: people without a password, who look around and come into rooms that let them in."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import homeserver.guest_accounts
from homeserver.clock import system_clock
from homeserver.guest_accounts import DAY_MS, GRACE_MS
from homeserver.requester import Requester
from schema.errors import Forbidden
from tests.support import PASSWORD, Person, Server, WireTest, bodies, timeline
from tests.test_accounts import both
from tests.test_old_sync import WORLD

REFUSED = (403, "M_GUEST_ACCESS_FORBIDDEN")
OPEN_TO_GUESTS = {
    # to look around
    "GET /_matrix/client/v3/rooms/{}/state",
    "GET /_matrix/client/v3/rooms/{}/context/{}",
    "GET /_matrix/client/v3/rooms/{}/event/{}",
    "GET /_matrix/client/v3/rooms/{}/state/{}",
    "GET /_matrix/client/v3/rooms/{}/state/{}/{}",
    "GET /_matrix/client/v3/rooms/{}/messages",
    "GET /_matrix/client/v3/rooms/{}/members",
    "GET /_matrix/client/v3/rooms/{}/initialSync",
    "GET /_matrix/client/v3/sync",
    "GET /_matrix/client/v3/events",
    "GET /_matrix/client/v1/media/download/{}/{}",
    "GET /_matrix/client/v1/media/download/{}/{}/{}",
    "GET /_matrix/client/v1/media/thumbnail/{}/{}",
    # to take part
    "POST /_matrix/client/v3/rooms/{}/join",
    "POST /_matrix/client/v3/rooms/{}/leave",
    "PUT /_matrix/client/v3/rooms/{}/send/{}/{}",
    "PUT /_matrix/client/v3/rooms/{}/state/{}",
    "PUT /_matrix/client/v3/rooms/{}/state/{}/{}",
    "PUT /_matrix/client/v3/sendToDevice/{}/{}",
    # their own account
    "PUT /_matrix/client/v3/profile/{}/displayname",
    "DELETE /_matrix/client/v3/profile/{}/displayname",
    "GET /_matrix/client/v3/devices",
    "GET /_matrix/client/v3/devices/{}",
    "PUT /_matrix/client/v3/devices/{}",
    "GET /_matrix/client/v3/account/whoami",
    # encryption
    "POST /_matrix/client/v3/keys/upload",
    "POST /_matrix/client/v3/keys/query",
    "POST /_matrix/client/v3/keys/claim",
}
"""The module's list; beside it anybody may log out who could log in."""


class GuestCase(WireTest):
    """A server that lets guests in, with Alice and Bob who live there."""

    registration: dict[str, Any] = {"mode": "open", "guests": True}

    async def setUp(self) -> None:
        self.hearth = await self.server(registration=self.registration)
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self._transactions = count(1)

    async def guest(self, server: Server | None = None, **body: Any) -> Person:
        server = server or self.hearth
        code, answer = await server.call("POST", "/register", body, query={"kind": "guest"})
        self.assertEqual(code, 200, answer)
        return Person(server, answer, self._transactions)

    async def refused(self, who: Person, method: str, path: str, body: Any = None) -> Any:
        code, answer = await who.call(method, path, body)
        return code, answer.get("errcode")

    async def open_room(self, preset: str = "public_chat", access: str = "can_join") -> str:
        door = {
            "type": "m.room.guest_access",
            "state_key": "",
            "content": {"guest_access": access},
        }
        return await self.alice.create_room(preset=preset, initial_state=[door, *WORLD])

    async def enter(self, who: Person, room: str) -> Any:
        return await self.refused(who, "POST", f"/rooms/{room}/join")

    async def membership(self, room: str, who: Person) -> Any:
        path = f"/rooms/{room}/state/m.room.member/{who.id}"
        return (await self.alice.ask("GET", path))["membership"]


class ComingTest(GuestCase):
    """Accounts without a password."""

    async def test_only_the_name_of_the_device_is_theirs_to_say(self) -> None:
        ignored = {"username": "zoe", "password": "x", "device_id": "MINE", "auth": {"type": "x"}}
        wish = {**ignored, "inhibit_login": True, "refresh_token": True}
        guest = await self.guest(**wish, initial_device_display_name="Kiosk")
        self.assertNotIn("zoe", guest.id)
        self.assertNotEqual(guest.device_id, "MINE")
        self.assertNotIn("refresh_token", guest.login)
        who = {"user_id": guest.id, "device_id": guest.device_id, "is_guest": True}
        self.assertEqual(await guest.ask("GET", "/account/whoami"), who)
        (device,) = (await guest.ask("GET", "/devices"))["devices"]
        self.assertEqual(device["display_name"], "Kiosk")
        self.assertFalse((await self.alice.ask("GET", "/account/whoami"))["is_guest"])

    async def test_they_get_nothing_that_people_get(self) -> None:
        server = await self.server(
            registration={"mode": "token", "guests": True}, rooms={"self_room": True}
        )
        guest = await self.guest(server)
        self.assertEqual((await guest.sync()).get("rooms", {}).get("join", {}), {})
        await self.guest(self.hearth)
        found = await self.alice.ask(
            "POST", "/user_directory/search", {"search_term": ":localhost"}
        )
        self.assertEqual([each["user_id"] for each in found["results"]], [self.bob.id])

    async def test_nobody_comes_where_guests_are_not_wanted_any_more(self) -> None:
        guest = await self.guest()
        self.hearth._settings = {"registration": {"mode": "open"}}
        await self.hearth.restart()
        code, answer = await self.hearth.call("POST", "/register", query={"kind": "guest"})
        self.assertEqual((code, answer["errcode"]), REFUSED)
        self.assertTrue((await guest.ask("GET", "/account/whoami"))["is_guest"])

    async def test_fewer_guests_than_people_come_at_once(self) -> None:
        limits = {"enabled": True, "guests": [0.001, 2]}
        server = await self.server(registration=self.registration, rate_limits=limits)
        for _ in range(2):
            await self.guest(server)
        code, answer = await server.call("POST", "/register", query={"kind": "guest"})
        self.assertEqual((code, answer["errcode"]), (429, "M_LIMIT_EXCEEDED"))
        await server.person("carol")

    async def test_who_is_locked_or_suspended_stays_so_as_a_guest(self) -> None:
        guest, room = await self.guest(), await self.open_room()
        await self.hearth.app.people.accounts.set_admin(self.alice.id, True)
        admin = "/_matrix/client/v1/admin"
        await self.alice.ask("PUT", f"{admin}/suspend/{guest.id}", {"suspended": True})
        self.assertEqual(await self.enter(guest, room), (403, "M_USER_SUSPENDED"))
        await self.alice.ask("PUT", f"{admin}/lock/{guest.id}", {"locked": True})
        locked = await self.refused(guest, "GET", "/account/whoami")
        self.assertEqual(locked, (401, "M_USER_LOCKED"))
        await guest.ask("POST", "/logout")


class RoutesTest(GuestCase):
    """What a guest may ask for."""

    def routes(self) -> Iterator[tuple[str, str]]:
        """Every route of the running server, with {} for each parameter."""
        waiting = [(self.hearth.app.site.handler._router._root, "")]
        while waiting:
            node, path = waiting.pop()
            yield from ((method, path) for method in node.routes)
            waiting += [(child, f"{path}/{name}") for name, child in node.literal.items()]
            if node.parameter is not None:
                waiting.append((node.parameter, f"{path}/{{}}"))

    async def test_exactly_what_the_specification_names_is_open_to_guests(self) -> None:
        guest, open_to_guests, asked = await self.guest(), set(), 0
        for method, path in self.routes():
            url = path.replace("{}", "x")
            code, answer = await self.hearth.call(method, url, has_schema=False)
            if code != 401 or answer.get("errcode") != "M_MISSING_TOKEN":
                continue
            if path.startswith("/_matrix/client/v3/logout"):
                continue
            asked += 1
            code, answer = await guest.call(method, url, has_schema=False)
            if code != 403 or answer["errcode"] != "M_GUEST_ACCESS_FORBIDDEN":
                open_to_guests.add(f"{method} {path}")
                self.assertNotEqual(code, 401, answer)
        self.assertEqual(open_to_guests, OPEN_TO_GUESTS)
        self.assertGreater(asked, 100)

    async def test_what_needs_no_token_does_not_take_that_of_a_guest(self) -> None:
        guest, room = await self.guest(), await self.open_room()
        path = f"/_matrix/client/v1/room_summary/{room}"
        self.assertEqual((await self.hearth.call("GET", path))[0], 200)
        self.assertEqual(await self.refused(guest, "GET", path), REFUSED)
        body = {"new_password": PASSWORD}
        self.assertEqual(await self.refused(guest, "POST", "/account/password", body), REFUSED)

    async def test_a_guest_logs_out(self) -> None:
        for path in ("/logout", "/logout/all"):
            guest = await self.guest()
            await guest.ask("POST", path)
            self.assertEqual((await self.refused(guest, "GET", "/devices"))[0], 401)

    async def test_a_guest_has_a_name_but_no_picture(self) -> None:
        guest, room = await self.guest(), await self.open_room()
        await guest.ask("POST", f"/rooms/{room}/join")
        own = f"/profile/{guest.id}"
        await guest.ask("PUT", f"{own}/displayname", {"displayname": "Gus"})
        member = f"/rooms/{room}/state/m.room.member/{guest.id}"
        self.assertEqual((await self.alice.ask("GET", member))["displayname"], "Gus")
        self.assertEqual(await self.alice.ask("GET", own), {"displayname": "Gus"})
        picture = {"avatar_url": "mxc://localhost/a"}
        self.assertEqual(await self.refused(guest, "PUT", f"{own}/avatar_url", picture), REFUSED)
        other = f"/profile/{self.alice.id}/displayname"
        refusal = await self.refused(guest, "PUT", other, {"displayname": "x"})
        self.assertEqual(refusal, (403, "M_FORBIDDEN"))
        await guest.ask("DELETE", f"{own}/displayname")
        self.assertEqual(await self.alice.ask("GET", own), {})
        await self.bob.ask("PUT", f"/profile/{self.bob.id}/displayname", {"displayname": "Bob"})


class RoomsTest(GuestCase):
    """Coming into rooms, and being shown out."""

    async def test_a_guest_joins_where_the_room_lets_guests_and_this_one_in(self) -> None:
        guest = await self.guest()
        welcome, closed = await self.open_room(), await self.open_room(access="forbidden")
        self.assertEqual((await self.enter(guest, welcome))[0], 200)
        self.assertEqual(await self.enter(guest, closed), REFUSED)
        own = f"/rooms/{closed}/state/m.room.member/{guest.id}"
        self.assertEqual(await self.refused(guest, "PUT", own, {"membership": "join"}), REFUSED)
        self.assertEqual((await self.enter(self.bob, closed))[0], 200)
        private = await self.open_room("private_chat")
        self.assertEqual(await self.enter(guest, private), (403, "M_FORBIDDEN"))
        silent = await self.alice.create_room(
            preset="public_chat",
            initial_state=[{"type": "m.room.guest_access", "state_key": "", "content": {}}],
        )
        self.assertEqual(await self.enter(guest, silent), REFUSED)
        for room, answer in ((private, 200), (closed, 403)):
            await self.alice.ask("POST", f"/rooms/{room}/invite", {"user_id": guest.id})
            self.assertEqual((await self.enter(guest, room))[0], answer)
        await guest.ask("POST", f"/rooms/{closed}/leave")
        self.assertEqual(await self.membership(closed, guest), "leave")

    async def test_guests_talk_but_decide_about_nobody_else(self) -> None:
        guest, room = await self.guest(), await self.open_room()
        await guest.ask("POST", f"/rooms/{room}/join")
        await self.bob.join(room)
        levels = await self.alice.ask("GET", f"/rooms/{room}/state/m.room.power_levels")
        levels["users"][guest.id] = 50
        await self.alice.set_state(room, "m.room.power_levels", levels)
        await guest.say(room, "hello")
        await guest.set_state(room, "m.room.topic", {"topic": "a guest's"})
        carol = await self.hearth.person("carol")
        for who, membership in ((carol, "invite"), (self.bob, "leave"), (self.bob, "ban")):
            path = f"/rooms/{room}/state/m.room.member/{who.id}"
            answer = await self.refused(guest, "PUT", path, {"membership": membership})
            self.assertEqual(answer, REFUSED)
        wish = {"preset": "public_chat", "room_version": "11"}
        asked = await self.alice.create_room(**wish)
        await self.alice.set_state(asked, "m.room.join_rules", {"join_rule": "knock"})
        own = f"/rooms/{asked}/state/m.room.member/{guest.id}"
        self.assertEqual(await self.refused(guest, "PUT", own, {"membership": "knock"}), REFUSED)
        await self.bob.ask("POST", f"/knock/{asked}")
        await guest.set_state(room, "m.room.member", {"membership": "leave"}, guest.id)

    async def test_when_the_door_closes_guests_leave_at_once_and_people_stay(self) -> None:
        room = await self.open_room()
        guests = [await self.guest() for _ in range(3)]
        for who in (self.bob, *guests):
            await who.ask("POST", f"/rooms/{room}/join")
        await guests[2].ask("POST", f"/rooms/{room}/leave")
        since = (await self.bob.sync())["next_batch"]
        forbidden = {"guest_access": "forbidden"}
        path = f"/rooms/{room}/state/m.room.guest_access"
        self.assertEqual((await self.refused(guests[0], "PUT", path, forbidden))[0], 403)
        self.assertEqual(await self.membership(room, guests[0]), "join")
        await self.alice.set_state(room, "m.room.guest_access", forbidden)
        await self.alice.say(room, "among ourselves")
        seen = timeline(await self.bob.sync(since), room)
        self.assertEqual(
            [event["type"] for event in seen],
            ["m.room.guest_access", "m.room.member", "m.room.member", "m.room.message"],
        )
        left = {event["state_key"]: event["sender"] for event in seen[1:3]}
        self.assertEqual(left, {guest.id: guest.id for guest in guests[:2]})
        await self.hearth.restart()
        for guest in guests:
            self.assertEqual(await self.membership(room, guest), "leave")
            self.assertEqual(await self.enter(guest, room), REFUSED)
            path = f"/rooms/{room}/send/m.room.message/{guest.transaction()}"
            self.assertEqual(
                (await self.refused(guest, "PUT", path, {"msgtype": "m.text", "body": "x"}))[0], 403
            )
        self.assertEqual(await self.membership(room, self.bob), "join")
        await self.alice.set_state(room, "m.room.guest_access", {"guest_access": "can_join"})
        self.assertEqual((await self.enter(guests[0], room))[0], 200)

    async def test_a_redacted_invitation_to_guests_is_none(self) -> None:
        room, guest = await self.open_room(), await self.guest()
        await guest.ask("POST", f"/rooms/{room}/join")
        state = await self.alice.ask("GET", f"/rooms/{room}/state")
        (door,) = [each for each in state if each["type"] == "m.room.guest_access"]
        path = f"/rooms/{room}/redact/{door['event_id']}/{self.alice.transaction()}"
        await self.alice.ask("PUT", path)
        self.assertEqual(await self.membership(room, guest), "leave")
        await self.alice.say(room, "and on it goes")
        self.assertEqual(await self.enter(guest, room), REFUSED)

    async def test_the_same_again_shows_nobody_out(self) -> None:
        room, guest = await self.open_room(), await self.guest()
        await guest.ask("POST", f"/rooms/{room}/join")
        await self.alice.set_state(
            room, "m.room.guest_access", {"guest_access": "can_join", "org.x": 1}
        )
        self.assertEqual(await self.membership(room, guest), "join")


class PreviewTest(GuestCase):
    """Reading without being there, for guests and for people."""

    async def test_what_the_world_may_read_can_be_read_in_every_way(self) -> None:
        for who in (await self.guest(), self.bob):
            room = await self.open_room()
            await self.alice.say(room, "one")
            event = await self.alice.say(room, "two")
            at = f"/rooms/{room}"
            first = await who.ask("GET", f"{at}/initialSync", query={"limit": 2})
            self.assertEqual(bodies(first["messages"]["chunk"]), ["one", "two"])
            self.assertNotIn("membership", first)
            self.assertEqual(bodies((await who.messages(room))["chunk"]), ["two", "one"])
            around = await who.ask("GET", f"{at}/context/{event}")
            self.assertEqual(bodies([around["event"]]), ["two"])
            self.assertEqual((await who.ask("GET", f"{at}/event/{event}"))["event_id"], event)
            state = await who.ask("GET", f"{at}/state")
            self.assertIn("m.room.create", [each["type"] for each in state])
            rule = await who.ask("GET", f"{at}/state/m.room.join_rules")
            self.assertEqual(rule, {"join_rule": "public"})
            (member,) = (await who.ask("GET", f"{at}/members"))["chunk"]
            self.assertEqual(member["state_key"], self.alice.id)
            query = {"room_id": room, "from": first["messages"]["end"]}
            await self.alice.say(room, "three")
            stream = await who.ask("GET", "/events", query=query)
            self.assertEqual(bodies(stream["chunk"]), ["three"])

    async def test_what_came_before_the_world_or_after_it_is_not_shown(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        before = await self.alice.say(room, "before")
        await self.alice.set_state(room, WORLD[0]["type"], WORLD[0]["content"])
        shown = await self.alice.say(room, "for the world")
        shared = {"history_visibility": "shared"}
        await self.alice.set_state(room, "m.room.history_visibility", shared)
        after = await self.alice.say(room, "after")
        private = await self.alice.create_room(preset="private_chat")
        for who in (await self.guest(), self.bob):
            self.assertEqual(bodies((await who.messages(room))["chunk"]), ["for the world"])
            self.assertEqual((await who.call("GET", f"/rooms/{room}/event/{shown}"))[0], 200)
            for hidden in (before, after):
                for how in ("event", "context"):
                    code, _ = await who.call("GET", f"/rooms/{room}/{how}/{hidden}")
                    self.assertEqual(code, 404)
            for how in ("initialSync", "messages?dir=b", "state", "members"):
                answer = await self.refused(who, "GET", f"/rooms/{private}/{how}")
                self.assertEqual(answer, (403, "M_FORBIDDEN"))
            code, _ = await who.call("GET", "/events", query={"room_id": private})
            self.assertEqual(code, 403)


class FullAccountTest(GuestCase):
    """A guest stays, under the same name."""

    registration = {"mode": "token", "guests": True}

    async def setUp(self) -> None:
        self.hearth = await self.server(registration=self.registration, rooms={"self_room": True})
        self._transactions = count(1)
        self.alice = await self.resident("alice")

    async def token(self) -> Any:
        return await self.hearth.app.people.tokens.create(uses_allowed=1)

    async def resident(self, name: str) -> Person:
        code, answer = await self.sign_up(username=name)
        self.assertEqual(code, 200, answer)
        return Person(self.hearth, answer, self._transactions)

    async def sign_up(self, **wish: Any) -> tuple[int, Any]:
        auth = {"type": "m.login.registration_token", "token": await self.token()}
        body = {"password": PASSWORD, "auth": auth, **wish}
        return await self.hearth.call("POST", "/register", body)

    async def stay(self, guest: Person, **wish: Any) -> tuple[int, Any]:
        name = guest.id[1:].partition(":")[0]
        return await self.sign_up(**{"username": name, "guest_access_token": guest.token, **wish})

    async def test_a_guest_with_a_full_account_can_do_everything(self) -> None:
        guest, room = await self.guest(), await self.open_room()
        await guest.ask("POST", f"/rooms/{room}/join")
        code, answer = await self.stay(guest, initial_device_display_name="Laptop")
        self.assertEqual((code, answer["user_id"]), (200, guest.id))
        self.assertNotEqual(answer["device_id"], guest.device_id)
        person = Person(self.hearth, answer, self._transactions)
        # Nothing ends what the guest was logged in on.
        for who in (guest, person):
            self.assertFalse((await who.ask("GET", "/account/whoami"))["is_guest"])
            await who.create_room()
        joined = await person.ask("GET", "/joined_rooms")
        self.assertEqual(len(joined["joined_rooms"]), 4, "one for notes to themselves")
        await self.alice.set_state(room, "m.room.guest_access", {"guest_access": "forbidden"})
        self.assertEqual(await self.membership(room, guest), "join")
        found = await self.alice.ask(
            "POST", "/user_directory/search", {"search_term": ":localhost"}
        )
        self.assertEqual([each["user_id"] for each in found["results"]], [guest.id])
        await self.hearth.log_in(person)
        await self.hearth.restart()
        await person.create_room()
        again = await self.stay(guest)
        self.assertEqual((again[0], again[1]["errcode"]), (403, "M_FORBIDDEN"))

    async def test_on_the_same_device_the_token_of_the_guest_ends(self) -> None:
        guest = await self.guest()
        code, answer = await self.stay(guest, device_id=guest.device_id)
        self.assertEqual((code, answer["device_id"]), (200, guest.device_id))
        refusal = await self.refused(guest, "GET", "/devices")
        self.assertEqual(refusal, (401, "M_UNKNOWN_TOKEN"))
        person = Person(self.hearth, answer, self._transactions)
        self.assertEqual(len((await person.ask("GET", "/devices"))["devices"]), 1)

    async def test_a_guest_proves_what_everybody_proves(self) -> None:
        guest = await self.guest()
        code, question = await self.stay(guest, auth=None)
        self.assertEqual(
            (code, question["flows"]), (401, [{"stages": ["m.login.registration_token"]}])
        )
        self.assertEqual(
            (await self.stay(guest, password="short"))[1]["errcode"], "M_WEAK_PASSWORD"
        )
        for wish, refusal in (
            ({"guest_access_token": "hs_nobody"}, (403, "M_FORBIDDEN")),
            ({"guest_access_token": self.alice.token}, (403, "M_FORBIDDEN")),
            ({"username": None}, (400, "M_MISSING_PARAM")),
            ({"username": "carol"}, (400, "M_INVALID_PARAM")),
        ):
            code, answer = await self.stay(guest, **wish)
            self.assertEqual((code, answer["errcode"]), refusal)
        self.assertTrue((await guest.ask("GET", "/account/whoami"))["is_guest"])
        name = guest.id[1:].partition(":")[0]
        code, answer = await self.sign_up(username=name)
        self.assertEqual((code, answer["errcode"]), (400, "M_USER_IN_USE"))

    async def test_who_has_just_got_a_full_account_stays_when_the_door_closes(self) -> None:
        guest, room = await self.guest(), await self.open_room()
        await guest.ask("POST", f"/rooms/{room}/join")
        app, alice = self.hearth.app, Requester(self.alice.id, self.alice.device_id)
        forbidden = {"guest_access": "forbidden"}
        # While the first is written the others wait, and then share a transaction.
        await both(
            app.storage.store.write(lambda txn: None),
            app.storage.store.write(
                lambda txn: app.rooms.guests.complete(txn, guest.id, None, False, 0)
            ),
            app.rooms.send.state(alice, room, "m.room.guest_access", "", forbidden),
        )
        self.assertEqual(await self.membership(room, guest), "join")

    async def test_who_has_gone_meanwhile_gets_no_account(self) -> None:
        guest = await self.guest()
        auth = {"type": "m.login.registration_token", "token": await self.token()}
        sign_up, owner = self.hearth.app.people.sign_up, guest.id
        await self.hearth.app.people.accounts.deactivate(guest.id, erase=False)
        with self.assertRaisesRegex(Forbidden, "not a guest any more"):
            await sign_up.register(None, PASSWORD, auth, None, guest=owner)
        tokens = self.hearth.app.people.tokens
        self.assertTrue(await tokens.is_valid(auth["token"]), "it was not used up")


class IdleTest(GuestCase):
    """Guests who do not come back."""

    async def idle(self, *guests: Person, days: int) -> None:
        """They came and were seen last so many days ago."""
        people = self.hearth.app.people
        await people.last_seen.flush()
        then = system_clock() - days * DAY_MS - 1000

        def work(txn: Any) -> None:
            for guest in guests:
                txn.run("UPDATE accounts SET created_at = ? WHERE user_id = ?", then, guest.id)
                txn.run("UPDATE devices SET last_seen_at = ? WHERE user_id = ?", then, guest.id)

        await self.hearth.app.storage.store.write(work)

    async def close(self, *, running: int = GRACE_MS) -> int:
        accounts = self.hearth.app.people.guest_accounts
        self.patch(accounts, "_began", system_clock() - running)
        return await accounts.close_idle()

    async def test_guests_who_stay_away_are_forgotten_little_by_little(self) -> None:
        self.patch(homeserver.guest_accounts, "PORTION", 2)
        room = await self.open_room()
        away = [await self.guest() for _ in range(3)]
        here = await self.guest()
        for guest in (*away, here):
            await guest.ask("POST", f"/rooms/{room}/join")
        await away[2].ask("POST", "/logout")
        await self.idle(*away, self.bob, days=29)
        self.assertEqual(await self.close(), 0)
        await self.idle(*away, self.bob, days=30)
        self.assertEqual(await self.close(running=GRACE_MS - 60_000), 0)
        self.assertEqual([await self.close() for _ in range(3)], [2, 1, 0])
        for guest in away:
            self.assertEqual((await self.refused(guest, "GET", "/devices"))[0], 401)
            self.assertEqual(await self.membership(room, guest), "leave")
        await here.say(room, "still here")
        await self.bob.ask("GET", "/devices")
        self.assertEqual(len(self.hearth.app.rooms.guests), 1)

    async def test_who_has_a_full_account_now_is_not_closed_as_a_guest(self) -> None:
        guest = await self.guest()
        await self.idle(guest, days=40)
        code, _ = await self.hearth.call(
            "POST",
            "/register",
            {
                "username": guest.id[1:].partition(":")[0],
                "password": PASSWORD,
                "auth": {"type": "m.login.dummy"},
                "guest_access_token": guest.token,
                "inhibit_login": True,
            },
        )
        self.assertEqual(code, 200)
        await self.idle(guest, days=40)
        # As if it had been a guest's a moment before.
        self.patch(homeserver.guest_accounts.stored, "idle_since", lambda *_: [guest.id])
        await self.close()
        await guest.create_room()
