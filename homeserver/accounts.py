"""Accounts: creating, proving, changing and closing them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.logger import Logger

from homeserver.clock import Clock
from homeserver.devices import Devices, announce_account
from homeserver.passwords import Passwords, check_new_password
from homeserver.sessions import Login, NewDevice, Sessions
from homeserver.third_party_ids import ThirdPartyIds
from schema import ids
from schema.errors import (
    Forbidden,
    InvalidParam,
    MissingParam,
    NobodysThreepid,
    NotFound,
    UserDeactivated,
    UserInUse,
    UserLocked,
)
from storage.accounts import (
    Account,
    add_account,
    close_account,
    find_account,
    set_admin,
    set_locked,
    set_password,
)
from storage.store import Store
from storage.transaction import WriteTransaction


@frozen
class AccountHooks:
    """What other features do when an account begins and ends; it begins only for people.

    The first of each pair belongs to the same transaction. The second comes after the commit and
    before the answer; it may fail without harm, so it must be something that can be made up for.
    """

    created: Sequence[Callable[[WriteTransaction, str], None]] = ()
    after_created: Sequence[Callable[[str], Awaitable[None]]] = ()
    deactivated: Sequence[Callable[[WriteTransaction, str, bool], None]] = ()
    """The third argument says whether the person asked for what they sent to be erased."""
    after_deactivated: Sequence[Callable[[str, bool], Awaitable[None]]] = ()


Enter = Callable[[WriteTransaction, str, str | None, bool, int], bool]
"""Writes an account down: id, hash of the password, administrator, time. False: it cannot be."""

_NOBODY = "@:"


def _nobody_special(txn: WriteTransaction) -> bool:
    return False


def _anybody(txn: WriteTransaction, user_id: str) -> None:
    """Nothing is in the way."""


class Accounts:
    """The accounts of this server. Names are taken for ever."""

    _log = Logger()

    def __init__(
        self,
        store: Store,
        server_name: str,
        clock: Clock,
        passwords: Passwords,
        devices: Devices,
        sessions: Sessions,
        hooks: AccountHooks,
        third_party_ids: ThirdPartyIds,
    ) -> None:
        self._store = store
        self._server_name = server_name
        self._clock = clock
        self._passwords = passwords
        self._devices = devices
        self._sessions = sessions
        self._hooks = hooks
        self._third_party_ids = third_party_ids

    async def find(self, user_id: str) -> Account | None:
        """The account, also when it is closed."""
        return await self._store.read(lambda txn: find_account(txn, user_id))

    async def get(self, user_id: str) -> Account:
        """The account, also when it is closed.

        Raises:
            NotFound: nobody here has this id.
        """
        account = await self.find(user_id)
        if account is None:
            raise NotFound("There is no such account on this server")
        return account

    async def create(
        self,
        user_id: str,
        password: str | None,
        device: NewDevice | None = None,
        admit: Callable[[WriteTransaction], bool] = _nobody_special,
        *,
        enter: Enter = add_account,
        is_person: bool = True,
    ) -> Login | None:
        """Create an account and, with a ``device``, log it in: all of it or nothing.

        ``admit`` runs in the same transaction; it says whether the account is an administrator's,
        and may refuse. Without a password nobody can log in with one. ``enter`` differs for
        guests. They and users of an application service do not get what people get: see
        ``AccountHooks``.

        Raises:
            UserInUse: the name is taken.
            WeakPassword: the password is too short.
            InvalidParam: the password, the device id or its name cannot be stored.
        """
        if device is not None:
            device.check()
        if password is not None:
            check_new_password(password)
        stored = None if password is None else await self._passwords.hash(password)

        def work(txn: WriteTransaction) -> Login | None:
            is_admin = admit(txn)
            if not enter(txn, user_id, stored, is_admin, self._clock()):
                raise UserInUse("This user name is taken; choose another")
            for hook in self._hooks.created if is_person else ():
                hook(txn, user_id)
            return None if device is None else self._sessions.begin(txn, user_id, device)

        login = await self._store.write(work)
        for hook in self._hooks.after_created if is_person else ():
            await self._guarded(hook(user_id))
        return login

    async def name_in(self, proof: Mapping[str, Any]) -> str | None:
        """The name in a login or an auth dict ("Identifier types"); of an address, its owner's.

        Nobody's address gives a name that nobody has, so that it fails as a wrong name does.

        Raises:
            NobodysThreepid: a kind of identifier that nobody has here.
            InvalidParam: not an identifier at all.
        """
        address = _email_in(proof)
        if address is None:
            return _name_in(proof)
        return await self._third_party_ids.owner(address) or _NOBODY

    async def authenticate(self, proof: Mapping[str, Any], password: str) -> str:
        """The user id of whoever is named in a login and has this password.

        Nothing is looked up before it is their turn. Takes as long for unknown names as for wrong
        passwords, and says the same.

        Raises:
            Forbidden: the name or the password is wrong.
            UserDeactivated, UserLocked: the account cannot be used.
            MissingParam: nobody is named.
            NobodysThreepid, InvalidParam: see ``name_in``.
            LimitExceeded: too many log in at once.
        """
        async with self._passwords.turn():
            name = await self.name_in(proof)
            if name is None:
                raise MissingParam("To log in, give `identifier` and `password`")
            return await self._check(name, password)

    async def password_stage(self, user_id: str | None, auth: Mapping[str, Any]) -> None:
        """The stage ``m.login.password``: ``user_id`` must give their own password.

        An address that is not theirs is refused alike whether somebody has it, and without a look
        at the password ("Password-based": 403 where nobody does).

        Raises:
            Forbidden: it is wrong, or somebody else's.
            NobodysThreepid: the address, or phone number, is not one of theirs.
            MissingParam: there is no password.
            InvalidParam: the identifier is none that is known here.
            LimitExceeded: too many log in at once.
        """
        password = auth.get("password")
        if not isinstance(password, str):
            raise MissingParam("The password is missing: `auth.password`")
        async with self._passwords.turn():
            name = await self.name_in(auth)
            if _email_in(auth) is not None and name != user_id:
                raise NobodysThreepid(
                    "This is no address of the account that you are logged in with"
                )
            if user_id is None or await self._check(name or user_id, password) != user_id:
                raise Forbidden(
                    "This needs the password of the account that you are logged in with"
                )

    async def _check(self, name: str, password: str) -> str:
        """The user id of whoever has this name, or full user id, and password."""
        user_id = self.user_id_of(name)
        account = None if user_id is None else await self.find(user_id)
        stored = None if account is None else account.password
        matches = await self._passwords.matches(stored, password)
        if account is not None and account.deactivated_at is not None:
            raise UserDeactivated("This account has been closed")
        if account is None or not matches:
            raise Forbidden("The user name or the password is wrong")
        if account.locked:
            raise UserLocked()
        return account.user_id

    async def change_password(
        self, user_id: str, new_password: str, *, keep_device: str | None, keep_all: bool
    ) -> None:
        """Set another password; every device is logged out but ``keep_device``, or none.

        Raises:
            WeakPassword, InvalidParam: it is too short, or too long.
            NotFound: there is no such account, or it is closed.
        """
        check_new_password(new_password)
        stored = await self._passwords.hash(new_password)

        def work(txn: WriteTransaction) -> None:
            if not set_password(txn, user_id, stored):
                raise _no_account()
            if not keep_all:
                self._devices.remove_all(txn, user_id, but=keep_device)

        await self._store.write(work)

    async def deactivate(
        self,
        user_id: str,
        *,
        erase: bool,
        check: Callable[[WriteTransaction, str], None] = _anybody,
    ) -> None:
        """Close the account for ever: no password, no devices, no tokens.

        ``check`` runs in the same transaction, and may refuse.

        Raises:
            NotFound: there is no such account, or it is closed.
        """

        def work(txn: WriteTransaction) -> None:
            check(txn, user_id)
            if not close_account(txn, user_id, erase, self._clock()):
                raise _no_account()
            self._devices.remove_all(txn, user_id)
            for hook in self._hooks.deactivated:
                hook(txn, user_id, erase)
            announce_account(txn, user_id)

        await self._store.write(work)
        for hook in self._hooks.after_deactivated:
            await self._guarded(hook(user_id, erase))

    async def set_admin(self, user_id: str, is_admin: bool) -> None:
        """Make somebody an administrator, or no longer.

        Raises:
            NotFound: there is no such account, or it is closed.
        """
        await self._change(user_id, lambda txn: set_admin(txn, user_id, is_admin))

    async def set_locked(self, user_id: str, locked: bool) -> None:
        """Lock an account, or unlock it ("Account locking"): its sessions stay, and wait.

        Raises:
            NotFound: there is no such account, or it is closed.
        """
        await self._change(user_id, lambda txn: set_locked(txn, user_id, locked))

    async def _change(self, user_id: str, change: Callable[[WriteTransaction], bool]) -> None:
        def work(txn: WriteTransaction) -> None:
            if not change(txn):
                raise _no_account()
            announce_account(txn, user_id)

        await self._store.write(work)

    async def _guarded(self, running: Awaitable[None]) -> None:
        try:
            await running
        except Exception:
            self._log.failure("What follows the change of an account failed")

    def user_id_of(self, name: str) -> str | None:
        """The user id that somebody means; None when it cannot be one of ours."""
        name = name.strip().lower()
        full = name if name.startswith("@") else f"@{name}:{self._server_name}"
        try:
            user_id = ids.user_id(full)
        except InvalidParam:
            return None
        return user_id if ids.domain(user_id) == self._server_name else None


def _email_in(proof: Mapping[str, Any]) -> str | None:
    """The e-mail address that identifies somebody, also in the deprecated place."""
    identifier = proof.get("identifier")
    if identifier is None and proof.get("medium") is not None:
        identifier = {**proof, "type": "m.id.thirdparty"}
    if not isinstance(identifier, dict) or identifier.get("type") != "m.id.thirdparty":
        return None
    if identifier.get("medium") != "email":
        raise NobodysThreepid("Nobody here has a phone number; use the user name")
    address = identifier.get("address")
    if not isinstance(address, str):
        raise InvalidParam("The e-mail address is missing: `identifier.address`")
    return address


def _name_in(proof: Mapping[str, Any]) -> str | None:
    identifier = proof.get("identifier")
    if identifier is None:
        identifier = {"type": "m.id.user", "user": proof.get("user")}
    if not isinstance(identifier, dict):
        raise InvalidParam("`identifier` must be an object")
    if identifier.get("type") == "m.id.phone":
        raise NobodysThreepid("Nobody here has a phone number; use the user name")
    if identifier.get("type") != "m.id.user":
        raise InvalidParam("This type of identifier is not known here; use `m.id.user`")
    name = identifier.get("user")
    if name is not None and not isinstance(name, str):
        raise InvalidParam("`user` must be text")
    return name


def _no_account() -> NotFound:
    return NotFound("There is no such account on this server, or it has been closed")
