"""Logging in and signing up, refusal by refusal (client-server API, "Legacy API")."""

from typing import Any

from homeserver.uia import DUMMY, REGISTRATION_TOKEN
from schema.errors import InvalidParam
from tests.olm_devices import Device
from tests.support import PASSWORD, WireTest
from tests.test_accounts import VALIDITY, own_password
from tests.test_limits import LIMITS
from tests.test_login_tokens import GET_TOKEN


class LoginTest(WireTest):
    async def test_each_refusal_has_its_errcode(self) -> None:
        server = await self.server()
        await server.person("anna")
        right = {"type": "m.login.password", "user": "anna", "password": PASSWORD}
        for change, refusal in (
            ({"password": "wrong"}, (403, "M_FORBIDDEN")),
            ({"user": "nobody"}, (403, "M_FORBIDDEN")),
            ({"type": "m.login.sso"}, (400, "M_UNKNOWN")),
            ({"type": "org.example.magic"}, (400, "M_UNKNOWN")),
            ({"type": None}, (400, "M_BAD_JSON")),
        ):
            code, answer = await server.call("POST", "/login", {**right, **change})
            self.assertEqual((code, answer["errcode"]), refusal, change)
        self.assertEqual((await server.call("POST", "/login", right))[0], 200)

    async def test_logging_out_deletes_the_device_and_its_keys(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        pad = await server.log_in(anna)
        device = Device(None, pad)  # type: ignore[arg-type]
        await pad.ask("POST", "/keys/upload", {"device_keys": device.device_keys()})
        query = {"device_keys": {anna.id: []}}
        known = await anna.ask("POST", "/keys/query", query)
        self.assertIn(pad.device_id, known["device_keys"][anna.id])
        await pad.ask("POST", "/logout")
        known = await anna.ask("POST", "/keys/query", query)
        self.assertNotIn(pad.device_id, known["device_keys"].get(anna.id, {}))
        devices = (await anna.ask("GET", "/devices"))["devices"]
        self.assertEqual([each["device_id"] for each in devices], [anna.device_id])

    async def test_who_one_is_can_be_asked(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        for device in (anna, await server.log_in(anna, device_id="PAD")):
            answer = await device.ask("GET", "/account/whoami")
            self.assertEqual((answer["user_id"], answer["device_id"]), (anna.id, device.device_id))
            self.assertFalse(answer.get("is_guest", False))

    async def test_login_tokens_and_guesses_at_tokens_are_limited_like_logins(self) -> None:
        server = await self.server(rate_limits={**LIMITS, "registration": [0.001, 4]})
        anna = await server.person("anna")
        codes = [(await server.call("GET", VALIDITY, query={"token": str(n)}))[0] for n in range(4)]
        self.assertEqual(codes, [200, 200, 200, 429])
        codes = [(await anna.call("POST", GET_TOKEN, {}))[0] for _ in range(3)]
        self.assertEqual(codes, [401, 401, 429])


class SigningUpTest(WireTest):
    async def test_without_authentication_nothing_is_done_even_where_it_asks_for_none(self) -> None:
        server = await self.server()
        wish = {"username": "anna", "password": PASSWORD}
        for auth in ({}, {"auth": {}}):
            code, question = await server.call("POST", "/register", {**wish, **auth})
            self.assertEqual((code, question["flows"]), (401, [{"stages": [DUMMY]}]))
            self.assertEqual((question["params"], question.get("completed", [])), ({}, []))
            free = await server.call("GET", "/register/available", query={"username": "anna"})
            self.assertEqual(free[0], 200)
        auth = {"auth": {"type": DUMMY, "session": question["session"]}}
        self.assertEqual((await server.call("POST", "/register", {**wish, **auth}))[0], 200)

    async def test_the_page_of_a_stage_tells_the_client_that_it_is_done(self) -> None:
        server = await self.server()
        _, question = await server.call("POST", "/register", {})
        page, query = f"/auth/{DUMMY}/fallback/web", {"session": question["session"]}
        _, html = await server.call("GET", page, query=query)
        self.assertNotIn(b"onAuthDone", html)
        _, html = await server.call("POST", page, query=query, raw=b"")
        for step in (
            b"if (window.onAuthDone)",
            b"window.onAuthDone();",
            b"else if (window.opener && window.opener.postMessage)",
            b'window.opener.postMessage("authDone", "*");',
        ):
            self.assertIn(step, html)
        body = {"username": "anna", "password": PASSWORD, "auth": query}
        self.assertEqual((await server.call("POST", "/register", body))[0], 200)

    async def test_without_a_device_id_there_is_a_new_one(self) -> None:
        server = await self.server()
        people = await server.people("anna", "ben")
        for person in people:
            self.assertRegex(person.device_id, "^[A-Z]{10}$")
            answer = await person.ask("GET", "/account/whoami")
            self.assertEqual(answer["device_id"], person.device_id)
        self.assertNotEqual(people[0].device_id, people[1].device_id)
        carla = await server.person("carla", device_id="KITCHEN")
        self.assertEqual((await carla.ask("GET", "/account/whoami"))["device_id"], "KITCHEN")

    async def test_a_registration_token_is_an_opaque_identifier(self) -> None:
        server = await self.server(registration={"mode": "token"})
        tokens = server.app.people.tokens
        for token in ("x" * 64, "A.b_c~9-"):
            await tokens.create(token=token)
            query = {"token": token}
            self.assertEqual(
                await server.call("GET", VALIDITY, query=query), (200, {"valid": True})
            )
        for token in ("", "x" * 65, "a b", "a/b", "ü", "a\n"):
            with self.assertRaises(InvalidParam):
                await tokens.create(token=token)


class ProvingTest(WireTest):
    """Interactive authentication with a password."""

    async def test_the_local_part_of_ones_id_is_enough(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        for user in ("anna", anna.id):
            auth = {**own_password(anna), "identifier": {"type": "m.id.user", "user": user}}
            await anna.ask("DELETE", "/devices/GONE", {"auth": auth})

    async def test_a_registration_token_proves_nothing_but_at_registration(self) -> None:
        server = await self.server(registration={"mode": "token"})
        token = await server.app.people.tokens.create()
        auth: dict[str, Any] = {"type": REGISTRATION_TOKEN, "token": token}
        body = {"username": "anna", "password": PASSWORD, "auth": auth}
        _, login = await server.call("POST", "/register", body)
        access = login["access_token"]
        code, question = await server.call("DELETE", "/devices/GONE", {}, token=access)
        self.assertEqual((code, question["flows"]), (401, [{"stages": ["m.login.password"]}]))
        code, answer = await server.call("DELETE", "/devices/GONE", {"auth": auth}, token=access)
        self.assertEqual((code, answer["errcode"]), (401, "M_FORBIDDEN"))
