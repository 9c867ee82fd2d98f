"""Proving that an e-mail address is one's own: a letter, a link in it, and a click there.

Client-server API, "Adding Account Administrative Contact Information" and "Email-based". Nobody
learns from an answer whether an address has an account: a letter is sent in each case, and only
what stands in it differs.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from homeserver.clock import Clock, TokenSource
from homeserver.limits import Limits
from homeserver.mail.letters import Letters, Purpose
from homeserver.mail.mailer import Mailer
from schema.email_address import canonical
from schema.errors import InvalidParam, MissingParam, NotFound, ThreepidAuthFailed, Unauthorized
from storage.email_validations import (
    Validation,
    count_wrong_token,
    find_attempt,
    find_validation,
    put_validation,
    remove_expired,
    remove_guessed,
    set_validated,
    take_validated,
)
from storage.store import Store
from storage.third_party_ids import owner_of
from storage.transaction import WriteTransaction

CONFIRM_PATH = "/_hearth/client/v1/email/confirm"
LIFETIME_MS = 60 * 60 * 1000
"""Of a link, and then of what it proved."""
MAX_WRONG_TOKENS = 10
LONGEST_LINK = 2000

_client_secret = re.compile(r"[0-9a-zA-Z.=_-]{1,255}").fullmatch
_web_page = re.compile(
    r"https?://(?:[0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][^\x00-\x20\"'<>\\\x7f]*)?"
).fullmatch


@frozen
class Pending:
    """What somebody who has opened a link is asked to confirm."""

    purpose: Purpose
    address: str
    next_link: str | None
    """Where they go afterwards."""


@frozen
class Proved:
    """An address that has been proved, and when."""

    address: str
    validated_at: int


class EmailValidations:
    """Sends letters with links, and knows who has confirmed theirs."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random_token: TokenSource,
        limits: Limits,
        mailer: Mailer,
        letters: Letters,
        public_url: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random_token = random_token
        self._limits = limits
        self._mailer = mailer
        self._letters = letters
        self._confirm_url = public_url.rstrip("/") + CONFIRM_PATH

    async def request(
        self,
        purpose: Purpose,
        email: str,
        client_secret: str,
        send_attempt: int,
        next_link: str | None,
    ) -> str:
        """Send a letter, unless the client's attempt is not a new one. The id of the session.

        Raises:
            InvalidParam: the address, the secret or the link is not what it must be.
            LimitExceeded: the address gets too many letters.
            Unavailable: too many letters wait to be sent.
        """
        address, now = canonical(email), self._clock()
        if not _client_secret(client_secret):
            raise InvalidParam(
                "`client_secret` must be 1 to 255 of the characters 0-9 A-Z a-z . = _ -"
            )
        _check_link(next_link)
        secret, name = _hash(client_secret), purpose.value
        known = await self._store.read(lambda txn: find_attempt(txn, name, address, secret, now))
        if known is not None and known.send_attempt >= send_attempt:
            return known.sid
        self._limits.spend("email_recipient", address)
        self._mailer.check_room()
        sid, token = self._random_token(), self._random_token()
        end = now + LIFETIME_MS
        new = Validation(
            sid, name, address, secret, send_attempt, _hash(token), next_link or None, end, None
        )

        def work(txn: WriteTransaction) -> tuple[str | None, bool]:
            remove_expired(txn, now)
            return put_validation(txn, new), owner_of(txn, address) is not None

        found, is_owned = await self._store.write(work)
        if found is None:  # the same request was answered meanwhile
            return await self.request(purpose, email, client_secret, send_attempt, next_link)
        if is_owned == (purpose is Purpose.PASSWORD):
            link = f"{self._confirm_url}?{urlencode({'sid': found, 'token': token})}"
            self._mailer.send(self._letters.ask(purpose, address, link))
        else:
            self._mailer.send(self._letters.explain(purpose, address))
        return found

    async def open(self, sid: str, token: str) -> Pending:
        """What a link is about. To open it proves nothing: programs that look at letters do, too.

        Raises:
            NotFound: the link is not good, or not any more.
        """
        return _pending(await self._get(sid, token))

    async def confirm(self, sid: str, token: str) -> Pending:
        """Whoever reads the letter says that it was they who asked.

        Raises:
            NotFound: the link is not good, or not any more.
        """
        found, now = await self._get(sid, token), self._clock()
        await self._store.write(lambda txn: set_validated(txn, sid, now, now + LIFETIME_MS))
        return _pending(found)

    async def stage(self, user_id: str | None, auth: Mapping[str, Any]) -> str:
        """The stage ``m.login.email.identity``; gives the id of the session.

        Raises:
            MissingParam: there are no credentials.
            Unauthorized: nobody has confirmed yet that the address is theirs.
        """
        credentials = auth.get("threepid_creds")
        if not isinstance(credentials, dict):
            raise MissingParam("The proof is missing: `auth.threepid_creds`")
        sid, client_secret = credentials.get("sid"), credentials.get("client_secret")
        if not isinstance(sid, str) or not isinstance(client_secret, str):
            raise MissingParam("`auth.threepid_creds` needs `sid` and `client_secret`")
        await self.check(sid, client_secret)
        return sid

    async def check(self, sid: str, client_secret: str) -> None:
        """Refuse unless the client's session is confirmed.

        Raises:
            Unauthorized: nobody has confirmed it yet, or there is no such session.
        """
        if not _client_secret(sid):  # session ids have the same grammar
            raise Unauthorized("There is no such session")
        found = await self._store.read(lambda txn: find_validation(txn, sid, self._clock()))
        secret = "" if found is None else found.client_secret
        is_theirs = compare_digest(secret, _hash(client_secret))
        if found is None or not is_theirs or found.validated_at is None:
            raise Unauthorized("Open the link in the e-mail and confirm it there first")

    def use(self, txn: WriteTransaction, sid: str, purpose: Purpose) -> Proved:
        """What a session that passed ``check`` has proved; it is used up.

        Raises:
            ThreepidAuthFailed: it has been used or has expired meanwhile, or proved something for
                another purpose.
        """
        taken = take_validated(txn, sid, purpose.value, self._clock())
        if taken is None:
            raise ThreepidAuthFailed(
                "This e-mail address has not been validated, or too long ago; ask for a new e-mail"
            )
        return Proved(*taken)

    async def _get(self, sid: str, token: str) -> Validation:
        def work(txn: WriteTransaction) -> Validation | None:
            found = find_validation(txn, sid, self._clock())
            if found is None or compare_digest(found.token, _hash(token)):
                return found
            count_wrong_token(txn, sid)
            remove_guessed(txn, sid, MAX_WRONG_TOKENS)
            return None

        found = await self._store.write(work)
        if found is None:
            raise NotFound(
                "This link is not good any more; if you asked twice, use the last e-mail"
            )
        return found


def _pending(validation: Validation) -> Pending:
    return Pending(Purpose(validation.purpose), validation.address, validation.next_link)


def _check_link(link: str | None) -> None:
    """A client may say where people go once they have confirmed, but only to a web page."""
    if not link:
        return
    if not _web_page(link) or not link.isascii() or len(link) > LONGEST_LINK:
        raise InvalidParam("`next_link` must be the address of a web page")


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
