"""Documents that whoever signs up must accept."""

from re import findall
from typing import Any
from urllib.parse import urlencode

from homeserver.config import Policy
from homeserver.terms import Terms
from homeserver.uia import DUMMY, EMAIL, REGISTRATION_TOKEN, TERMS
from tests.mail_server import MailServer, link_in
from tests.support import PASSWORD, Server, WireTest

POLICIES = [
    ("privacy", "1.2", "en", "Privacy policy", "https://elm.example/privacy-en"),
    ("privacy", "1.2", "fr", "Confidentialité", "https://elm.example/privacy-fr"),
    ("rules", "7", "en", "House <rules>", "https://elm.example/rules"),
]
SETTING = [
    dict(zip(("id", "version", "language", "name", "url"), policy, strict=True))
    for policy in POLICIES
]
PARAMS = {
    "policies": {
        "privacy": {
            "version": "1.2",
            "en": {"name": "Privacy policy", "url": "https://elm.example/privacy-en"},
            "fr": {"name": "Confidentialité", "url": "https://elm.example/privacy-fr"},
        },
        "rules": {
            "version": "7",
            "en": {"name": "House <rules>", "url": "https://elm.example/rules"},
        },
    }
}


class TermsTest(WireTest):
    """Client-server API, "Terms of service at registration"."""

    async def accepted(self, server: Server) -> list[Any]:
        return await server.app.storage.store.read(
            lambda txn: txn.all(
                "SELECT user_id, policy, version FROM accepted_terms ORDER BY user_id, policy"
            )
        )

    async def test_who_signs_up_accepts_what_is_shown_and_that_is_kept(self) -> None:
        server = await self.server(registration={"mode": "open", "terms": SETTING})
        wish = {"username": "ann", "password": PASSWORD}
        code, question = await server.call("POST", "/register", wish)
        self.assertEqual((code, question["flows"]), (401, [{"stages": [TERMS]}]))
        self.assertEqual(question["params"], {TERMS: PARAMS})
        auth = {"type": DUMMY, "session": question["session"]}
        self.assertEqual((await server.call("POST", "/register", {**wish, "auth": auth}))[0], 401)
        self.assertEqual(await self.accepted(server), [])
        auth["type"] = TERMS
        code, login = await server.call("POST", "/register", {**wish, "auth": auth})
        self.assertEqual(code, 200, login)
        kept = [("@ann:localhost", "privacy", "1.2"), ("@ann:localhost", "rules", "7")]
        self.assertEqual([tuple(row) for row in await self.accepted(server)], kept)

    async def test_they_come_last_and_their_proofs_are_kept_meanwhile(self) -> None:
        post = await MailServer(self).start()
        registration = {"mode": "token", "terms": SETTING}
        server = await self.server(registration=registration, email=post.settings)
        token = await server.app.people.tokens.create(uses_allowed=1)
        wish = {"username": "ann", "password": PASSWORD}
        auth: dict[str, Any] = {"type": REGISTRATION_TOKEN, "token": token}
        code, half = await server.call("POST", "/register", {**wish, "auth": auth})
        self.assertEqual((code, half["completed"]), (401, [REGISTRATION_TOKEN]))
        steps = [REGISTRATION_TOKEN, TERMS]
        self.assertEqual(half["flows"], [{"stages": steps}, {"stages": [EMAIL, *steps]}])
        self.assertTrue(await server.app.people.tokens.is_valid(token))
        auth = {"type": TERMS, "session": half["session"]}
        code, answer = await server.call("POST", "/register", {**wish, "auth": auth})
        self.assertEqual(code, 200, answer)
        self.assertFalse(await server.app.people.tokens.is_valid(token))

    async def test_only_who_wants_to_be_erased_takes_the_record_along(self) -> None:
        server = await self.server(registration={"mode": "open", "terms": SETTING})
        for name, erase in (("ann", False), ("ben", True)):
            wish = {"username": name, "password": PASSWORD, "auth": {"type": TERMS}}
            _, login = await server.call("POST", "/register", wish)
            identifier = {"type": "m.id.user", "user": name}
            auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            token = login["access_token"]
            body = {"auth": auth, "erase": erase}
            code, _ = await server.call("POST", "/account/deactivate", body, token=token)
            self.assertEqual(code, 200)
        self.assertEqual({row[0] for row in await self.accepted(server)}, {"@ann:localhost"})

    async def test_the_page_shows_each_document_in_the_language_of_the_reader(self) -> None:
        server = await self.server(registration={"mode": "open", "terms": SETTING})
        wish = {"username": "ann", "password": PASSWORD}
        _, question = await server.call("POST", "/register", wish)
        session = question["session"]
        page = f"/auth/{TERMS}/fallback/web?session={session}"
        reader = {"Accept-Language": "fr-CH, fr;q=0.9, en;q=0.8"}
        code, html = await server.call("GET", page, headers=reader)
        self.assertEqual(code, 200)
        shown = html.decode()
        self.assertIn('href="https://elm.example/privacy-fr"', shown)
        self.assertNotIn("privacy-en", shown)
        self.assertIn("House &lt;rules&gt;", shown)
        code, html = await server.call("POST", page, raw=b"")
        self.assertEqual(code, 400)
        self.assertIn("if you accept", html.decode())
        self.assertNotIn("onAuthDone", html.decode())
        code, html = await server.call("POST", page, raw=b"accept=yes")
        self.assertEqual(code, 200)
        self.assertIn("onAuthDone", html.decode())
        body = {**wish, "auth": {"session": session}}
        self.assertEqual((await server.call("POST", "/register", body))[0], 200)
        self.assertEqual(len(await self.accepted(server)), 2)

    def test_a_document_that_the_reader_cannot_read_is_shown_all_the_same(self) -> None:
        terms = Terms([Policy(*policy) for policy in POLICIES], lambda: 0)
        names = [
            [policy.name for policy in terms.for_reader(read)] for read in (["de"], [], ["fr"])
        ]
        english = ["Privacy policy", "House <rules>"]
        self.assertEqual(names, [english, english, ["Confidentialité", "House <rules>"]])


