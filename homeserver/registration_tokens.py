"""Registration tokens: how a neighbourhood decides who may sign up.

Client-server API, "Token-authenticated registration". Only hashes are stored, so a token can be
read once: when it is made.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from homeserver.clock import Clock, TokenSource
from schema.errors import Conflict, Forbidden, InvalidParam, MissingParam
from storage.accounts import has_administrator
from storage.registration_tokens import (
    add_registration_token,
    is_usable,
    remove_first_token,
    use_registration_token,
)
from storage.store import Store
from storage.transaction import WriteTransaction

_opaque = re.compile(r"[0-9A-Za-z._~-]{1,64}").fullmatch


class RegistrationTokens:
    """Makes tokens, says whether one is good, and counts its uses."""

    def __init__(self, store: Store, clock: Clock, random_token: TokenSource) -> None:
        self._store = store
        self._clock = clock
        self._random_token = random_token

    async def create(
        self,
        *,
        token: str | None = None,
        uses_allowed: int | None = None,
        expires_at: int | None = None,
        grants_admin: bool = False,
    ) -> str:
        """Make a token, or take the one given; the clear text is not kept.

        None for ``uses_allowed`` means any number, for ``expires_at`` never.

        Raises:
            InvalidParam: the specification does not allow such a token.
            Conflict: it exists already.
        """
        clear = self._random_token() if token is None else token
        if not _opaque(clear):
            raise InvalidParam(
                "A registration token is 1 to 64 of the characters 0-9 A-Z a-z . _ ~ -"
            )

        def work(txn: WriteTransaction) -> bool:
            return add_registration_token(
                txn,
                _hash(clear),
                self._clock(),
                uses_allowed=uses_allowed,
                expires_at=expires_at,
                grants_admin=grants_admin,
            )

        if not await self._store.write(work):
            raise Conflict("There is such a registration token already")
        return clear

    async def create_first(self) -> str | None:
        """A token for the first administrator, good once; None when there is one already.

        Until it has been used, each call makes a new one and takes back the one before.
        """
        clear = self._random_token()

        def work(txn: WriteTransaction) -> bool:
            remove_first_token(txn)
            return not has_administrator(txn) and add_registration_token(
                txn, _hash(clear), self._clock(), uses_allowed=1, grants_admin=True, is_first=True
            )

        return clear if await self._store.write(work) else None

    async def is_valid(self, token: str) -> bool:
        """Whether somebody could sign up with the token now."""
        token_hash = _hash(token)
        return await self._store.read(lambda txn: is_usable(txn, token_hash, self._clock()))

    async def stage(self, user_id: str | None, auth: Mapping[str, Any]) -> str:
        """The stage ``m.login.registration_token``; gives what ``use`` takes.

        Raises:
            MissingParam: there is no token.
            Forbidden: it is not good.
        """
        token = auth.get("token")
        if not isinstance(token, str):
            raise MissingParam("The registration token is missing: `auth.token`")
        if not await self.is_valid(token):
            raise _not_good()
        return _hash(token)

    def use(self, txn: WriteTransaction, token_hash: str) -> bool:
        """Count one use, in the transaction that creates the account.

        Returns whether the account becomes an administrator.

        Raises:
            Forbidden: others have used it up meanwhile, or it has expired.
        """
        grants_admin = use_registration_token(txn, token_hash, self._clock())
        if grants_admin is None:
            raise _not_good()
        return grants_admin


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _not_good() -> Forbidden:
    return Forbidden(
        "This registration token is wrong, expired or used up; ask your organizer for another"
    )
