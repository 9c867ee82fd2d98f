"""Application services: who they are, whom they act as, and what belongs to them alone."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import TestCase
from urllib.parse import quote

import yaml

from homeserver.bridges.registration import Namespaces, load_registrations
from homeserver.config import load
from homeserver.settings import ConfigError
from tests.little_service import LittleService
from tests.support import WireTest
from tests.test_accounts import own_password

TEXT = {"msgtype": "m.text", "body": "hello"}
GOOD: dict[str, Any] = {
    "id": "irc",
    "url": "http://127.0.0.1:29328/",
    "as_token": "as-token-0123456789",
    "hs_token": "hs-token-0123456789",
    "sender_localpart": "_irc_bot",
    "namespaces": {"users": [{"exclusive": True, "regex": "@_irc_.*"}]},
    "rate_limited": False,
    "org.matrix.msc3202": True,
    "de.sorunome.msc2409.push_ephemeral": True,
    "io.element.msc4190": True,
    "com.example.own": {"x": 1},
}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"url": "127.0.0.1:29328"}, "url"),
    ({"url": "http://"}, "url"),
    ({"url": "http://x:99999"}, "url"),
    ({"url": "http://user:word@x"}, "url"),
    ({"url": "http://x/?y"}, "url"),
    ({"url": 5}, "url"),
    ({"id": ""}, "id"),
    ({"id": 5}, "id"),
    ({"as_token": "short"}, "as_token"),
    ({"as_token": "with a space in it"}, "as_token"),
    ({"hs_token": None}, "hs_token"),
    ({"sender_localpart": "Bot"}, "sender_localpart"),
    ({"sender_localpart": "x" * 250}, "sender_localpart"),
    ({"namespaces": []}, "namespaces"),
    ({"namespaces": {"user": []}}, "namespaces"),
    ({"namespaces": {"users": {}}}, "namespaces.users"),
    ({"namespaces": {"users": [{"regex": "@x"}]}}, "namespaces.users"),
    ({"namespaces": {"users": [{"regex": "@(x", "exclusive": True}]}}, "namespaces.users"),
    ({"namespaces": {"rooms": [{"regex": "(?=x)", "exclusive": False}]}}, "namespaces.rooms"),
    ({"rate_limited": "no"}, "rate_limited"),
    ({"protocols": "irc"}, "protocols"),
    ({"protocols": [5]}, "protocols"),
    ({"recieve_ephemeral": True}, "recieve_ephemeral"),
]


class RegistrationFile(TestCase):
    """Each mistake of an organizer is a sentence."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(TemporaryDirectory()))

    def read(self, *files: Any) -> Any:
        names = []
        for number, content in enumerate(files):
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            (self.folder / f"{number}.yaml").write_text(text)
            names.append(f"{number}.yaml")
        config = self.folder / "hearth.yaml"
        config.write_text(yaml.safe_dump({"application_services": names}))
        return load_registrations(load(config))

    def test_what_is_right(self) -> None:
        (service,) = self.read(GOOD)
        self.assertEqual(service.sender, "@_irc_bot:localhost")
        self.assertEqual(service.url, "http://127.0.0.1:29328")
        self.assertTrue(service.tracks_devices and service.receives_ephemeral)
        self.assertFalse(service.is_rate_limited)
        self.assertTrue(service.covers_user("@_irc_ann:localhost"))
        self.assertFalse(service.covers_user("@ann:localhost"))
        (silent,) = self.read({**GOOD, "url": None, "receive_ephemeral": False})
        self.assertIsNone(silent.url)
        for secret in (GOOD["as_token"], GOOD["hs_token"]):
            self.assertNotIn(secret, repr(service))

    def test_each_mistake_is_one_sentence_that_names_file_and_key(self) -> None:
        for change, key in MISTAKES:
            with self.subTest(change), self.assertRaises(ConfigError) as caught:
                self.read({**GOOD, **change})
            sentence = str(caught.exception)
            self.assertTrue(sentence.startswith(str(self.folder / "0.yaml: ")), sentence)
            self.assertIn(key, sentence)
            self.assertNotIn("\n", sentence)
            self.assertNotIn("0123456789", sentence)
        for missing in ("id", "url", "as_token", "hs_token", "sender_localpart", "namespaces"):
            with self.subTest(missing), self.assertRaises(ConfigError) as caught:
                self.read({key: value for key, value in GOOD.items() if key != missing})
            self.assertIn(f"{missing} is missing", str(caught.exception))

    def test_a_file_that_is_no_registration(self) -> None:
        for text in ("[]", "", "a: b: c", "\x01", "x: !!python/object:os.system {}", "- "):
            with self.subTest(text), self.assertRaises(ConfigError) as caught:
                self.read(text)
            self.assertIn("0.yaml", str(caught.exception))
        config = self.folder / "hearth.yaml"
        config.write_text("application_services: [nowhere.yaml]")
        with self.assertRaises(ConfigError) as caught:
            load_registrations(load(config))
        self.assertIn("nowhere.yaml cannot be read", str(caught.exception))

    def test_two_services_share_neither_id_nor_token_nor_user(self) -> None:
        other = {**GOOD, "id": "x", "as_token": "another-token-1", "sender_localpart": "x"}
        self.assertEqual(len(self.read(GOOD, other)), 2)
        for key in ("id", "as_token", "sender_localpart"):
            with self.subTest(key), self.assertRaises(ConfigError) as caught:
                self.read(GOOD, {**other, key: GOOD[key]})
            self.assertIn(f"1.yaml: {key} must not be the same as in", str(caught.exception))

    def test_a_careless_expression_costs_no_time(self) -> None:
        names = Namespaces([("@(a+)+$", True), ("@irc_", False)])
        self.assertFalse(names.covers("@" + "a" * 250 + "!"))
        # From the beginning, but not to the end, as other servers do it.
        self.assertTrue(names.covers("@irc_ann:localhost"))
        self.assertFalse(names.covers("x@irc_ann:localhost"))
        self.assertFalse(names.reserves("@irc_ann:localhost"))