class FallbackTest(WireTest):
    """Client-server API, "Fallback": there is a page for every step that is offered."""

    async def test_a_password_can_be_given_in_a_browser(self) -> None:
        server = await self.server()
        ann = await server.person("ann")
        tablet = await server.log_in(ann)
        body = {"devices": [tablet.device_id]}
        _, question = await ann.call("POST", "/delete_devices", body)
        page = f"/auth/m.login.password/fallback/web?session={question['session']}"
        code, html = await server.call("GET", page)
        self.assertEqual(code, 200)
        self.assertIn('type="password"', html.decode())
        code, html = await server.call("POST", page, raw=b"password=wrong")
        self.assertEqual(code, 403)
        self.assertNotIn("onAuthDone", html.decode())
        session = {**body, "auth": {"session": question["session"]}}
        self.assertEqual((await ann.call("POST", "/delete_devices", session))[0], 401)
        form = f"password={PASSWORD.replace(' ', '+')}".encode()
        code, html = await server.call("POST", page, raw=form)
        self.assertEqual(code, 200)
        self.assertIn("onAuthDone", html.decode())
        await ann.ask("POST", "/delete_devices", session)
        self.assertEqual((await tablet.call("GET", "/account/whoami"))[0], 401)
        self.assertEqual((await server.call("GET", page))[0], 404)

    async def test_guessing_there_is_limited_too(self) -> None:
        limits = {"enabled": True, "login": [0.001, 2], "registration": [1, 50]}
        server = await self.server(rate_limits=limits)
        ann = await server.person("ann")
        _, question = await ann.call("POST", "/delete_devices", {"devices": []})
        page = f"/auth/m.login.password/fallback/web?session={question['session']}"
        codes = [(await server.call("POST", page, raw=b"password=x"))[0] for _ in range(3)]
        self.assertEqual(codes, [403, 403, 429])

    async def test_an_address_can_be_proved_in_a_browser(self) -> None:
        post = await MailServer(self).start()
        registration = {"mode": "open", "email": "required"}
        server = await self.server(registration=registration, email=post.settings)
        wish = {"username": "ann", "password": PASSWORD}
        _, question = await server.call("POST", "/register", wish)
        session = {**wish, "auth": {"session": question["session"]}}
        page = f"/auth/{EMAIL}/fallback/web?session={question['session']}"
        self.assertIn(b'type="email"', (await server.call("GET", page))[1])
        code, html = await server.call("POST", page, raw=b"email=nobody")
        self.assertEqual(code, 400)
        self.assertIn(b'type="email"', html)
        code, html = await server.call("POST", page, raw=b"email=Ann%40home.example")
        self.assertEqual(code, 200)
        hidden = hidden_fields(html)
        link = await post.link()
        code, html = await server.call("POST", page, raw=hidden)
        self.assertEqual(code, 403)
        self.assertIn(b'name="client_secret"', html)
        await server.call("POST", link, raw=b"")
        code, html = await server.call("POST", page, raw=hidden)
        self.assertEqual(code, 200, html)
        self.assertIn(b"onAuthDone", html)
        code, login = await server.call("POST", "/register", session)
        self.assertEqual(code, 200, login)
        _, answer = await server.call("GET", "/account/3pid", token=login["access_token"])
        self.assertEqual(answer["threepids"][0]["address"], "ann@home.example")

        # The same page for a new password asks for another proof.
        reset = {"new_password": "a new one, quite long"}
        _, question = await server.call("POST", "/account/password", reset)
        page = f"/auth/{EMAIL}/fallback/web?session={question['session']}"
        _, html = await server.call("POST", page, raw=b"email=ann%40home.example")
        letter = await post.letter()
        self.assertIn("new password", letter["Subject"])
        await server.call("POST", link_in(letter), raw=b"")
        code, _ = await server.call("POST", page, raw=hidden_fields(html))
        self.assertEqual(code, 200)
        body = {**reset, "auth": {"session": question["session"]}}
        self.assertEqual((await server.call("POST", "/account/password", body))[0], 200)
        old = {"type": "m.login.password", "user": "ann", "password": PASSWORD}
        self.assertEqual((await server.call("POST", "/login", old))[0], 403)


def hidden_fields(html: bytes) -> bytes:
    """What the form on a page sends besides what people write into it."""
    pairs = findall(r'type="hidden" name="(\w+)" value="([\w-]+)"', html.decode())
    return urlencode(pairs).encode()
