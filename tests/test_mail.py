"""Letters: how they get to the mail server, and what happens when they do not."""

from pathlib import Path
from typing import Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent

import homeserver.mail.mailer
import homeserver.mail.smtp
from homeserver.clock import system_clock
from homeserver.mail.letters import Letters, Purpose
from homeserver.mail.mailer import MAX_WAITING, Letter, Mailer, NotSent
from homeserver.mail.smtp import MailServer as MailServerSettings
from homeserver.mail.smtp import Smtp
from schema.email_address import canonical
from schema.errors import InvalidParam, Unavailable
from tests.mail_server import PASSWORD, USER, MailServer, certificate
from tests.support import WireTest

SENDER = "Elm Street <hearth@elm.example>"
LETTER = Letter("ann@home.example", "Hello", "One line.\n.\nAnother, with ü.\n")


class SendingTest(WireTest):
    """The queue and SMTP, without the rest of the server."""

    timeout = 20

    def mailer(self, port: int, security: Any = "none", **more: Any) -> Mailer:
        settings = MailServerSettings("127.0.0.1", port, security, **more)
        mailer = Mailer(reactor, system_clock, Smtp(reactor, settings, "hearth.example"), SENDER)
        self.addCleanup(mailer.stop)
        return mailer

    async def sent(self, mailer: Mailer, letter: Letter = LETTER) -> list[str]:
        """Send a letter, wait until it is done with, and return what the log says."""
        with capturedLogs() as events:
            mailer.send(letter)
            while mailer._under_way:
                running = next(iter(mailer._under_way))
                done: Deferred[None] = Deferred()
                running.addBoth(lambda _, done=done: done.callback(None))
                await done
        return [
            f"{event['log_level'].name}: {formatEvent(event)}"
            for event in events
            if event["log_namespace"].startswith("homeserver")
        ]

    def folder(self) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        return folder

    async def test_a_letter_arrives_as_it_was_written(self) -> None:
        post = await MailServer(self).start()
        log = await self.sent(self.mailer(post.port))
        self.assertEqual(log, ["info: Sent an e-mail to ann@home.example"])
        letter = await post.letter()
        self.assertEqual(letter.get_content(), LETTER.text)
        self.assertEqual(letter["From"], SENDER)
        self.assertEqual(letter["To"], "ann@home.example")
        self.assertEqual(letter["Subject"], "Hello")
        self.assertEqual(letter["Auto-Submitted"], "auto-generated")
        self.assertEqual(letter["X-Envelope"], "hearth@elm.example -> ann@home.example")
        self.assertTrue(letter["Message-ID"].endswith("@elm.example>"))

    async def test_by_starttls_and_with_a_password(self) -> None:
        folder = self.folder()
        post = MailServer(self, tls_context=certificate(folder), require_starttls=True)
        post._smtp |= {"authenticator": post.authenticate, "auth_required": True}
        await post.start()
        trust = {"certificates": folder / "ca.pem"}
        log = await self.sent(
            self.mailer(post.port, "starttls", user=USER, password=PASSWORD, **trust)
        )
        self.assertEqual(log, ["info: Sent an e-mail to ann@home.example"])
        self.assertEqual(post.users, [USER])
        await post.letter()
        log = await self.sent(
            self.mailer(post.port, "starttls", user=USER, password="a wrong one", **trust)
        )
        self.assertEqual(len(log), 1)
        self.assertIn(
            "error: Dropped an e-mail to ann@home.example: the mail server said 5", log[0]
        )
        self.assertNotIn("a wrong one", log[0])

    async def test_by_tls_from_the_first_byte(self) -> None:
        folder = self.folder()
        post = await MailServer(self, ssl_context=certificate(folder)).start()
        log = await self.sent(self.mailer(post.port, "tls", certificates=folder / "ca.pem"))
        self.assertEqual(log, ["info: Sent an e-mail to ann@home.example"])
        await post.letter()

    async def test_whoever_is_not_the_mail_server_gets_nothing(self) -> None:
        self.patch(homeserver.mail.mailer, "RETRY_AFTER", ())
        folder = self.folder()
        context = certificate(folder)
        hidden = MailServer(self, ssl_context=context)
        upgrading = MailServer(self, tls_context=context)
        plain = MailServer(self, auth_require_tls=False)
        for post, security in ((hidden, "tls"), (upgrading, "starttls"), (plain, "starttls")):
            post._smtp["authenticator"] = post.authenticate
            await post.start()
            # Each would take the letter, and the password, if it were given them.
            for known in ({}, {"user": USER, "password": PASSWORD}):
                log = await self.sent(self.mailer(post.port, security, **known))
                self.assertIn("Dropped", log[-1])
            self.assertEqual((post.asked, post.users), (0, []), security)
        trusted = {"certificates": folder / "ca.pem"}
        for post, security in ((hidden, "tls"), (upgrading, "starttls")):
            log = await self.sent(self.mailer(post.port, security, **trusted))
            self.assertIn("Sent", log[-1])
            await post.letter()

    async def test_what_is_refused_for_ever_is_not_tried_again(self) -> None:
        post = await MailServer(self).start()
        post.refusals = ["550 No such person here"]
        log = await self.sent(self.mailer(post.port))
        self.assertEqual(
            log,
            [
                "error: Dropped an e-mail to ann@home.example:"
                " the mail server said 550 'No such person here'"
            ],
        )
        self.assertEqual(post.asked, 1)
        post.rejections = ["554 We do not like what it says"]
        log = await self.sent(self.mailer(post.port))
        self.assertEqual(len(log), 1)
        self.assertIn("the mail server said 554 'We do not like what it says'", log[0])

    async def test_what_is_refused_for_now_is_tried_again(self) -> None:
        self.patch(homeserver.mail.mailer, "RETRY_AFTER", (0.01, 0.01))
        post = await MailServer(self).start()
        post.refusals, post.rejections = ["450 Later"], ["451 Later still"]
        log = await self.sent(self.mailer(post.port))
        self.assertEqual([line.partition(":")[0] for line in log], ["warn", "warn", "info"])
        self.assertEqual(post.asked, 3)
        await post.letter()
        post.refusals = ["450 Later"] * 5
        log = await self.sent(self.mailer(post.port))
        self.assertEqual(post.asked, 6)
        self.assertIn("tried too often", log[-1])

    async def test_a_mail_server_that_was_down_gets_the_letter_when_it_is_back(self) -> None:
        self.patch(homeserver.mail.mailer, "RETRY_AFTER", (0.01,) * 1000)
        post = MailServer(self)
        mailer = self.mailer(post.port)
        deliver, failed = mailer._carrier.deliver, Deferred[None]()

        async def notice(*args: Any) -> None:
            try:
                await deliver(*args)
            except NotSent as problem:
                self.assertIn("cannot be reached", str(problem))
                if not failed.called:
                    failed.callback(None)
                raise

        self.patch(mailer._carrier, "deliver", notice)
        mailer.send(LETTER)
        await failed
        await post.start()
        await post.letter()

    async def test_a_mail_server_that_says_nothing_keeps_nobody(self) -> None:
        self.patch(homeserver.mail.mailer, "RETRY_AFTER", ())
        self.patch(homeserver.mail.smtp, "ANSWER_SECONDS", 0.05)
        gone: Deferred[None] = Deferred()

        class Silent(Protocol):
            def connectionLost(self, reason: Any = None) -> None:
                gone.callback(None)

        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Silent))
        self.addCleanup(port.stopListening)
        log = await self.sent(self.mailer(port.getHost().port))
        self.assertIn("Timeout waiting for SMTP server response", log[0])
        await gone

    async def test_one_that_talks_without_end_keeps_nobody_either(self) -> None:
        self.patch(homeserver.mail.mailer, "RETRY_AFTER", ())
        self.patch(homeserver.mail.smtp, "WHOLE_SECONDS", 0.1)
        gone: Deferred[None] = Deferred()

        class Talking(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(b"220-still\r\n")  # type: ignore[union-attr]

            def connectionLost(self, reason: Any = None) -> None:
                gone.callback(None)

        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Talking))
        self.addCleanup(port.stopListening)
        log = await self.sent(self.mailer(port.getHost().port))
        self.assertIn("took too long", log[0])
        await gone

    async def test_the_queue_is_bounded_and_stopping_ends_it(self) -> None:
        post = MailServer(self)
        mailer = self.mailer(post.port)
        with capturedLogs() as events:
            for _ in range(MAX_WAITING):
                mailer.check_room()
                mailer.send(LETTER)
            with self.assertRaises(Unavailable):
                mailer.check_room()
            mailer.stop()
        self.assertEqual(len(mailer), 0)
        self.assertEqual(len([e for e in events if "stops" in str(formatEvent(e))]), MAX_WAITING)


