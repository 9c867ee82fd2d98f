"""Design promise 6: no secret is stored or logged in readable form."""

import hmac
import re
from contextlib import closing
from typing import Any
from urllib.parse import quote

import psycopg2

from tests.mail_server import MailServer
from tests.processes import ServerProcess
from tests.support import WireTest

SHARED = "a-shared-secret-that-nobody-guesses"
FIRST, SECOND, WRONG = "first password, long", "second password, long", "wrong password, long"
KEPT_READABLE = ("hearth.yaml",)
"""The configuration is where the person who runs the server has written a secret."""


def everything_stored(server: ServerProcess) -> dict[str, bytes]:
    """All that the server has written anywhere: files, database, log; by place."""
    found = {
        str(file.relative_to(server.data)): file.read_bytes()
        for file in server.data.rglob("*")
        if file.is_file() and file.name not in KEPT_READABLE
    }
    if not server.database_url.startswith("sqlite:"):
        with closing(psycopg2.connect(server.database_url)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in cursor.fetchall():
                cursor.execute(f'SELECT * FROM "{table}"')
                found[table] = repr(cursor.fetchall()).encode()
    return found


class SecretsTest(WireTest):
    """A story with every secret that there is, and then a look at everything that was written."""

    async def test_nothing_secret_is_written_anywhere(self) -> None:
        self.secrets: dict[str, str] = {}
        registration = {"mode": "token", "shared_secret": SHARED}
        self.post = await MailServer(self).start()
        settings = {"registration": registration, "email": self.post.settings}
        hearth = ServerProcess(self, settings)
        hearth.options = ("--debug",)
        self.addCleanup(hearth.kill)
        await hearth.start()
        await self._story(hearth)
        self._check(hearth)  # while it runs: the write-ahead log, too
        await hearth.stop()
        await hearth.start()
        await hearth.stop()
        self._check(hearth)
        self.assertNotIn("Traceback", hearth.log)

    async def _story(self, hearth: ServerProcess) -> None:
        secrets = self.secrets
        [token] = re.findall(r"^    (\S+)$", hearth.log, re.M)
        secrets["registration token"] = token
        body: dict[str, Any] = {"username": "alice", "password": FIRST, "refresh_token": True}
        code, answer = await hearth.call("POST", "/register", body)
        self.assertEqual(code, 401)
        stage = {"type": "m.login.registration_token", "session": answer["session"]}
        await hearth.call(
            "POST", "/register", {**body, "auth": {**stage, "token": "wrong-token-1"}}
        )
        secrets["wrong registration token"] = "wrong-token-1"
        body["auth"] = {**stage, "token": token}
        code, login = await hearth.call("POST", "/register", body)
        self.assertEqual(code, 200, login)
        self._note("registered", login)
        await self._with_shared_secret(hearth)
        identifier = {"type": "m.id.user", "user": "alice"}
        by_password = {"type": "m.login.password", "identifier": identifier}
        code, _ = await hearth.call("POST", "/login", {**by_password, "password": WRONG})
        self.assertEqual(code, 403)
        code, second = await hearth.call(
            "POST", "/login", {**by_password, "password": FIRST, "refresh_token": True}
        )
        self.assertEqual(code, 200)
        self._note("logged in", second)
        refresh = {"refresh_token": second["refresh_token"]}
        code, second = await hearth.call("POST", "/refresh", refresh)
        self.assertEqual(code, 200)
        self._note("refreshed", second)
        mine = {"token": second["access_token"]}
        auth = {**by_password, "password": FIRST}
        change = {"new_password": SECOND, "logout_devices": False, "auth": auth}
        for attempt in ({**change, "auth": {**auth, "password": WRONG}}, change):
            code, answer = await hearth.call("POST", "/account/password", attempt, **mine)
        self.assertEqual(code, 200, answer)
        secrets |= {"first password": FIRST, "second": SECOND, "wrong": WRONG, "shared": SHARED}
        await self._by_e_mail(hearth)
        await self._what_tokens_are_used_for(hearth, second["access_token"])

    async def _with_shared_secret(self, hearth: ServerProcess) -> None:
        path = "/_synapse/admin/v1/register"
        _, answer = await hearth.call("GET", path)
        nonce, password = answer["nonce"], "third password, long"
        self.secrets["third password"] = password
        parts = "\0".join((nonce, "bot", password, "notadmin")).encode()
        mac = hmac.new(SHARED.encode(), parts, "sha1").hexdigest()
        body = {"nonce": nonce, "username": "bot", "password": password, "mac": mac}
        code, login = await hearth.call("POST", path, body)
        self.assertEqual(code, 200, login)
        self._note("bot", login)

    async def _by_e_mail(self, hearth: ServerProcess) -> None:
        body = {"email": "alice@home.example", "client_secret": "a-secret-of-a-client"}
        self.secrets["client secret"] = body["client_secret"]
        path = "/account/3pid/email/requestToken"
        code, answer = await hearth.call("POST", path, {**body, "send_attempt": 1})
        self.assertEqual(code, 200, answer)
        link = await self.post.link()
        self.secrets["token in a link"] = link.partition("token=")[2]
        self.assertEqual((await hearth.call("POST", link, raw=b""))[0], 200)

    async def _what_tokens_are_used_for(self, hearth: ServerProcess, token: str) -> None:
        """Tokens in odd places, requests that fail, and secrets that stand for somebody."""
        mine = {"token": token}
        path = "/user/@alice:localhost/openid/request_token"
        code, openid = await hearth.call("POST", path, **mine)
        self.assertEqual(code, 200)
        self.secrets["openid token"] = openid["access_token"]
        pusher = {"kind": "http", "pushkey": "pushkey-that-opens-a-phone", "app_id": "app"}
        pusher |= {"app_display_name": "App", "device_display_name": "Phone", "lang": "en"}
        pusher["data"] = {"url": "https://push.example/_matrix/push/v1/notify"}
        code, answer = await hearth.call("POST", "/pushers/set", pusher, **mine)
        self.assertEqual(code, 200, answer)
        self.secrets["pusher key"] = pusher["pushkey"]
        in_query = {"access_token": token}
        for method, path in (("GET", "/account/whoami"), ("GET", "/nothing"), ("GET", "/sync")):
            url = "/_matrix/client/unstable" + path if path == "/nothing" else path
            await hearth.call(method, url, query=in_query)
        self.secrets["unknown token"] = "unknown-token-of-somebody-else"
        await hearth.call("GET", "/sync", token=self.secrets["unknown token"])
        await hearth.call("POST", "/createRoom", raw=b'{"password": "' + FIRST.encode(), **mine)
        await hearth.call("POST", "/login", {"type": FIRST, "password": FIRST})

    def _note(self, what: str, answer: dict[str, Any]) -> None:
        for kind in ("access_token", "refresh_token"):
            if kind in answer:
                self.secrets[f"{kind} of {what}"] = answer[kind]

    def _check(self, hearth: ServerProcess) -> None:
        stored = everything_stored(hearth)
        self.assertIn(b"@alice:localhost", b"".join(stored.values()))
        for what, secret in self.secrets.items():
            for place, content in stored.items():
                if what == "registration token" and place == "log":
                    continue  # told once, to whoever starts the server; void once it was used
                for form in {secret, quote(secret), secret.encode().hex()}:
                    self.assertNotIn(form.encode(), content, f"{what} in {place}")
