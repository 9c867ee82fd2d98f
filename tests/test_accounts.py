"""Accounts: the organizer invites, neighbours sign up, change passwords, and leave."""

import hmac
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

import homeserver.assembly.people
from homeserver import uia
from homeserver.accounts import AccountHooks, Accounts
from homeserver.clock import system_clock
from homeserver.uia import DUMMY, REGISTRATION_TOKEN
from schema.errors import Forbidden
from storage.transaction import WriteTransaction
from tests.support import PASSWORD, Person, Server, WireTest

VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
ADMIN_REGISTER = "/_synapse/admin/v1/register"
ASKING = {"client_secret": "secret", "email": "hal@example.org", "send_attempt": 1}
CLOSED_HOUSE = {"registration": {"mode": "token"}}


class Later:
    """A clock that can be set forward."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return system_clock() + self.ahead


async def sign_up(server: Server, name: str, token: str, **more: Any) -> tuple[int, Any]:
    """One request with a registration token, as a client sends that remembers no session."""
    auth = {"type": REGISTRATION_TOKEN, "token": token}
    body = {"username": name, "password": PASSWORD, "auth": auth, **more}
    return await server.call("POST", "/register", body)


def own_password(person: Person, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    """What a client sends as ``auth``."""
    identifier = {"type": "m.id.user", "user": person.id}
    return {"type": uia.PASSWORD, "identifier": identifier, "password": password, **more}


async def both(*running: Any) -> list[Any]:
    """Several requests at the same time."""
    return list(await gatherResults([Deferred.fromCoroutine(each) for each in running]))


class SigningUpTest(WireTest):
    async def test_the_first_administrator_signs_up_with_the_token_of_the_first_start(self) -> None:
        server = await self.server(**CLOSED_HOUSE)
        stale = server.app.first_token
        await server.restart()
        first = server.app.first_token
        self.assertNotEqual(stale, first)

        code, question = await server.call("POST", "/register", {})
        self.assertEqual((code, question["flows"]), (401, [{"stages": [REGISTRATION_TOKEN]}]))
        self.assertNotIn("errcode", question)
        wish = {"username": "Olga", "password": PASSWORD}
        auth = {"type": REGISTRATION_TOKEN, "token": stale, "session": question["session"]}
        code, refusal = await server.call("POST", "/register", {**wish, "auth": auth})
        self.assertEqual((code, refusal["errcode"]), (401, "M_FORBIDDEN"))
        self.assertEqual(refusal["session"], question["session"])
        auth["token"] = first
        code, olga = await server.call("POST", "/register", {**wish, "auth": auth})
        self.assertEqual((code, olga["user_id"]), (200, "@olga:localhost"))

        code, answer = await server.call(
            "GET", "/_synapse/admin/v1/users/@olga:localhost/admin", token=olga["access_token"]
        )
        self.assertEqual((code, answer), (200, {"admin": True}))
        await server.restart()
        self.assertIsNone(server.app.first_token)
        self.assertEqual((await sign_up(server, "second", str(first)))[0], 401)
        who = await server.call("GET", "/account/whoami", token=olga["access_token"])
        self.assertEqual(who[1]["user_id"], "@olga:localhost")

    async def test_of_two_people_with_one_single_use_token_one_gets_in(self) -> None:
        server = await self.server(**CLOSED_HOUSE)
        token = await server.app.people.tokens.create(uses_allowed=1)
        answers = await both(sign_up(server, "ann", token), sign_up(server, "ben", token))
        codes = [code for code, _ in answers]
        self.assertEqual(sorted(codes), [200, 403], answers)
        loser = ("ann", "ben")[codes.index(403)]
        query = {"username": loser}
        free = await server.call("GET", "/register/available", query=query)
        self.assertEqual(free, (200, {"available": True}))
        self.assertEqual(
            await server.call("GET", VALIDITY, query={"token": token}), (200, {"valid": False})
        )

    async def test_a_name_that_two_people_want_at_once_goes_to_one(self) -> None:
        server = await self.server(**CLOSED_HOUSE)
        token = await server.app.people.tokens.create(uses_allowed=2)
        answers = await both(sign_up(server, "cat", token), sign_up(server, "cat", token))
        self.assertEqual(sorted(code for code, _ in answers), [200, 400])
        self.assertIn("M_USER_IN_USE", [answer.get("errcode") for _, answer in answers])
        # The loser's use of the token was undone together with everything else.
        self.assertEqual((await sign_up(server, "cathy", token))[0], 200)
        self.assertEqual((await sign_up(server, "carla", token))[0], 401)

    async def test_a_token_expires(self) -> None:
        later = Later()
        self.patch(homeserver.assembly.people, "system_clock", later)
        server = await self.server(**CLOSED_HOUSE)
        token = await server.app.people.tokens.create(expires_at=later() + 60_000)
        query = {"token": token}
        self.assertEqual(await server.call("GET", VALIDITY, query=query), (200, {"valid": True}))
        later.ahead = 60_001
        self.assertEqual(await server.call("GET", VALIDITY, query=query), (200, {"valid": False}))
        self.assertEqual((await sign_up(server, "late", token))[0], 401)

    async def test_a_closed_server_takes_nobody(self) -> None:
        server = await self.server(registration={"mode": "closed"})
        self.assertIsNone(server.app.first_token)
        for answer in (
            await server.call("POST", "/register", {"username": "x", "password": PASSWORD}),
            await server.call("GET", "/register/available", query={"username": "x"}),
            await server.call("GET", VALIDITY, query={"token": "x"}),
        ):
            self.assertEqual((answer[0], answer[1]["errcode"]), (403, "M_FORBIDDEN"))

    async def test_what_cannot_become_an_account_is_refused_before_authentication(self) -> None:
        server = await self.server()
        await server.person("taken")
        for wish, errcode in (
            ({"username": "Taken"}, "M_USER_IN_USE"),
            ({"username": "with space"}, "M_INVALID_USERNAME"),
            ({"username": "jürgen"}, "M_INVALID_USERNAME"),
            ({"username": "x" * 250}, "M_INVALID_USERNAME"),
            ({"username": "short", "password": "1234567"}, "M_WEAK_PASSWORD"),
            ({"username": "long", "password": "ü" * 300}, "M_INVALID_PARAM"),
            ({"username": "device", "device_id": "ü" * 300}, "M_INVALID_PARAM"),
        ):
            body = {"password": PASSWORD, **wish}
            code, answer = await server.call("POST", "/register", body)
            self.assertEqual((code, answer["errcode"]), (400, errcode), wish)
        code, answer = await server.call("POST", "/register", {"auth": {"type": DUMMY}})
        self.assertEqual((code, answer["errcode"]), (400, "M_MISSING_PARAM"))
        code, answer = await server.call("POST", "/register", {}, query={"kind": "guest"})
        self.assertEqual((code, answer["errcode"]), (403, "M_GUEST_ACCESS_FORBIDDEN"))

    async def test_who_names_no_name_gets_one_and_who_wants_no_login_gets_none(self) -> None:
        server = await self.server()
        body = {"password": PASSWORD, "auth": {"type": DUMMY}, "inhibit_login": True}
        code, answer = await server.call("POST", "/register", body)
        self.assertEqual((code, list(answer)), (200, ["user_id"]))
        self.assertRegex(answer["user_id"], r"^@[a-z]{12}:localhost$")

    async def test_a_person_completes_the_step_in_a_browser(self) -> None:
        server = await self.server(**CLOSED_HOUSE)
        token = await server.app.people.tokens.create(uses_allowed=1)
        wish = {"username": "berta", "password": PASSWORD}
        _, question = await server.call("POST", "/register", wish)
        page = f"/auth/{REGISTRATION_TOKEN}/fallback/web"
        query = {"session": question["session"]}
        code, html = await server.call("GET", page, query=query)
        self.assertEqual(code, 200)
        self.assertIn(b"<form", html)
        code, html = await server.call("POST", page, query=query, raw=b"token=wrong")
        self.assertEqual(code, 403)
        self.assertNotIn(b"authDone", html)
        code, html = await server.call("POST", page, query=query, raw=b"token=" + token.encode())
        self.assertEqual(code, 200)
        self.assertIn(b"authDone", html)
        body = {**wish, "auth": {"session": question["session"]}}
        self.assertEqual((await server.call("POST", "/register", body))[0], 200)
        self.assertEqual((await server.call("GET", page, query=query))[0], 404)


class SharedSecretTest(WireTest):
    SECRET = "sixteen letters or more"

    async def nonce(self, server: Server) -> str:
        code, answer = await server.call("GET", ADMIN_REGISTER)
        self.assertEqual(code, 200)
        return str(answer["nonce"])

    def signed(self, *parts: str) -> str:
        return hmac.new(self.SECRET.encode(), "\0".join(parts).encode(), "sha1").hexdigest()

    async def test_a_tool_with_the_secret_makes_an_administrator(self) -> None:
        server = await self.server(registration={"mode": "closed", "shared_secret": self.SECRET})
        nonce = await self.nonce(server)
        mac = self.signed(nonce, "Boss", PASSWORD, "admin")
        body = {"nonce": nonce, "username": "Boss", "password": PASSWORD, "mac": mac}
        code, answer = await server.call("POST", ADMIN_REGISTER, {**body, "admin": False})
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        code, boss = await server.call("POST", ADMIN_REGISTER, {**body, "admin": True})
        self.assertEqual((code, boss["user_id"]), (200, "@boss:localhost"))
        self.assertEqual(boss["home_server"], "localhost")
        code, answer = await server.call(
            "GET", "/_synapse/admin/v1/users/@boss:localhost/admin", token=boss["access_token"]
        )
        self.assertEqual(answer, {"admin": True})

    async def test_a_nonce_is_good_for_a_minute(self) -> None:
        later = Later()
        self.patch(homeserver.assembly.people, "system_clock", later)
        server = await self.server(registration={"mode": "closed", "shared_secret": self.SECRET})
        nonce = await self.nonce(server)
        mac = self.signed(nonce, "bot", PASSWORD, "notadmin", "bot")
        body = {"nonce": nonce, "username": "bot", "password": PASSWORD, "mac": mac}
        body["user_type"] = "bot"
        later.ahead = 60_001
        self.assertEqual((await server.call("POST", ADMIN_REGISTER, body))[0], 403)
        later.ahead = 0
        for forged in ("", "x", "9999999999999.x.ü"):
            answer = await server.call("POST", ADMIN_REGISTER, {**body, "nonce": forged})
            self.assertEqual(answer[0], 403)
        self.assertEqual((await server.call("POST", ADMIN_REGISTER, body))[0], 200)

    async def test_without_a_secret_there_is_no_way_in(self) -> None:
        server = await self.server()
        self.assertEqual((await server.call("GET", ADMIN_REGISTER))[0], 403)
        mac = hmac.new(b"", b"\0".join([b"n", b"x", b"y", b"notadmin"]), "sha1").hexdigest()
        body = {"nonce": "n", "username": "x", "password": "y", "mac": mac}
        self.assertEqual((await server.call("POST", ADMIN_REGISTER, body))[0], 403)


class ChangingTest(WireTest):
    async def test_a_new_password_logs_out_the_other_devices(self) -> None:
        server = await self.server()
        pam = await server.person("pam")
        phone = await server.log_in(pam)
        wish = {"new_password": "another good one", "logout_devices": False}
        await pam.ask("POST", "/account/password", {**wish, "auth": own_password(pam)})
        self.assertEqual((await phone.call("GET", "/account/whoami"))[0], 200)

        auth = own_password(pam, "another good one")
        await pam.ask("POST", "/account/password", {"new_password": "a third one", "auth": auth})
        self.assertEqual((await phone.call("GET", "/account/whoami"))[0], 401)
        self.assertEqual((await pam.call("GET", "/account/whoami"))[0], 200)
        await server.restart()
        login = {"type": uia.PASSWORD, "user": "pam", "password": PASSWORD}
        self.assertEqual((await server.call("POST", "/login", login))[0], 403)
        login["password"] = "a third one"
        self.assertEqual((await server.call("POST", "/login", login))[0], 200)

    async def test_a_weak_new_password_is_refused_before_the_old_one_is_asked_for(self) -> None:
        pam = await (await self.server()).person("pam")
        code, answer = await pam.call("POST", "/account/password", {"new_password": "short"})
        self.assertEqual((code, answer["errcode"]), (400, "M_WEAK_PASSWORD"))

    async def test_a_closed_account_stays_closed_and_its_name_taken(self) -> None:
        server = await self.server()
        dora = await server.person("dora")
        code, question = await dora.call("POST", "/account/deactivate", {"erase": True})
        self.assertEqual((code, question["flows"]), (401, [{"stages": [uia.PASSWORD]}]))
        auth = own_password(dora, session=question["session"])
        answer = await dora.ask("POST", "/account/deactivate", {"erase": True, "auth": auth})
        self.assertEqual(answer, {"id_server_unbind_result": "success"})
        await server.restart()
        self.assertEqual((await dora.call("GET", "/account/whoami"))[0], 401)
        login = {"type": uia.PASSWORD, "user": "dora", "password": PASSWORD}
        code, answer = await server.call("POST", "/login", login)
        self.assertEqual((code, answer["errcode"]), (403, "M_USER_DEACTIVATED"))
        code, answer = await server.call("GET", "/register/available", query={"username": "dora"})
        self.assertEqual(answer["errcode"], "M_USER_IN_USE")

    async def test_other_features_hear_of_it_in_the_same_transaction(self) -> None:
        server = await self.server()
        people, store = server.app.people, server.app.storage.store
        heard: list[Any] = []

        def accounts(hooks: AccountHooks) -> Accounts:
            return Accounts(
                store,
                "localhost",
                system_clock,
                people.passwords,
                people.devices,
                people.sessions,
                hooks,
                people.third_party_ids,
            )

        def refuse(txn: WriteTransaction, user_id: str) -> None:
            raise Forbidden("The hook does not want it")

        async def fail(user_id: str) -> None:
            heard.append(user_id)
            raise RuntimeError("after the commit")

        def closed(txn: WriteTransaction, user_id: str, erase: bool) -> None:
            heard.append((user_id, erase))

        with self.assertRaises(Forbidden):
            await accounts(AccountHooks(created=[refuse])).create("@eva:localhost", PASSWORD)
        self.assertIsNone(await people.accounts.find("@eva:localhost"))
        await accounts(AccountHooks(after_created=[fail])).create("@eva:localhost", PASSWORD)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        await accounts(AccountHooks(deactivated=[closed])).deactivate("@eva:localhost", erase=True)
        self.assertEqual(heard, ["@eva:localhost", ("@eva:localhost", True)])

    async def test_only_an_administrator_asks_about_somebody_else(self) -> None:
        server = await self.server()
        fay, gil = await server.people("fay", "gil")
        who = await fay.ask("GET", f"/admin/whois/{fay.id}")
        connection = who["devices"][fay.device_id]["sessions"][0]["connections"][0]
        self.assertEqual(connection["ip"], "127.0.0.1")
        self.assertEqual((await fay.call("GET", f"/admin/whois/{gil.id}"))[0], 403)
        await server.app.people.accounts.set_admin(fay.id, True)
        self.assertEqual((await fay.call("GET", f"/admin/whois/{gil.id}"))[0], 200)
        self.assertEqual((await fay.call("GET", "/admin/whois/@nobody:localhost"))[0], 404)

    async def test_there_are_no_e_mail_addresses_and_no_phone_numbers(self) -> None:
        server = await self.server()
        hal = await server.person("hal")
        for path in ("/register", "/account/password", "/account/3pid"):
            for medium in ("email", "msisdn"):
                code, answer = await server.call("POST", f"{path}/{medium}/requestToken", ASKING)
                self.assertIn(code, (400, 403))
                self.assertTrue(answer["errcode"].startswith("M_THREEPID_"))
        self.assertEqual(await hal.ask("GET", "/account/3pid"), {"threepids": []})
        body = {"sid": "1", "client_secret": "secret"}
        self.assertEqual((await hal.call("POST", "/account/3pid/add", body))[0], 403)

    async def test_the_database_holds_no_secret_that_can_be_read(self) -> None:
        server = await self.server(**CLOSED_HOUSE)
        token = await server.app.people.tokens.create()
        _, ida = await sign_up(server, "ida", token, refresh_token=True)
        tables = ("accounts", "devices", "access_tokens", "refresh_tokens", "registration_tokens")
        stored = await server.app.storage.store.read(
            lambda txn: repr([txn.all(f"SELECT * FROM {table}") for table in tables])
        )
        for secret in (token, ida["access_token"][3:], ida["refresh_token"][3:], PASSWORD):
            self.assertNotIn(secret, stored)
        self.assertIn("$argon2id$", stored)
