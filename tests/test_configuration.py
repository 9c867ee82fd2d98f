"""Mistakes in the configuration: each stops the start with one sentence that says where."""

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from twisted.internet.threads import deferToThread

from homeserver.config import default_text, load
from homeserver.settings import ConfigError
from tests.processes import ServerProcess
from tests.support import WireTest

ENDS_WITHIN = 20

TERMS = "registration: {{terms: [{{id: {}, version: {}, language: {}, name: x, url: '{}'}}]}}"
MISTAKES = [
    ("server_nam: x", 1, "server_nam"),
    ("server_name: 5", 1, "server_name"),
    ("server_name:", 1, "server_name"),
    ("server_name: a b", 1, "server_name"),
    ("server_name: a:b:c", 1, "server_name"),
    ("server_name: '@a:b'", 1, "server_name"),
    ("server_name: " + "x" * 300, 1, "server_name"),
    ("\npublic_url: ftp://x/", 2, "public_url"),
    ("public_url: 'https://'", 1, "public_url"),
    ("listen: 127.0.0.1:8008", 1, "listen"),
    ("listen: []", 1, "listen"),
    ("listen: [nonsense]", 1, "listen"),
    ("listen: ['127.0.0.1:x']", 1, "listen"),
    ("listen: ['127.0.0.1:70000']", 1, "listen"),
    ("listen: ['unix:relative']", 1, "listen"),
    ("data_dir: [x]", 1, "data_dir"),
    ("database: mysql://x", 1, "database"),
    ("database: 'sqlite:'", 1, "database"),
    ("database: 'postgresql://a:secret@[broken'", 1, "database"),
    ("redis: nonsense", 1, "redis"),
    ("# a comment\nregistration: open", 2, "registration"),
    ("registration: {mode: sometimes}", 1, "registration.mode"),
    ("registration:\n  mode: open\n  mode: open", 3, "registration.mode"),
    ("registration:\n  shared_secret: short", 2, "registration.shared_secret"),
    ("rate_limits: {enabled: maybe}", 1, "rate_limits.enabled"),
    ("rate_limits: {login: 5}", 1, "rate_limits.login"),
    ("rate_limits: {login: [1]}", 1, "rate_limits.login"),
    ("rate_limits: {login: [0, 5]}", 1, "rate_limits.login"),
    ("rate_limits: {login: [-1, 5]}", 1, "rate_limits.login"),
    ("rate_limits: {login: [.nan, 5]}", 1, "rate_limits.login"),
    ("rate_limits: {login: [.inf, 5]}", 1, "rate_limits.login"),
    ("rate_limits: {login: [a, b]}", 1, "rate_limits.login"),
    ("rooms:\n  default_version: 11", 2, "rooms.default_version"),
    ("rooms:\n  default_version: '99'", 2, "rooms.default_version"),
    ("rooms:\n  encrypt: [direct, secret]", 2, "rooms.encrypt"),
    ("rooms:\n  require_encryption: [all]", 2, "rooms.require_encryption"),
    ("media: {max_upload_bytes: 1.5}", 1, "media.max_upload_bytes"),
    ("media: {max_upload_bytes: -1}", 1, "media.max_upload_bytes"),
    ("media: {max_image_pixels: 0}", 1, "media.max_image_pixels"),
    ("registration: {email: required}", 1, "registration.email"),
    ("registration: {terms: x}", 1, "registration.terms"),
    ("registration: {terms: [x]}", 1, "registration.terms[0]"),
    ("registration: {terms: [null]}", 1, "registration.terms[0].id"),
    ("registration:\n  terms:\n    - {id: a}", 3, "registration.terms[0].version"),
    (TERMS.format("a", 1, "en", "x"), 1, "registration.terms[0].version"),
    (TERMS.format("a b", "'1'", "en", "x"), 1, "registration.terms[0].id"),
    (TERMS.format("a", "''", "en", "x"), 1, "registration.terms[0].version"),
    (TERMS.format("a", "'1'", "english", "x"), 1, "registration.terms[0].language"),
    (TERMS.format("a", "'1'", "en", "javascript:x"), 1, "registration.terms[0].url"),
    ("email: {host: 'mail.example:25', sender: a@b.example}", 1, "email.host"),
    ("email: {host: mail.example, sender: a@b.example, port: 0}", 1, "email.port"),
    ("email: {host: mail.example, sender: a@b.example, security: some}", 1, "email.security"),
    ("email:\n  host: mail.example", 1, "email.sender"),
    ("email:\n  host: mail.example\n  sender: nobody", 3, "email.sender"),
    ("email: {host: mail.example, sender: 'a@b.example, c@d.example'}", 1, "email.sender"),
    ('email: {host: mail.example, sender: "a@b.example\\nBcc: c@d.example"}', 1, "email.sender"),
    ("email: {host: mail.example, sender: a@b.example, user: me}", 1, "email.user"),
    ("email: {host: mail.example, sender: a@b.example, password: secret}", 1, "email.user"),
    (
        "email: {host: mail.example, sender: a@b.example, user: me, password: x, password_file: y}",
        1,
        "email.password_file",
    ),
    (
        "email: {host: mail.example, sender: a@b.example, user: me, password_file: not-there}",
        1,
        "email.password_file",
    ),
    (
        "email: {host: mail.example, sender: a@b.example, certificates: not-there}",
        1,
        "email.certificates",
    ),
    (
        "email: {host: mail.example, sender: a@b.example, user: me, password: x, security: none}",
        1,
        "email.security",
    ),
    ("media: {person_quota_bytes: -1}", 1, "media.person_quota_bytes"),
    ("media: {family_quota_bytes: -1}", 1, "media.family_quota_bytes"),
    ("media: {server_quota_bytes: .5}", 1, "media.server_quota_bytes"),
    ("previews: {seconds: 0}", 1, "previews.seconds"),
    ("previews: {seconds: .nan}", 1, "previews.seconds"),
    ("previews: {max_bytes: 0}", 1, "previews.max_bytes"),
    ("previews: {allow: ['https://example.org/']}", 1, "previews.allow"),
    ("previews: {deny: ['*']}", 1, "previews.deny"),
    ("turn: {uris: ['stun:turn.example'], secret_variable: X}", 1, "turn.uris"),
    ("turn: {uris: ['turn:turn.example:3478?transport=sctp']}", 1, "turn.uris"),
    ("turn: {uris: ['turn:turn.example']}", 1, "turn.uris"),
    (
        "turn: {uris: ['turn:a.example'], secret_variable: X, secret_file: hearth.yaml}",
        1,
        "turn.uris",
    ),
    ("turn: {secret_file: not-there}", 1, "turn.secret_file"),
    ("turn: {lifetime_seconds: 59}", 1, "turn.lifetime_seconds"),
    ("metrics: {listen: nonsense}", 1, "metrics.listen"),
    ("metrics: {token: 5}", 1, "metrics.token"),
    ("allow_private_addresses: ['10.0.0.0/99']", 1, "allow_private_addresses"),
    ("application_services: x", 1, "application_services"),
    ("server_name: x\nserver_name: y", 2, "server_name"),
    ("? [a]\n: b", 1, "a setting"),
    ("a: b: c", 1, "mapping"),
    ("rooms:\n  - x", 2, "rooms"),
    ("[]", 1, "settings"),
    ("{", 1, ""),
    ("x: !!python/object:os.system {}", 1, "x"),
    ("server_name: \x01", 1, ""),
]