class BridgesTest(WireTest):
    """A service with its token, and people beside it."""

    async def test_a_service_acts_as_its_users_and_nobody_else(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(application_services=[irc.registration()])
        alice = await hearth.person("alice")
        who = await irc.ask(hearth, "GET", "/account/whoami")
        self.assertEqual(who, {"user_id": "@_irc_bot:localhost", "is_guest": False})
        ann = await irc.make_user(hearth, "_irc_ann")
        self.assertEqual(
            (await irc.ask(hearth, "GET", "/account/whoami", user=ann))["user_id"], ann
        )
        for user in (alice.id, "@_irc_nobody:localhost", "nonsense"):
            code, answer = await irc.call(hearth, "GET", "/account/whoami", user=user)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), user)
        # The token in the address, as old libraries send it; a token that is nearly right.
        code, answer = await hearth.call(
            "GET", "/account/whoami", query={"access_token": irc.as_token, "user_id": ann}
        )
        self.assertEqual((code, answer["user_id"]), (200, ann))
        code, answer = await hearth.call("GET", "/account/whoami", token=irc.as_token[:-1])
        self.assertEqual((code, answer["errcode"]), (401, "M_UNKNOWN_TOKEN"))
        # People cannot put on masks.
        answer = await alice.ask("GET", "/account/whoami", query={"user_id": ann})
        self.assertEqual(answer["user_id"], alice.id)

    async def test_masks_come_off_when_an_account_is_locked_or_closed(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(application_services=[irc.registration()])
        ann = await irc.make_user(hearth, "_irc_ann")
        await irc.ask(hearth, "GET", "/account/whoami", user=ann)
        accounts = hearth.app.people.accounts
        await accounts.set_locked(ann, True)
        code, answer = await irc.call(hearth, "GET", "/account/whoami", user=ann)
        self.assertEqual((code, answer["errcode"]), (401, "M_USER_LOCKED"))
        await accounts.set_locked(ann, False)
        await irc.ask(hearth, "GET", "/account/whoami", user=ann)
        await accounts.set_admin(ann, True)
        code, answer = await irc.call(hearth, "GET", "/admin/whois/@_irc_bot:localhost", user=ann)
        self.assertEqual(code, 403)  # a mask never administers
        await irc.ask(hearth, "POST", "/account/deactivate", {}, user=ann)
        code, answer = await irc.call(hearth, "GET", "/account/whoami", user=ann)
        self.assertEqual((code, answer["errcode"]), (403, "M_USER_DEACTIVATED"))

    async def test_signing_up_and_logging_in(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(
            application_services=[irc.registration()],
            registration={"mode": "closed"},
            rate_limits={"registration": [0.001, 2], "login": [0.001, 8]},
            rooms={"self_room": True},
        )
        kind = "m.login.application_service"
        flows = (await hearth.call("GET", "/login"))[1]["flows"]
        self.assertIn({"type": kind}, flows)
        for number in range(5):  # no limit of the people's stands in the way
            await irc.make_user(hearth, f"_irc_{number}")
        body = {"type": kind, "username": "_irc_ann"}
        answer = await irc.ask(hearth, "POST", "/register", body)
        self.assertEqual(set(answer), {"user_id", "device_id", "access_token"})
        code, _ = await hearth.call("GET", "/account/whoami", token=answer["access_token"])
        self.assertEqual(code, 200)
        rooms = await irc.ask(hearth, "GET", "/joined_rooms", user=answer["user_id"])
        self.assertEqual(rooms, {"joined_rooms": []})  # no notes to itself
        for username, errcode in (
            ("_irc_ann", "M_USER_IN_USE"),
            ("ann", "M_EXCLUSIVE"),
            (None, "M_MISSING_PARAM"),
            ("_irc_ä", "M_INVALID_USERNAME"),
        ):
            code, answer = await irc.call(
                hearth, "POST", "/register", {"type": kind, "username": username}
            )
            self.assertEqual((code, answer["errcode"]), (400, errcode), username)
        who = {"type": "m.id.user", "user": "_irc_ann"}
        login = {"type": kind, "identifier": who, "device_id": "BRIDGE"}
        for _ in range(5):
            answer = await irc.ask(hearth, "POST", "/login", login)
        self.assertEqual(answer["device_id"], "BRIDGE")
        for user, status, errcode in (
            ("alice", 400, "M_EXCLUSIVE"),
            ("_irc_nobody", 403, "M_FORBIDDEN"),
        ):
            login = {"type": kind, "identifier": {"type": "m.id.user", "user": user}}
            code, answer = await irc.call(hearth, "POST", "/login", login)
            self.assertEqual((code, answer["errcode"]), (status, errcode))
        # People are let in whatever their client sends along.
        for header in ("Bearer ", "Bearer undefined", "Basic YTpi"):
            code, answer = await hearth.call(
                "POST", "/login", {"type": "m.login.token"}, headers={"Authorization": header}
            )
            self.assertEqual((code, answer["errcode"]), (400, "M_MISSING_PARAM"))
        for path in ("/login", "/register"):
            for token, errcode in ((None, "M_MISSING_TOKEN"), ("other", "M_UNKNOWN_TOKEN")):
                code, answer = await hearth.call("POST", path, login, token=token)
                self.assertEqual((code, answer["errcode"]), (401, errcode))

    async def test_what_a_service_has_reserved_is_for_nobody_else(self) -> None:
        irc, bot = LittleService(self), LittleService(self, "bot")
        hearth = await self.server(application_services=[irc.registration(), bot.registration()])
        irc.start()
        alice = await hearth.person("alice")
        body = {
            "username": "_irc_ann",
            "password": "long enough",
            "auth": {"type": "m.login.dummy"},
        }
        code, answer = await hearth.call("POST", "/register", body)
        self.assertEqual((code, answer["errcode"]), (400, "M_EXCLUSIVE"))
        kind = "m.login.application_service"
        code, answer = await bot.call(
            hearth, "POST", "/register", {"type": kind, "username": "_irc_ann"}
        )
        self.assertEqual((code, answer["errcode"]), (400, "M_EXCLUSIVE"))
        room = await irc.ask(hearth, "POST", "/createRoom", {"room_alias_name": "_irc_garden"})
        hers = await alice.create_room()
        alias = quote("#_irc_other:localhost", safe="")
        for code, answer in (
            await alice.call("PUT", f"/directory/room/{alias}", {"room_id": hers}),
            await alice.call("POST", "/createRoom", {"room_alias_name": "_irc_other"}),
            await alice.call("DELETE", f"/directory/room/{quote('#_irc_garden:localhost')}"),
            await bot.call(hearth, "POST", "/createRoom", {"room_alias_name": "_irc_other"}),
            await irc.call(hearth, "POST", "/createRoom", {"room_alias_name": "garden"}),
        ):
            self.assertEqual((code, answer["errcode"]), (400, "M_EXCLUSIVE"))
        # Full control over its own, whoever of its users made them.
        ann = await irc.make_user(hearth, "_irc_ann")
        path = f"/directory/room/{quote('#_irc_garden:localhost', safe='')}"
        self.assertEqual((await alice.ask("GET", path))["room_id"], room["room_id"])
        await irc.ask(hearth, "DELETE", path, user=ann)
        self.assertEqual((await alice.call("GET", path))[0], 404)

    async def test_a_service_manages_devices_and_keys_without_a_password(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(application_services=[irc.registration()])
        ann = await irc.make_user(hearth, "_irc_ann")
        code, answer = await irc.call(hearth, "PUT", "/devices/PHONE", {}, user=ann)
        self.assertEqual((code, answer), (201, {}))
        name = {"display_name": "Bridge"}
        code, _ = await irc.call(hearth, "PUT", "/devices/PHONE", name, user=ann)
        self.assertEqual(code, 200)
        for key in ("device_id", "org.matrix.msc3202.device_id"):
            who = await irc.ask(hearth, "GET", "/account/whoami", user=ann, **{key: "PHONE"})
            self.assertEqual(who["device_id"], "PHONE")
            code, answer = await irc.call(
                hearth, "GET", "/account/whoami", user=ann, **{key: "OTHER"}
            )
            self.assertEqual((code, answer["errcode"]), (400, "M_UNKNOWN_DEVICE"))
        code, answer = await irc.call(hearth, "POST", "/keys/upload", {}, user=ann)
        self.assertEqual((code, answer["errcode"]), (400, "M_UNKNOWN_DEVICE"))
        counts = await irc.ask(hearth, "POST", "/keys/upload", {}, user=ann, device_id="PHONE")
        self.assertEqual(counts, {"one_time_key_counts": {"signed_curve25519": 0}})
        await irc.ask(hearth, "DELETE", "/devices/PHONE", user=ann)
        code, answer = await irc.call(hearth, "GET", "/account/whoami", user=ann, device_id="PHONE")
        self.assertEqual((code, answer["errcode"]), (400, "M_UNKNOWN_DEVICE"))
        body = {"new_password": "long enough, really"}
        code, answer = await irc.call(hearth, "POST", "/account/password", body, user=ann)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))

    async def test_an_event_has_the_time_that_its_service_says(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(application_services=[irc.registration()])
        alice = await hearth.person("alice")
        room = (await irc.ask(hearth, "POST", "/createRoom", {"invite": [alice.id]}))["room_id"]
        await alice.join(room)
        send, state = f"/rooms/{room}/send/m.room.message", f"/rooms/{room}/state/m.room.topic"
        said = await irc.ask(hearth, "PUT", f"{send}/1", TEXT, ts=1234)
        again = await irc.ask(hearth, "PUT", f"{send}/1", TEXT, ts=1235)
        self.assertEqual(said, again)
        topic = await irc.ask(hearth, "PUT", state, {"topic": "old"}, ts=5678)
        hers = await alice.ask("PUT", f"{send}/1", TEXT, query={"ts": 1})
        times = {
            event["event_id"]: event["origin_server_ts"]
            for event in (await alice.messages(room))["chunk"]
        }
        self.assertEqual((times[said["event_id"]], times[topic["event_id"]]), (1234, 5678))
        self.assertGreater(times[hers["event_id"]], 5678)  # people have no say
        for ts in ("-1", "x", "1.5", "9007199254740992", "٣"):
            code, answer = await irc.call(hearth, "PUT", f"{send}/2", TEXT, ts=ts)
            self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"), ts)

    async def test_conversation_types_hold_for_services_too(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(
            application_services=[irc.registration()], rooms={"encrypt": ["direct", "group"]}
        )
        alice, bob = await hearth.people("alice", "bob")
        plain = (await irc.ask(hearth, "POST", "/createRoom", {"invite": [alice.id]}))["room_id"]
        await alice.join(plain)
        code, _ = await alice.call("GET", f"/rooms/{plain}/state/m.room.encryption/")
        self.assertEqual(code, 404)  # a bridge's room is readable for the bridge
        ann = await irc.make_user(hearth, "_irc_ann")
        wish = {"is_direct": True, "invite": [alice.id]}
        direct = await irc.ask(hearth, "POST", "/createRoom", wish, user=ann)
        self.assertEqual(await irc.ask(hearth, "POST", "/createRoom", wish, user=ann), direct)
        room = direct["room_id"]
        for method, path, body in (
            ("POST", f"/rooms/{room}/invite", {"user_id": bob.id}),
            ("PUT", f"/rooms/{room}/state/m.room.member/{bob.id}", {"membership": "invite"}),
        ):
            code, answer = await irc.call(hearth, method, path, body, user=ann)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))

    async def test_only_who_is_told_to_be_is_limited(self) -> None:
        free = LittleService(self, "free", {"rate_limited": False})
        held = LittleService(self, "held")
        hearth = await self.server(
            application_services=[free.registration(), held.registration()],
            rate_limits={"other": [0.001, 3]},
        )
        for service, user, limited in (
            (free, "_free_ann", False),
            (held, "_held_ann", True),
            (held, None, False),
        ):
            acts_as = None if user is None else await service.make_user(hearth, user)
            codes = [
                (await service.call(hearth, "GET", "/joined_rooms", user=acts_as))[0]
                for _ in range(6)
            ]
            self.assertEqual(codes[-1], 429 if limited else 200, (service.id, user))

    async def test_a_wide_namespace_opens_no_more_than_the_specification_says(self) -> None:
        """Double puppeting: a service that may act as everybody, and what still needs people."""
        wide = {"users": [{"exclusive": False, "regex": "@.*"}]}
        puppets = LittleService(self, "puppets", {"namespaces": wide, "url": None})
        hearth = await self.server(application_services=[puppets.registration()])
        alice = await hearth.person("alice")  # not exclusive, so people still sign up
        room = (await puppets.ask(hearth, "POST", "/createRoom", {}, user=alice.id))["room_id"]
        self.assertIn(room, (await alice.ask("GET", "/joined_rooms"))["joined_rooms"])
        who = {"type": "m.id.user", "user": "alice"}
        login = {"type": "m.login.application_service", "identifier": who}
        self.assertEqual((await puppets.call(hearth, "POST", "/login", login))[0], 200)
        body = {"new_password": "of the service", "auth": own_password(alice)}
        for path in ("/account/password", "/account/deactivate"):
            code, _ = await puppets.call(hearth, "POST", path, body, user=alice.id)
            self.assertEqual(code, 403)

    async def test_nothing_breaks_for_who_names_no_device(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(application_services=[irc.registration()])
        room = (await irc.ask(hearth, "POST", "/createRoom", {}))["room_id"]
        await irc.ask(hearth, "PUT", "/sendToDevice/m.test/1", {"messages": {}})
        token = (await irc.ask(hearth, "GET", "/sync"))["next_batch"]
        await irc.ask(hearth, "PUT", f"/rooms/{room}/send/m.room.message/1", TEXT)
        answer = await irc.ask(hearth, "GET", "/sync", since=token)
        self.assertIn(room, answer["rooms"]["join"])
        for method, path, body in (
            ("GET", "/devices", None),
            ("GET", f"/rooms/{room}/messages?dir=b", None),
            ("GET", "/keys/changes?from=" + token + "&to=" + answer["next_batch"], None),
            ("POST", "/keys/query", {"device_keys": {}}),
            ("GET", "/pushers", None),
            ("GET", "/notifications", None),
            ("POST", "/user/@_irc_bot:localhost/filter", {}),
            ("PUT", "/profile/@_irc_bot:localhost/displayname", {"displayname": "IRC"}),
            ("POST", "/logout", {}),
        ):
            path, _, query = path.partition("?")
            more = dict(part.split("=") for part in query.split("&")) if query else {}
            await irc.ask(hearth, method, path, body, **more)
        await irc.ask(hearth, "GET", "/account/whoami")