class LettersTest(TestCase):
    def test_every_letter_says_which_server_and_what_to_do(self) -> None:
        letters = Letters("elm.example")
        for purpose in Purpose:
            asking = letters.ask(purpose, "ann@home.example", "https://elm.example/{x}")
            self.assertIn("https://elm.example/{x}\n", asking.text)
            explaining = letters.explain(purpose, "ann@home.example")
            self.assertNotIn("http", explaining.text)
            for letter in (asking, explaining):
                self.assertIn("elm.example", letter.subject + letter.text)
                self.assertIn("If it was not you", letter.text)


class AddressesTest(TestCase):
    """Appendices, "E-Mail"."""

    def test_spellings_of_one_address_are_one(self) -> None:
        for spelt, address in (
            ("bob@Example.com", "bob@example.com"),
            ("Strauß@Example.com", "strauss@example.com"),
            ("BOB+garden@example.COM", "bob+garden@example.com"),
            ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
            ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
            ("bob@straße.example", "bob@xn--strae-oqa.example"),
            # U+212A KELVIN SIGN: whoever sends it means, and gets letters at, the plain letter.
            ("mi\u212ae@example.com", "mike@example.com"),
        ):
            self.assertEqual(canonical(spelt), address)

    def test_what_is_no_address_is_refused(self) -> None:
        for text in (
            "",
            "bob",
            "@example.com",
            "bob@",
            "bob@localhost",
            "bob@example..com",
            "bob@[127.0.0.1]",
            "bob@127.0.0.1",
            "bob@-example-.com",
            "bob@exa_mple.com",
            "Bob <bob@example.com>",
            "mailto:bob@example.com",
            '"bob"@example.com',
            "bob@example.com,eve@example.com",
            "bob@example.com\r\nBcc: eve@example.com",
            "bob\n@example.com",
            "bob@example.com\n",
            "bob @example.com",
            ".bob@example.com",
            "bo..b@example.com",
            "bob@exa\u0000mple.com",
            "böb@example.com",
            "x" * 65 + "@example.com",
            "x@" + "y" * 64 + ".com",
            "x@" + "y." * 130 + "com",
            None,
            5,
        ):
            with self.assertRaises(InvalidParam, msg=repr(text)):
                canonical(text)

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_what_passes_is_plain_and_its_own_canonical_form(self, name: str, host: str) -> None:
        try:
            address = canonical(f"{name}@{host}.example")
        except InvalidParam:
            return
        self.assertEqual(canonical(address), address)
        self.assertRegex(address, r"\A[!-~]+\Z")
        self.assertEqual(address.count("@"), 1)
