"""Locking and suspending accounts, for the organizer (client-server API, "Account moderation")."""

from collections.abc import Callable

from attrs import frozen

from homeserver.devices import announce_account
from homeserver.suspensions import Suspensions
from schema.errors import Forbidden, NotFound
from storage.accounts import Account, find_account, set_locked
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction


@frozen
class Moderation:
    """What administrators may do to accounts other than those of administrators."""

    store: Store
    suspensions: Suspensions

    async def is_locked(self, admin: str, user_id: str) -> bool:
        """Whether an account is locked.

        Raises:
            NotFound: there is no such account, or it is closed.
            Forbidden: it is another administrator's.
        """
        return (await self.store.read(lambda txn: _subject(txn, admin, user_id))).locked

    async def is_suspended(self, admin: str, user_id: str) -> bool:
        """Whether an account is suspended.

        Raises:
            NotFound: there is no such account, or it is closed.
            Forbidden: it is another administrator's.
        """
        await self.store.read(lambda txn: _subject(txn, admin, user_id))
        return user_id in self.suspensions

    async def set_locked(self, admin: str, user_id: str, locked: bool) -> None:
        """Lock an account, or unlock it: its sessions stay, and wait.

        Raises:
            NotFound: there is no such account, or it is closed.
            Forbidden: it is an administrator's, perhaps one's own.
        """

        def work(txn: WriteTransaction) -> None:
            set_locked(txn, user_id, locked)
            announce_account(txn, user_id)

        await self._change(admin, user_id, work)

    async def set_suspended(self, admin: str, user_id: str, suspended: bool) -> None:
        """Suspend an account, or lift that.

        Raises:
            NotFound: there is no such account, or it is closed.
            Forbidden: it is an administrator's, perhaps one's own.
        """
        await self._change(
            admin, user_id, lambda txn: self.suspensions.set(txn, user_id, suspended)
        )

    async def _change(
        self, admin: str, user_id: str, change: Callable[[WriteTransaction], None]
    ) -> None:
        if admin == user_id:
            raise Forbidden("You cannot do this to your own account")

        def work(txn: WriteTransaction) -> None:
            _subject(txn, admin, user_id)
            change(txn)

        await self.store.write(work)


def _subject(txn: Transaction, admin: str, user_id: str) -> Account:
    account = find_account(txn, user_id)
    if account is None or account.deactivated_at is not None:
        raise NotFound("There is no such account on this server, or it has been closed")
    if account.is_admin and user_id != admin:
        raise Forbidden("This is the account of another administrator")
    return account
