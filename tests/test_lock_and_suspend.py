"""What a locked and a suspended account can do, in the words of the specification.

Client-server API, "Account locking" and "Account suspension".
"""

from collections.abc import Mapping
from typing import Any

from rest.routing import Access
from tests.junk import filled, parameters, routes_of
from tests.olm_devices import Device, Identity, Stories
from tests.support import PASSWORD
from tests.test_key_backup import ALGORITHM, key

ADMIN = "/_matrix/client/v1/admin"
TEXT = {"msgtype": "m.text", "body": "hello"}
LOCKED = (401, "M_USER_LOCKED")
SUSPENDED = (403, "M_USER_SUSPENDED")


class ModeratedCase(Stories):
    """Olga is the organizer, and Bob has to be stopped."""

    async def setUp(self) -> None:
        await super().setUp()
        self.olga, self.alice, self.bob = await self.town.people("olga", "alice", "bob")
        await self.town.server.app.people.accounts.set_admin(self.olga.user_id, True)

    async def moderate(self, verb: str, value: str) -> None:
        await self.olga.ok("PUT", f"{ADMIN}/{verb}/{self.bob.user_id}", {value: True})


class LockTest(ModeratedCase):
    """ "Servers MUST return a 401 error response on all but the following" two."""

    async def test_every_route_is_closed_but_the_two_that_log_out(self) -> None:
        await self.moderate("lock", "locked")
        named = {"room_id": str(self.town.street), "user_id": self.bob.user_id}
        still_open = set()
        for route in routes_of(self.town.server):
            if route.access in (Access.PUBLIC, Access.OR_SERVICE):
                continue
            path = filled(route, {**dict.fromkeys(parameters(route), "x"), **named})
            if route.access is Access.EVEN_LOCKED:
                still_open.add(path)
                continue
            code, answer = await self.bob.person.call(route.method, path, {})
            self.assertEqual((code, answer["errcode"]), LOCKED, (route.method, path))
            self.assertIs(answer["soft_logout"], True)
        v3 = "/_matrix/client/v3"
        self.assertEqual(still_open, {f"{v3}/logout", f"{v3}/logout/all"})
        await self.bob.ok("POST", "/logout/all")

    async def test_no_new_session_and_the_old_one_goes_on_afterwards(self) -> None:
        await self.moderate("lock", "locked")
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.bob.user_id},
            "password": PASSWORD,
        }
        self.assertEqual(await self.bob.refused("POST", "/login", body), LOCKED)
        await self.olga.ok("PUT", f"{ADMIN}/lock/{self.bob.user_id}", {"locked": False})
        await self.bob.ok("GET", "/account/whoami")


