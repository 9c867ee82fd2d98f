"""Dehydrated devices: what receives keys for people who are not logged in anywhere (MSC3814).

A client leaves a device here whose private half is sealed. Others see it like any device and send
to it; nobody can log in on it. Whoever opens the seal at the next login reads what has come.
"""

from collections.abc import Callable
from typing import Any

import orjson
from attrs import frozen
from orjson import Fragment

from e2e import signatures
from e2e.device_lists import Announcer
from e2e.devices import forget_keys, identity, is_cross_signing_key, self_signature
from e2e.identity_log import IdentityLog
from e2e.one_time_keys import OneTimeKeys
from schema.errors import Forbidden, InvalidParam, NotFound, TooLarge
from schema.ids import device_id as checked_device_id
from storage import cross_signing, dehydrated, device_keys, devices, to_device
from storage.store import Store
from storage.to_device import Device
from storage.transaction import Transaction, WriteTransaction

LARGEST_DATA = 65_536
MOST_AT_ONCE = 100

Json = dict[str, Any]


@frozen
class Dehydrated:
    """A dehydrated device as its client gives it."""

    device_id: str
    display_name: str | None
    data: Json
    """Sealed; it says by which algorithm."""
    device_keys: Json
    one_time_keys: Json
    fallback_keys: Json


@frozen
class Page:
    """Messages for a dehydrated device, oldest first."""

    events: list[Fragment]
    end: str
    """Where the next page begins."""
    is_last: bool


class DehydratedDevices:
    """The dehydrated devices of people, one for each at most."""

    def __init__(
        self,
        store: Store,
        announcer: Announcer,
        keys: OneTimeKeys,
        log: IdentityLog,
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._keys = keys
        self._log = log
        self._clock = clock

    async def put(self, requester: Device, given: Dehydrated) -> None:
        """Keep a dehydrated device in place of the last one, whose keys and messages go with it.

        The same device again loses nothing: a client that got no answer may repeat the request.

        Raises:
            InvalidParam: a key is malformed or belongs to another device.
            InvalidSignature: a key is not signed by the device.
            Forbidden: the id is that of a device that is logged in, or of a cross-signing key.
            KeyExists: the same device comes with another one-time key under an id that is known.
            TooLarge: the sealed data are too large.
        """
        user_id, by = requester
        device_id = checked_device_id(given.device_id)
        data = orjson.dumps(given.data).decode()
        if len(data.encode()) > LARGEST_DATA:
            raise TooLarge(f"device_data must not be larger than {LARGEST_DATA} bytes")
        checked, one_time, fallback = await self._store.read(lambda txn: _check(user_id, given))
        device = (user_id, device_id)

        def work(txn: WriteTransaction) -> None:
            old = dehydrated.find(txn, user_id)
            is_new, removed = not _is_same(txn, device, old, checked), []
            if is_new:
                removed = self._make_room(txn, device, old)
                devices.put_device(txn, *device, given.display_name, self._clock(), "")
            dehydrated.put(txn, *device, data)
            if is_new:
                self._log.dehydrated_device_added(txn, *device, given.display_name, by)
            device_keys.put(txn, *device, checked)
            self._keys.add(txn, device, one_time, fallback)
            signature = self_signature(txn, device, given.device_keys)
            if signature is not None:
                cross_signing.add_signature(txn, signature)
            self._announcer.changed(txn, user_id, removed=removed)

        await self._store.write(work)

    async def get(self, user_id: str) -> tuple[str, Fragment]:
        """The id and the sealed data of somebody's dehydrated device.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.read(lambda txn: dehydrated.find(txn, user_id))
        if found is None:
            raise _none()
        device_id, data = found
        return device_id, Fragment(data)

    async def delete(self, requester: Device) -> str:
        """Remove the requester's dehydrated device with everything that came for it; its id.

        Raises:
            NotFound: there is none.
        """
        user_id, by = requester

        def work(txn: WriteTransaction) -> str:
            found = dehydrated.find(txn, user_id)
            if found is None:
                raise _none()
            device_id: str = found[0]
            self._remove(txn, user_id, device_id)
            self._log.dehydrated_device_removed(txn, user_id, device_id, by)
            self._announcer.changed(txn, user_id, removed=[device_id])
            return device_id

        return await self._store.write(work)

    async def events(self, user_id: str, device_id: str, start: str | None, limit: int) -> Page:
        """What has come for somebody's dehydrated device, from the end of an earlier page on.

        Reading deletes nothing: a client that is interrupted, or another one, can begin again.

        Raises:
            Forbidden: it is not the person's dehydrated device.
            InvalidParam: ``start`` is not the end of a page.
        """
        after = 0 if start is None else _position(start)
        most = max(1, min(limit, MOST_AT_ONCE))

        def work(txn: Transaction) -> list[tuple[int, str]]:
            found = dehydrated.find(txn, user_id)
            if found is None or found[0] != device_id:
                raise Forbidden("That is not your dehydrated device")
            return to_device.after(txn, (user_id, device_id), after, most + 1)

        found = await self._store.read(work)
        shown = found[:most]
        end = shown[-1][0] if shown else after
        return Page([Fragment(json) for _, json in shown], str(end), len(found) <= most)

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Remove somebody's dehydrated device; in the transaction that closes the account."""
        found = dehydrated.find(txn, user_id)
        if found is not None:
            self._remove(txn, user_id, found[0])
            self._announcer.changed(txn, user_id, removed=[found[0]])

    def _make_room(
        self, txn: WriteTransaction, device: Device, old: tuple[Any, ...] | None
    ) -> list[str]:
        """Remove the device that is replaced; its id, if there was one."""
        removed: list[str] = [] if old is None else [old[0]]
        for device_id in removed:
            self._remove(txn, device[0], device_id)
        if devices.find_device(txn, *device) is not None:
            raise Forbidden("A device with that id is logged in; a dehydrated one needs its own id")
        if is_cross_signing_key(txn, *device):
            raise Forbidden("A device id must not be the same as one of your cross-signing keys")
        return removed

    def _remove(self, txn: WriteTransaction, user_id: str, device_id: str) -> None:
        devices.remove_devices(txn, user_id, [device_id])
        forget_keys(txn, user_id, [device_id])


def _check(user_id: str, given: Dehydrated) -> tuple[str, dict[str, str], dict[str, str]]:
    """The device's keys, one-time keys and fallback key as JSON to store."""
    if len(given.fallback_keys) > 1:
        raise InvalidParam("There is one fallback key for each algorithm")
    device = (user_id, given.device_id)
    checked = signatures.check_device_keys(given.device_keys, *device)
    fingerprint = signatures.fingerprint(given.device_keys)
    one_time, fallback = (
        signatures.check_one_time_keys(keys, name, *device, fingerprint)
        for keys, name in (
            (given.one_time_keys, "one_time_keys"),
            (given.fallback_keys, "fallback_keys"),
        )
    )
    return checked, one_time, fallback


def _is_same(txn: Transaction, device: Device, old: tuple[Any, ...] | None, checked: str) -> bool:
    """Whether the dehydrated device that is here already is this one, with the same identity."""
    if old is None or old[0] != device[1]:
        return False
    stored = device_keys.find(txn, *device)
    return stored is not None and identity(stored) == identity(checked)


def _position(token: str) -> int:
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise InvalidParam("That is not the `next_batch` of an earlier answer")
    return int(token)


def _none() -> NotFound:
    return NotFound("You have no dehydrated device")
