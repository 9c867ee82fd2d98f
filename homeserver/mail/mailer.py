"""The queue of letters: who asks for one goes on at once, and need not know how it went.

Letters live in memory: they are good for an hour at most, and who misses one asks for another. So
a restart forgets them.
"""

from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, make_msgid
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.task import deferLater
from twisted.logger import Logger

from homeserver.clock import Clock, as_datetime
from schema.errors import Overloaded

AT_ONCE = 2
MAX_WAITING = 200
RETRY_AFTER = (5, 30, 120, 600)
"""Seconds. After the last attempt the letter is dropped."""
_POLICY = EmailPolicy(linesep="\n", utf8=False, cte_type="7bit")


class NotSent(Exception):
    """The letter has not been handed over; perhaps later. The sentence holds no secret."""


class NeverSent(NotSent):
    """The mail server does not want it, and will not."""


@frozen
class Letter:
    """What somebody is written. The address is canonical."""

    to: str
    subject: str
    text: str


class Carrier(Protocol):
    """Who hands letters over: ``homeserver.mail.smtp``."""

    async def deliver(self, sender: str, recipient: str, message: bytes) -> None:
        """Return once the letter has been taken; NotSent or NeverSent if it is not."""


class Mailer:
    """Sends letters in the background, a few at a time, and again when that failed for now."""

    _log = Logger()

    def __init__(self, reactor: Any, clock: Clock, carrier: Carrier, sender: str) -> None:
        """``sender`` is an address, perhaps with a name: ``Elm Street <hearth@example.org>``."""
        self._reactor = reactor
        self._clock = clock
        self._carrier = carrier
        self._sender = sender
        self._turn = DeferredSemaphore(AT_ONCE)
        self._under_way: set[Deferred[None]] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._under_way)

    def check_room(self) -> None:
        """Refuse when too many letters wait already.

        Raises:
            Overloaded: they do.
        """
        if len(self) >= MAX_WAITING:
            raise Overloaded(
                "Too many e-mails wait to be sent; try again in a few minutes",
                retry_after_ms=120_000,
            )

    def send(self, letter: Letter) -> None:
        """Send the letter as soon as may be. What becomes of it stands in the log."""
        message = self._written(letter)
        running = Deferred.fromCoroutine(self._deliver(letter.to, message))
        self._under_way.add(running)
        running.addErrback(lambda failure: self._log.failure("Sending e-mail failed", failure))
        running.addBoth(lambda _: self._under_way.discard(running))

    def stop(self) -> None:
        """Give up what is under way."""
        self._stopped = True
        for running in list(self._under_way):
            running.cancel()

    def _written(self, letter: Letter) -> EmailMessage:
        message = EmailMessage(_POLICY)
        message["From"] = self._sender
        message["To"] = letter.to
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(as_datetime(self._clock()))
        message["Message-ID"] = make_msgid(domain=self._address(message).domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text, cte="quoted-printable")
        return message

    @staticmethod
    def _address(message: EmailMessage) -> Any:
        return message["From"].addresses[0]

    async def _deliver(self, recipient: str, message: EmailMessage) -> None:
        sender = self._address(message).addr_spec
        try:
            for wait in (*RETRY_AFTER, None):
                if await self._attempt(sender, recipient, bytes(message)):
                    return
                if self._stopped:
                    break
                if wait is not None:
                    await deferLater(self._reactor, wait)
        except CancelledError:
            pass
        why = "the server stops" if self._stopped else "tried too often"
        self._log.error("Dropped an e-mail to {to}: {why}", to=recipient, why=why)

    async def _attempt(self, sender: str, recipient: str, message: bytes) -> bool:
        """Whether the letter is done with: taken, or refused for ever."""
        await self._turn.acquire()
        try:
            await self._carrier.deliver(sender, recipient, message)
            self._log.info("Sent an e-mail to {to}", to=recipient)
        except NeverSent as refusal:
            self._log.error("Dropped an e-mail to {to}: {why}", to=recipient, why=refusal)
        except NotSent as problem:
            self._log.warn("Could not send an e-mail to {to}: {why}", to=recipient, why=problem)
            return False
        finally:
            self._turn.release()
        return True