class FileTest(TestCase):
    """What is wrong with the file itself."""

    def setUp(self) -> None:
        folder = self.enterContext(TemporaryDirectory())
        self.file = Path(folder) / "hearth.yaml"

    def test_each_mistake_is_one_sentence_with_its_line_and_key(self) -> None:
        for text, line, key in MISTAKES:
            self.file.write_text(text)
            with self.subTest(text), self.assertRaises(ConfigError) as caught:
                load(self.file)
            sentence = str(caught.exception)
            self.assertTrue(sentence.startswith(f"{self.file}, line {line}: "), sentence)
            self.assertIn(key, sentence)
            self.assertNotIn("\n", sentence)
            self.assertNotIn("secret@", sentence)

    def test_a_file_that_cannot_be_read(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            load(self.file)
        self.assertIn(str(self.file), str(caught.exception))
        self.file.write_bytes(b"server_name: \xff")
        with self.assertRaises(ConfigError) as caught:
            load(self.file)
        self.assertIn("UTF-8", str(caught.exception))

    def test_what_is_right(self) -> None:
        for text in (
            "",
            "# nothing",
            "rooms:",
            "server_name: example.org:8448",
            "server_name: '[2001:db8::1]:8448'",
            "listen: ['unix:/run/hearth.sock', '[::1]:8008', '0.0.0.0:0', 'localhost:80']",
            "database: postgresql:///name?host=/run/postgresql",
            "database: sqlite:other.db",
            "redis: redis://localhost:6379/0",
            "allow_private_addresses: [192.168.1.0/24, 10.0.0.1, push.home]",
            "metrics: {listen: null}",
            "email: {host: mail.example, port: 465, security: tls, sender: Elm <a@b.example>}",
            "email: {host: 10.0.0.1, sender: a@b.example, user: a, password_file: hearth.yaml}",
            "turn: {uris: ['turns:[::1]:5349?transport=tcp', turn:a.b], secret_variable: X}",
            "registration: {email: required}\nemail: {host: mail.example, sender: a@b.example}",
        ):
            self.file.write_text(text)
            with self.subTest(text):
                load(self.file)

    def test_the_first_start_writes_a_file_that_means_the_defaults(self) -> None:
        self.file.write_text("")
        defaults = load(self.file)
        self.file.write_text(default_text(data_dir="data"))
        self.assertEqual(load(self.file), defaults)
        for line in self.file.read_text().splitlines():
            if line and not line.lstrip().startswith("#"):
                self.assertIn(":", line)


class StartTest(WireTest):
    """What only shows when the server starts: it ends with a sentence, at once, and not with 0."""

    async def _ends(self, settings: dict[str, object], **data: bytes) -> str:
        hearth = ServerProcess(self, settings)
        self.addCleanup(hearth.kill)
        for name, content in data.items():
            (hearth.data / name.replace("_", ".")).write_bytes(content)
        return await self._end_of(hearth)

    async def _end_of(self, hearth: ServerProcess) -> str:
        hearth.launch()
        process = hearth.process
        assert process is not None
        code = await deferToThread(process.wait, ENDS_WITHIN)
        self.assertNotIn(code, (0, None))
        self.assertNotIn("Traceback", hearth.log)
        return hearth.log

    async def test_a_wrong_setting(self) -> None:
        log = await self._ends({"server_nam": "x"})
        self.assertRegex(log, r"^\S+hearth\.yaml, line \d+: server_nam is not a setting")
        self.assertEqual(log.count("\n"), 1)

    async def test_a_registration_that_is_not_there_or_wrong(self) -> None:
        log = await self._ends({"application_services": ["nowhere.yaml"]})
        self.assertRegex(log, r"^The registration \S+nowhere\.yaml cannot be read: No such file")
        self.assertEqual(log.count("\n"), 1)
        log = await self._ends({"application_services": ["irc.yaml"]}, irc_yaml=b"id: irc")
        self.assertRegex(log, r"^\S+irc\.yaml: url is missing\n$")

    async def test_a_database_that_is_not_there_without_its_password(self) -> None:
        url = "postgresql://hearth:very-secret@127.0.0.1:1/hearth"
        for database in (url, f"{url}?nonsense=1", "sqlite:no/such/folder/hearth.db"):
            log = await self._ends({"database": database})
            self.assertIn("cannot be used", log)
            self.assertNotIn("very-secret", log)

    async def test_a_port_that_is_taken(self) -> None:
        first = await ServerProcess(self, {}).start()
        self.addCleanup(first.kill)
        address = first.base.removeprefix("http://")
        log = await self._ends({"listen": [address]})
        self.assertIn(f"cannot listen on {address}", log)
        await first.stop()

    async def test_a_signing_key_that_is_none(self) -> None:
        log = await self._ends({}, signing_key=b"nonsense")
        self.assertIn("signing", log)

    async def test_a_database_of_a_newer_version(self) -> None:
        hearth = await ServerProcess(self, {"database": "sqlite:hearth.db"}).start()
        self.addCleanup(hearth.kill)
        await hearth.stop()
        with closing(sqlite3.connect(hearth.data / "hearth.db")) as connection:
            connection.execute("INSERT INTO schema_version VALUES (9999, 'from the future')")
            connection.commit()
        before = hearth.log
        log = (await self._end_of(hearth)).removeprefix(before)
        self.assertIn("newer version", log)
