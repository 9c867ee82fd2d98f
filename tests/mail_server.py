"""A mail server for tests: a real one, on the loopback interface, that can be told to misbehave."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from logging import getLogger
from pathlib import Path
from re import search
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import DeferredQueue
from twisted.internet.threads import deferToThread

from tests.processes import free_port
from tests.support import WireTest

USER, PASSWORD = "hearth", "the mail server's password"


class MailServer:
    """Takes letters, and hands them to the test in the order in which they come."""

    def __init__(self, case: WireTest, **smtp: Any) -> None:
        """``smtp`` are the settings of aiosmtpd."""
        self.port = free_port()
        self.refusals: list[str] = []
        """What it answers, one by one, instead of taking a recipient."""
        self.rejections: list[str] = []
        """The same, but once it has read the letter."""
        self.asked = 0
        """How many recipients it was asked to take."""
        self.users: list[str] = []
        self._letters: DeferredQueue[EmailMessage] = DeferredQueue()
        self._smtp = smtp
        self._running: Controller | None = None
        getLogger("mail.log").disabled = True  # what goes wrong there is what the test wants
        case.addCleanup(self.stop)

    @property
    def settings(self) -> dict[str, Any]:
        """How the configuration names it."""
        sender = "Elm Street <hearth@elm.example>"
        return {"host": "127.0.0.1", "port": self.port, "security": "none", "sender": sender}

    async def start(self) -> "MailServer":
        """Start it, or start it again at the same place."""
        self._running = Controller(self, "127.0.0.1", self.port, **self._smtp)
        await deferToThread(self._running.start)
        return self

    async def stop(self) -> None:
        """Stop it; nothing happens twice."""
        running, self._running = self._running, None
        if running is not None:
            await deferToThread(running.stop)

    async def letter(self) -> EmailMessage:
        """The next letter, as soon as it is there."""
        return await self._letters.get()

    async def link(self) -> str:
        """The link in the next letter: its path and query."""
        return link_in(await self.letter())

    @property
    def has_letters(self) -> bool:
        """Whether a letter is there that nobody has looked at."""
        return bool(self._letters.pending)

    # From here on: called by aiosmtpd, on its own thread.

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        self.asked += 1
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.rejections:
            return self.rejections.pop(0)
        letter: Any = message_from_bytes(
            envelope.content.replace(b"\r\n", b"\n"), policy=policy.default
        )
        letter["X-Envelope"] = f"{envelope.mail_from} -> {', '.join(envelope.rcpt_tos)}"
        put: Callable[..., Any] = self._letters.put
        default_reactor.callFromThread(put, letter)  # type: ignore[attr-defined]
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        """For ``authenticator``: one user, one password."""
        self.users.append(data.login.decode())
        is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_right, handled=False)  # aiosmtpd itself says so


def link_in(letter: EmailMessage) -> str:
    """The path and query of the link in a letter."""
    found = search(r"^https?://[^/\s]+(/\S+)$", letter.get_content(), 8)
    assert found is not None, letter.get_content()
    return found[1]


def certificate(folder: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1, in ``folder`` as ``ca.pem``, and what serves it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the mail server of a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context
