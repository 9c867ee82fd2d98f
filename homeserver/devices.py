"""Devices: where somebody is logged in (client-server API, "Device Management")."""

from collections.abc import Callable, Collection, Sequence

from attrs import evolve, frozen

from homeserver.clock import Clock
from homeserver.last_seen import LastSeen
from schema.errors import Forbidden, InvalidParam, NotFound
from schema.ids import device_id as checked_device_id
from storage.devices import (
    Device,
    devices_of,
    find_device,
    put_device,
    remove_devices,
    rename_device,
)
from storage.sessions import remove_access_tokens, remove_refresh_tokens
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction

LONGEST_NAME = 255


@frozen(kw_only=True)
class AccountChanged(Change):
    """What may be done as ``user_id`` changed: tokens, devices, lock, or administration.

    Nobody's /sync shows it; caches of who may do what follow it.
    """

    user_id: str


@frozen
class DeviceHooks:
    """What other features do, in the same transaction, when a device changes."""

    added: Callable[[WriteTransaction, str, str, str | None], None]
    """The user has a new device, with this id and name."""
    removed: Callable[[WriteTransaction, str, Sequence[str], bool], None]
    """These devices of the user are gone: with them goes everything that was theirs. The last
    argument says whether they expired, so that nobody has removed them."""
    renamed: Callable[[WriteTransaction, str], None]
    """A device of the user has another name, which others can see."""
    is_reserved: Callable[[Transaction, str, str], bool]
    """Whether nobody can log in on a device with this id: a cross-signing key or a dehydrated
    device has it."""


def announce_account(txn: WriteTransaction, user_id: str) -> None:
    """Have every cache forget what it knows about the account."""
    txn.announce(AccountChanged(position=txn.position(), user_id=user_id))


class Devices:
    """Lists, names, adds and removes devices."""

    def __init__(self, store: Store, clock: Clock, last_seen: LastSeen, hooks: DeviceHooks) -> None:
        self._store = store
        self._clock = clock
        self._last_seen = last_seen
        self._hooks = hooks

    async def all(self, user_id: str) -> list[Device]:
        """Every device of somebody, with the time it was last seen."""
        devices = await self._store.read(lambda txn: devices_of(txn, user_id))
        return [self._as_seen(user_id, device) for device in devices]

    async def get(self, user_id: str, device_id: str) -> Device:
        """One device.

        Raises:
            NotFound: the user has no such device.
        """
        device = await self._store.read(lambda txn: find_device(txn, user_id, device_id))
        if device is None:
            raise NotFound("You have no such device")
        return self._as_seen(user_id, device)

    async def rename(self, user_id: str, device_id: str, name: str | None) -> None:
        """Give a device another name; None leaves the one it has.

        Raises:
            NotFound: the user has no such device.
            InvalidParam: the name is too long.
        """
        check_device_name(name)

        def work(txn: WriteTransaction) -> None:
            if not self._rename(txn, user_id, device_id, name):
                raise NotFound("You have no such device")

        await self._store.write(work)

    async def rename_or_create(
        self, user_id: str, device_id: str, name: str | None, address: str
    ) -> bool:
        """What ``rename`` is for an application service: it may also create. True if it did.

        Raises:
            InvalidParam: the id or the name is too long.
            Forbidden: the id belongs to a cross-signing key.
        """
        check_device_name(name)
        checked_device_id(device_id)

        def work(txn: WriteTransaction) -> bool:
            if self._rename(txn, user_id, device_id, name):
                return False
            self.add(txn, user_id, device_id, name, address)
            return True

        return await self._store.write(work)

    async def delete(self, user_id: str, device_ids: Collection[str]) -> None:
        """Remove devices and end their sessions. Unknown ones are gone already."""
        await self._store.write(lambda txn: self.remove(txn, user_id, device_ids))

    async def delete_all(self, user_id: str) -> None:
        """Log out everywhere."""
        await self._store.write(lambda txn: self.remove_all(txn, user_id))

    def add(
        self, txn: WriteTransaction, user_id: str, device_id: str, name: str | None, address: str
    ) -> int:
        """Create a device, or log in again on a known one. Returns its generation of tokens.

        Raises:
            Forbidden: the id belongs to a cross-signing key (client-server API, Login), or to a
                dehydrated device.
        """
        if self._hooks.is_reserved(txn, user_id, device_id):
            raise Forbidden(
                "That device id belongs to a cross-signing key or a dehydrated device;"
                " choose another"
            )
        generation = put_device(txn, user_id, device_id, name, self._clock(), address)
        if generation == 1:
            self._hooks.added(txn, user_id, device_id, name)
        return generation

    def remove(
        self,
        txn: WriteTransaction,
        user_id: str,
        device_ids: Collection[str],
        *,
        expired: bool = False,
    ) -> None:
        """Remove devices, their tokens and what other features keep for them."""
        removed = remove_devices(txn, user_id, device_ids)
        if removed:
            remove_access_tokens(txn, user_id, removed)
            remove_refresh_tokens(txn, user_id, removed)
            self._hooks.removed(txn, user_id, removed, expired)
            announce_account(txn, user_id)

    def remove_all(self, txn: WriteTransaction, user_id: str, *, but: str | None = None) -> None:
        """Remove all devices on which somebody is logged in, perhaps but one.

        A dehydrated device stays: it is there for who is not logged in anywhere.
        """
        every = [each.device_id for each in devices_of(txn, user_id) if not each.is_dehydrated]
        self.remove(txn, user_id, [device_id for device_id in every if device_id != but])

    def _rename(
        self, txn: WriteTransaction, user_id: str, device_id: str, name: str | None
    ) -> bool:
        if name is None:
            return find_device(txn, user_id, device_id) is not None
        renamed = rename_device(txn, user_id, device_id, name)
        if renamed:
            self._hooks.renamed(txn, user_id)
        return renamed

    def _as_seen(self, user_id: str, device: Device) -> Device:
        seen = self._last_seen.of(user_id, device.device_id)
        if seen is None:
            return device
        return evolve(device, last_seen_at=seen[0], last_seen_address=seen[1])


def check_device_name(name: str | None) -> None:
    """Refuse a name that is too long to show."""
    if name is not None and len(name) > LONGEST_NAME:
        raise InvalidParam(
            f"The name of a device must not be longer than {LONGEST_NAME} characters"
        )
