"""What people do with an e-mail address that they prove: sign up, add it, get a new password.

A proof is good for one thing, once: it is used up together with what it was for, or before.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.accounts import Accounts
from homeserver.email_validations import EmailValidations
from homeserver.mail.letters import Purpose
from homeserver.third_party_ids import ThirdPartyIds
from homeserver.uia import EMAIL, Uia
from schema.errors import ThreepidAuthFailed, Unauthorized
from storage.store import Store
from storage.third_party_ids import owner_of
from storage.transaction import WriteTransaction


@frozen
class EmailProofs:
    """Puts proved addresses to use."""

    store: Store
    validations: EmailValidations
    third_party_ids: ThirdPartyIds
    accounts: Accounts
    uia: Uia

    async def check(self, sid: str, client_secret: str) -> None:
        """Refuse what ``add`` would refuse, before the person is asked for their password.

        Raises:
            ThreepidAuthFailed: nobody has confirmed yet that the address is theirs.
        """
        try:
            await self.validations.check(sid, client_secret)
        except Unauthorized as refusal:
            raise ThreepidAuthFailed(refusal.error) from None

    async def add(self, user_id: str, sid: str) -> None:
        """Give the address of a session that passed ``check`` to somebody.

        Raises:
            ThreepidAuthFailed: the session has been used up, or was for something else.
            ThreepidInUse, ThreepidDenied: the address cannot become theirs.
        """
        await self.store.write(lambda txn: self._add(txn, user_id, sid, Purpose.ADD))

    def sign_up(self, txn: WriteTransaction, user_id: str, sid: str) -> None:
        """Inside the transaction that creates an account: the address comes with it.

        Raises:
            ThreepidAuthFailed, ThreepidInUse: as for ``add``.
        """
        self._add(txn, user_id, sid, Purpose.REGISTER)

    async def reset_password(
        self, new_password: str, request_key: str, auth: Mapping[str, Any] | None, *, keep_all: bool
    ) -> None:
        """Set the password of whoever proves the address of an account ("Password management").

        All of the account's devices are logged out, or none.

        Raises:
            InteractiveAuth: the address has to be proved.
            Forbidden: the authentication belongs to another request.
            ThreepidAuthFailed: the proof is used up, was for something else, or the address
                belongs to nobody any more.
            WeakPassword, InvalidParam: nobody should begin to use this password.
        """
        proof = await self.uia.complete(None, request_key, auth, [[EMAIL]])
        sid: str = proof[EMAIL]
        user_id = await self.store.write(lambda txn: self._whose(txn, sid))

        await self.accounts.change_password(
            user_id, new_password, keep_device=None, keep_all=keep_all
        )

    def _whose(self, txn: WriteTransaction, sid: str) -> str:
        proved = self.validations.use(txn, sid, Purpose.PASSWORD)
        owner = owner_of(txn, proved.address)
        if owner is None:
            raise ThreepidAuthFailed("No account here has this e-mail address any more")
        return owner

    def _add(self, txn: WriteTransaction, user_id: str, sid: str, purpose: Purpose) -> None:
        self.third_party_ids.add(txn, user_id, self.validations.use(txn, sid, purpose))
