"""The e-mail addresses of accounts: for logging in, and for a new password.

Client-server API, "Adding Account Administrative Contact Information".
"""

from attrs import frozen

from homeserver.clock import Clock
from homeserver.email_validations import Proved
from schema.email_address import canonical
from schema.errors import InvalidParam, ThreepidDenied, ThreepidInUse
from storage.email_validations import remove_of_address
from storage.store import Store
from storage.third_party_ids import (
    EmailAddress,
    add_address,
    addresses_of,
    owner_of,
    remove_address,
    remove_addresses_of,
)
from storage.transaction import WriteTransaction

MAX_ADDRESSES = 10


@frozen
class ThirdPartyIds:
    """Says whose an address is, and keeps it to one account."""

    store: Store
    clock: Clock

    async def all(self, user_id: str) -> list[EmailAddress]:
        """Somebody's addresses, oldest first."""
        return await self.store.read(lambda txn: addresses_of(txn, user_id))

    async def owner(self, address: str) -> str | None:
        """Whose the address is, however it is spelt; None also when it is none."""
        try:
            spelt = canonical(address)
        except InvalidParam:
            return None
        return await self.store.read(lambda txn: owner_of(txn, spelt))

    async def remove(self, user_id: str, address: str) -> None:
        """Take one of their addresses from somebody. One that they do not have is gone already."""
        try:
            spelt = canonical(address)
        except InvalidParam:
            return
        await self.store.write(lambda txn: remove_address(txn, spelt, user_id))

    def add(self, txn: WriteTransaction, user_id: str, proved: Proved) -> None:
        """Inside a transaction: ``user_id`` has proved an address to be theirs.

        Raises:
            ThreepidInUse: somebody else has it.
            ThreepidDenied: they have too many.
        """
        # What others, or the same person earlier, wanted with the address is over.
        remove_of_address(txn, proved.address)
        owned = addresses_of(txn, user_id)
        if proved.address in [each.address for each in owned]:
            return
        if len(owned) >= MAX_ADDRESSES:
            raise ThreepidDenied(f"An account has at most {MAX_ADDRESSES} e-mail addresses")
        if not add_address(txn, proved.address, user_id, proved.validated_at, self.clock()):
            raise ThreepidInUse("This e-mail address belongs to another account")

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: the account ends, so its addresses are free."""
        remove_addresses_of(txn, user_id)