class SuspensionTest(ModeratedCase):
    """The list of what should be permitted, and the list of what should be refused."""

    async def setUp(self) -> None:
        await super().setUp()
        self.street = str(self.town.street)
        levels = {"users": {self.alice.user_id: 100, self.bob.user_id: 50}}
        wish = {"preset": "public_chat", "power_level_content_override": levels}
        self.room = await self.alice.person.create_room(**wish)
        await self.bob.person.join(self.room)
        self.his = await self.bob.person.say(self.room, "oops")
        self.hers = await self.alice.person.say(self.room, "fine")
        self.invited = await self.alice.person.create_room(invite=[self.bob.user_id])
        self.knocking = await self.alice.person.create_room()
        rule = {"join_rule": "knock"}
        await self.alice.person.set_state(self.knocking, "m.room.join_rules", rule)
        self.other = await self.alice.person.create_room(preset="public_chat")

    async def test_what_is_refused(self) -> None:
        await self.moderate("suspend", "suspended")
        bob, alice = self.bob.user_id, self.alice.user_id
        member = f"state/m.room.member/{bob}"
        send = f"/rooms/{self.room}/send"
        direct = {"is_direct": True, "invite": [alice]}
        refused: Mapping[str, list[tuple[str, str, Any]]] = {
            "Joining or knocking on rooms": [
                ("POST", f"/join/{self.other}", {}),
                ("POST", f"/rooms/{self.other}/join", {}),
                ("PUT", f"/rooms/{self.other}/{member}", {"membership": "join"}),
                ("POST", f"/knock/{self.knocking}", {}),
                ("PUT", f"/rooms/{self.knocking}/{member}", {"membership": "knock"}),
                ("POST", "/createRoom", {}),
            ],
            "Accepting or sending invites": [
                ("POST", f"/rooms/{self.invited}/join", {}),
                ("POST", f"/rooms/{self.room}/invite", {"user_id": self.olga.user_id}),
                (
                    "PUT",
                    f"/rooms/{self.room}/state/m.room.member/{self.olga.user_id}",
                    {"membership": "invite"},
                ),
                ("POST", "/createRoom", direct),
            ],
            "Sending messages to rooms": [
                ("PUT", f"{send}/m.room.message/1", TEXT),
                ("PUT", f"{send}/m.room.encrypted/1", {}),
                ("PUT", f"{send}/m.reaction/1", {}),
                ("PUT", f"{send}/m.sticker/1", {}),
                ("PUT", f"/rooms/{self.room}/state/m.room.topic", {"topic": "me"}),
                ("POST", f"/rooms/{self.room}/kick", {"user_id": alice}),
                ("POST", f"/rooms/{self.room}/ban", {"user_id": self.olga.user_id}),
            ],
            "Changing profile data": [
                ("PUT", f"/profile/{bob}/displayname", {"displayname": "B"}),
                ("PUT", f"/profile/{bob}/avatar_url", {"avatar_url": "mxc://localhost/a"}),
                ("PUT", f"/profile/{bob}/org.example.x", {"org.example.x": 1}),
                ("DELETE", f"/profile/{bob}/displayname", None),
                (
                    "PUT",
                    f"/rooms/{self.room}/{member}",
                    {"membership": "join", "displayname": "B"},
                ),
            ],
            "Redacting other users' events": [
                ("PUT", f"/rooms/{self.room}/redact/{self.hers}/2", {}),
                ("PUT", f"{send}/m.room.redaction/2", {"redacts": self.hers}),
            ],
        }
        for sentence, requests in refused.items():
            for method, path, body in requests:
                got = await self.bob.refused(method, path, body)
                self.assertEqual(got, SUSPENDED, f"{sentence}: {method} {path}")

    async def test_what_is_permitted(self) -> None:
        await self.moderate("suspend", "suspended")
        bob = self.bob
        # "Log in and create additional sessions"
        tablet = await self.town.person("bob", "TABLET", alone=True)
        got = await tablet.refused("PUT", f"/rooms/{self.room}/send/m.room.message/1", TEXT)
        self.assertEqual(got, SUSPENDED, "which are also suspended")
        # "See and receive messages"
        await self.alice.person.say(self.room, "Can you read this?")
        joined = (await bob.person.sync())["rooms"]["join"]
        self.assertIn("Can you read this?", str(joined[self.room]["timeline"]))
        await bob.person.messages(self.room)
        # "Verify other devices and write associated cross-signing data"
        await bob.upload()
        identity = Identity(bob)
        await bob.ok("POST", "/keys/device_signing/upload", identity.upload())
        claim = identity.sign("self_signing", bob.device_keys())
        body = {bob.user_id: {bob.device_id: claim}}
        answer = await bob.ok("POST", "/keys/signatures/upload", body)
        self.assertEqual(answer["failures"], {})
        await bob.send("1", {bob.user_id: {tablet.device_id: {}}}, "m.key.verification.start")
        # "Populate their key backup"
        version = {
            "algorithm": ALGORITHM,
            "auth_data": {"public_key": bob.account.identity_keys["curve25519"]},
        }
        number = (await bob.ok("POST", "/room_keys/version", version))["version"]
        path = f"/room_keys/keys/{self.room}/s1?version={number}"
        await bob.ok("PUT", path, key())
        # "Leave rooms and reject invites"
        await bob.ok("POST", f"/rooms/{self.street}/leave")
        await bob.ok("POST", f"/rooms/{self.invited}/leave")
        # "Redact their own events"
        await bob.ok("PUT", f"/rooms/{self.room}/redact/{self.his}/3", {})
        # "Log out or delete any device of theirs"
        await self.with_password(bob, "DELETE", f"/devices/{tablet.device_id}")
        phone = await self.town.person("bob", "OTHER", alone=True)
        await phone.ok("POST", "/logout")
        # "Deactivate their account"
        await self.with_password(bob, "POST", "/account/deactivate")

    async def with_password(self, who: Device, method: str, path: str) -> None:
        """A request that asks for the password."""
        _, question = await who.person.call(method, path, {})
        auth = {"type": "m.login.password", "session": question["session"], "password": PASSWORD}
        await who.ok(method, path, {"auth": auth})
