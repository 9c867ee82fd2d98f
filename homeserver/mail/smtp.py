"""Handing a letter to the one mail server that the configuration names, with Twisted's client.

What goes wrong is told in the mail server's own words, but never with the transcript that Twisted
keeps of a conversation: it holds the password.
"""

from io import BytesIO
from pathlib import Path
from typing import Any, Literal, cast

from attrs import frozen
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.mail.smtp import ESMTPSender, ESMTPSenderFactory, SMTPClientError
from twisted.python.failure import Failure

from homeserver.mail.mailer import NeverSent, NotSent

CONNECT_SECONDS = 10
ANSWER_SECONDS = 20
WHOLE_SECONDS = 60


@frozen
class MailServer:
    """Where letters are handed in."""

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    user: str | None = None
    password: str | None = None
    certificates: Path | None = None
    """Whom to trust instead of the system's authorities: certificates in PEM."""


class Smtp:
    """Hands letters to one mail server, each on a connection of its own."""

    def __init__(self, reactor: Any, server: MailServer, own_name: str) -> None:
        """``own_name`` is the host name that this server gives.

        Raises:
            ValueError: the certificates cannot be read.
        """
        self._reactor = reactor
        self._server = server
        self._own_name = own_name.encode("ascii")
        self._tls = _tls(server)

    async def deliver(self, sender: str, recipient: str, message: bytes) -> None:
        """Return once the mail server has taken the letter. Lines end with a newline alone.

        Raises:
            NotSent: it did not, within about a minute.
            NeverSent: it said that it never will.
        """
        factory = _OneLetter(self._server, self._own_name, self._tls, sender, recipient, message)
        try:
            connecting = cast("Deferred[Any]", self._endpoint().connect(factory))
            await connecting.addTimeout(2 * CONNECT_SECONDS, self._reactor)
            await factory.closed.addTimeout(WHOLE_SECONDS, self._reactor)
        except TimeoutError:
            if factory.outcome is None:
                raise NotSent("the mail server took too long to answer") from None
        except ConnectingCancelledError:
            raise NotSent("the mail server cannot be reached in time") from None
        except (ConnectError, OSError) as error:
            raise NotSent(f"the mail server cannot be reached: {error}") from None
        if isinstance(factory.outcome, NotSent):
            raise factory.outcome

    def _endpoint(self) -> IStreamClientEndpoint:
        server = self._server
        endpoint = HostnameEndpoint(
            self._reactor, server.host.encode("ascii"), server.port, timeout=CONNECT_SECONDS
        )
        return wrapClientTLS(self._tls, endpoint) if server.security == "tls" else endpoint


def _tls(server: MailServer) -> Any:
    if server.security == "none":
        return None
    if server.certificates is None:
        return optionsForClientTLS(server.host)
    found = load_pem_x509_certificates(server.certificates.read_bytes())
    trusted = trustRootFromCertificates([Certificate(X509.from_cryptography(c)) for c in found])
    return optionsForClientTLS(server.host, trustRoot=trusted)


class _Conversation(ESMTPSender):
    debug = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """twisted: the conversation is over, one way or the other."""
        super().connectionLost(reason)
        self.factory.lost(reason)


class _OneLetter(ESMTPSenderFactory):
    """One attempt. ``outcome`` is None until it is known: True, or why not."""

    protocol = _Conversation
    noisy = False

    def __init__(
        self,
        server: MailServer,
        own_name: bytes,
        tls: Any,
        sender: str,
        recipient: str,
        message: bytes,
    ) -> None:
        result: Deferred[Any] = Deferred()
        result.addCallbacks(self._sent, self._failed)
        super().__init__(
            None if server.user is None else server.user.encode(),
            None if server.password is None else server.password.encode(),
            sender,
            recipient,
            BytesIO(message),
            result,
            retries=0,
            timeout=ANSWER_SECONDS,
            contextFactory=tls,
            heloFallback=server.security == "none",
            requireAuthentication=server.user is not None,
            requireTransportSecurity=server.security != "none",
        )
        self.domain = own_name
        self.outcome: bool | NotSent | None = None
        self.closed: Deferred[None] = Deferred(self._abort)
        self._conversation: Any = None

    def buildProtocol(self, addr: Any) -> Any:
        """twisted: there is a connection."""
        self._conversation = super().buildProtocol(addr)
        return self._conversation

    def lost(self, reason: Failure) -> None:
        """The connection is gone. Says why, unless that is known already."""
        self.clientConnectionLost(None, reason)
        if not self.closed.called:
            self.closed.callback(None)

    def _abort(self, closed: "Deferred[None]") -> None:
        self._conversation.transport.abortConnection()

    def _sent(self, result: object) -> None:
        self.outcome = True

    def _failed(self, failure: Failure) -> None:
        error: Any = failure.value
        if not isinstance(error, SMTPClientError):
            self.outcome = NotSent(f"the conversation with the mail server broke off: {error}")
            return
        code, words = error.code, error.resp
        recipients: Any = error.addresses or ()
        for _, its_code, its_words in recipients:
            if its_code >= 400:  # the recipient was refused, and the rest is Twisted's summary
                code, words = its_code, its_words
        said = words.decode("ascii", "replace")[:200]
        if code < 0:
            self.outcome = NotSent(said)
            return
        kind = NeverSent if code >= 500 else NotSent
        self.outcome = kind(f"the mail server said {code} {said!r}")
