"""Logging in another device by a token, and the page that logs in for a client."""

from base64 import b64encode
from hashlib import sha256
from re import DOTALL, search
from typing import Any

import treq

from homeserver.login_tokens import LoginTokens
from tests.support import PASSWORD, Person, WireTest

GET_TOKEN = "/_matrix/client/v1/login/get_token"


class LoginTokensTest(WireTest):
    """Client-server API, ``login/get_token``."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice = await self.hearth.person("alice")

    async def token(self, who: Person) -> str:
        code, answer = await who.call("POST", GET_TOKEN, {})
        self.assertEqual(code, 401, answer)
        auth = {
            "type": "m.login.password",
            "session": answer["session"],
            "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": who.id},
        }
        answer = await who.ask("POST", GET_TOKEN, {"auth": auth})
        self.assertEqual(answer["expires_in_ms"], 120_000)
        return str(answer["login_token"])

    async def log_in(self, token: Any, **more: Any) -> tuple[int, Any]:
        body = {"type": "m.login.token", "token": token, **more}
        return await self.hearth.call("POST", "/login", body)

    async def test_a_token_logs_one_device_in_once(self) -> None:
        flows = (await self.alice.ask("GET", "/login"))["flows"]
        self.assertIn({"type": "m.login.token", "get_login_token": True}, flows)
        capabilities = (await self.alice.ask("GET", "/capabilities"))["capabilities"]
        self.assertTrue(capabilities["m.get_login_token"]["enabled"])
        token = await self.token(self.alice)
        code, answer = await self.log_in(token, device_id="TABLET", refresh_token=True)
        self.assertEqual((code, answer["user_id"]), (200, self.alice.id))
        self.assertEqual(answer["device_id"], "TABLET")
        self.assertIn("refresh_token", answer)
        await self.hearth.call("GET", "/account/whoami", token=answer["access_token"])
        code, answer = await self.log_in(token)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))

    async def test_every_token_asks_for_the_password_anew(self) -> None:
        self.assertNotEqual(await self.token(self.alice), await self.token(self.alice))
        code, answer = await self.hearth.call("POST", GET_TOKEN, {})
        self.assertEqual((code, answer["errcode"]), (401, "M_MISSING_TOKEN"))

    async def test_a_token_ends_in_time_and_with_its_device(self) -> None:
        token = await self.token(self.alice)
        await self.alice.ask("POST", "/logout")
        self.assertEqual((await self.log_in(token))[0], 403)
        phone = await self.hearth.log_in(self.alice)
        token = await self.token(phone)
        later = self.hearth.app.people.login_tokens.clock() + 121_000
        store = self.hearth.app.storage.store
        tokens = LoginTokens(store, lambda: later, lambda: "unused")
        with self.assertRaisesRegex(Exception, "login token is not good"):
            await tokens.redeem(token)

    async def test_nobody_gets_in_with_what_is_no_token(self) -> None:
        for token, refusal in (
            ("hl_guess", (403, "M_FORBIDDEN")),
            (self.alice.token, (403, "M_FORBIDDEN")),
            ("", (400, "M_MISSING_PARAM")),
            (None, (400, "M_MISSING_PARAM")),
            (5, (400, "M_BAD_JSON")),
        ):
            code, answer = await self.log_in(token)
            self.assertEqual((code, answer["errcode"]), refusal, token)
        token = await self.token(self.alice)
        await self.hearth.app.people.accounts.set_locked(self.alice.id, True)
        code, answer = await self.log_in(token)
        self.assertEqual((code, answer["errcode"]), (401, "M_USER_LOCKED"))

    async def test_the_database_cannot_give_a_token_away(self) -> None:
        token = await self.token(self.alice)
        rows = await self.hearth.app.storage.store.read(
            lambda txn: txn.all("SELECT * FROM login_tokens")
        )
        self.assertEqual(len(rows), 1)
        self.assertNotIn(token, str(rows))
        self.assertNotIn(token.removeprefix("hl_"), str(rows))


class LoginFallbackTest(WireTest):
    """Client-server API, "Login Fallback"."""

    async def test_the_page_runs_its_own_script_and_no_other(self) -> None:
        hearth = await self.server()
        for path in (
            "/_matrix/static/client/login/",
            "/_matrix/static/client/login/?device_id=<b>",
        ):
            code, page = await hearth.call("GET", path)
            self.assertEqual(code, 200)
            html = page.decode()
            self.assertNotIn("<b>", html)
            self.assertIn("matrixLogin.onLogin(", html)
            script = search("<script>(.*)</script>", html, DOTALL)
            assert script is not None
            digest = b64encode(sha256(script[1].encode()).digest()).decode()
        response = await treq.get(hearth.base + path, persistent=False)
        await response.content()
        policy = response.headers.getRawHeaders("content-security-policy")[0]
        self.assertIn(f"script-src 'sha256-{digest}'", policy)
        self.assertIn("connect-src 'self'", policy)
        self.assertIn("default-src 'none'", policy)
