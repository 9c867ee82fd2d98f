"""Device keys: uploaded by their device, removed with it.

Client-server API, "Uploading keys".
"""

from collections.abc import Collection
from typing import Any

import orjson
from attrs import frozen

from e2e import signatures
from e2e.device_lists import Announcer
from e2e.identity_log import IdentityLog
from e2e.one_time_keys import KeyExists, OneTimeKeys, counted
from schema.errors import Conflict, InvalidParam, MissingParam, UnknownToken
from storage import cross_signing, dehydrated, device_keys, devices, one_time_keys, to_device
from storage.cross_signing import Signature
from storage.one_time_keys import Device
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction

Json = dict[str, Any]


@frozen
class _Upload:
    """Keys that have been checked, as the JSON to store."""

    device_keys: str | None
    checked_with: str | None
    """The stored device keys that the signatures were checked with, if none came along."""
    signed: Json | None
    """The device keys as they came, with every signature."""
    one_time_keys: dict[str, str]
    fallback_keys: dict[str, str]


class Devices:
    """What devices publish about themselves."""

    def __init__(
        self, store: Store, announcer: Announcer, keys: OneTimeKeys, log: IdentityLog
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._keys = keys
        self._log = log

    async def upload(
        self, user_id: str, device_id: str, keys: Json | None, one_time: Json, fallback: Json
    ) -> dict[str, int]:
        """Publish a device's keys: all of them, or none if one is wrong.

        Returns how many one-time keys the device has left, by algorithm, in truth.

        Raises:
            InvalidParam: a key is malformed or belongs to another device.
            InvalidSignature: a key is not signed by the device.
            KeyExists: another one-time key was uploaded under the same id before.
            MissingParam: the device's own keys have never been uploaded.
        """
        device = (user_id, device_id)
        if not device_id:
            raise MissingParam("Only a device has keys: name one with the parameter `device_id`")
        if len(fallback) > 1:
            raise InvalidParam("There is one fallback key for each algorithm")
        if keys is None and not one_time and not fallback:
            return await self._store.read(
                lambda txn: counted(one_time_keys.left(txn, [device])[device])
            )
        # Signatures are checked on a reader's thread: fifty of them would hold up every writer.
        upload = await self._store.read(lambda txn: _check(txn, device, keys, one_time, fallback))
        try:
            return await self._store.write(lambda txn: self._put(txn, device, upload))
        except KeyExists as error:
            self._keys.note_conflict(device, error)
            raise

    def is_reserved(self, txn: Transaction, user_id: str, device_id: str) -> bool:
        """Whether nobody can log in on a device with this id: a key or a dehydrated one has it."""
        found = dehydrated.find(txn, user_id)
        is_dehydrated = found is not None and found[0] == device_id
        return is_dehydrated or is_cross_signing_key(txn, user_id, device_id)

    def announce(self, txn: WriteTransaction, user_id: str) -> None:
        """Somebody has logged in or renamed a device; in the transaction that does it."""
        self._announcer.changed(txn, user_id)

    def forget(self, txn: WriteTransaction, user_id: str, device_ids: Collection[str]) -> None:
        """Remove all that is kept for devices; in the transaction that removes them."""
        if device_ids:
            forget_keys(txn, user_id, device_ids)
            self._announcer.changed(txn, user_id, removed=device_ids)

    def _put(self, txn: WriteTransaction, device: Device, upload: _Upload) -> dict[str, int]:
        if devices.find_device(txn, *device) is None:
            raise UnknownToken("This device has been logged out")
        stored = device_keys.find(txn, *device)
        if upload.device_keys is None and upload.checked_with != stored:
            raise Conflict("The device's keys are being replaced; try again")
        if upload.device_keys is not None:
            self._put_device_keys(txn, device, stored, upload)
        if self._keys.add(txn, device, upload.one_time_keys, upload.fallback_keys):
            return counted(one_time_keys.announce(txn, [device])[device])
        return counted(one_time_keys.left(txn, [device])[device])

    def _put_device_keys(
        self, txn: WriteTransaction, device: Device, stored: str | None, upload: _Upload
    ) -> None:
        assert upload.device_keys is not None
        user_id, device_id = device
        changed = upload.device_keys != stored
        if changed:
            if stored is not None and identity(stored) != identity(upload.device_keys):
                # What the old identity has signed or was signed for is worth nothing now, and
                # the new one begins to count its key ids anew.
                one_time_keys.delete(txn, user_id, [device_id])
                one_time_keys.announce(txn, [device])
                cross_signing.delete_signatures(txn, user_id, [device_id])
                self._log.device_keys_replaced(txn, user_id, device_id)
            device_keys.put(txn, user_id, device_id, upload.device_keys)
        signature = self_signature(txn, device, upload.signed or {})
        if signature is not None:
            changed |= cross_signing.add_signature(txn, signature)
        if changed:
            self._announcer.changed(txn, user_id)


def is_cross_signing_key(txn: Transaction, user_id: str, device_id: str) -> bool:
    """Whether a device must not have this id, because a cross-signing key of the person has it."""
    keys = cross_signing.keys_of(txn, user_id)
    return any(public_key == device_id for public_key, _ in keys.values())


def forget_keys(txn: WriteTransaction, user_id: str, device_ids: Collection[str]) -> None:
    """Remove the keys and the queues of devices; whoever does it announces it, too."""
    device_keys.delete(txn, user_id, device_ids)
    one_time_keys.delete(txn, user_id, device_ids)
    to_device.delete(txn, user_id, device_ids)
    cross_signing.delete_signatures(txn, user_id, device_ids)


def _check(
    txn: Transaction, device: Device, keys: Json | None, one_time: Json, fallback: Json
) -> _Upload:
    user_id, device_id = device
    stored = device_keys.find(txn, user_id, device_id)
    checked = None if keys is None else signatures.check_device_keys(keys, user_id, device_id)
    if checked is None and stored is None:
        raise MissingParam("The device must upload its device_keys before other keys")
    fingerprint = signatures.fingerprint(orjson.loads(checked or stored or ""))
    return _Upload(
        device_keys=checked,
        checked_with=stored,
        signed=keys,
        one_time_keys=signatures.check_one_time_keys(
            one_time, "one_time_keys", user_id, device_id, fingerprint
        ),
        fallback_keys=signatures.check_one_time_keys(
            fallback, "fallback_keys", user_id, device_id, fingerprint
        ),
    )


def self_signature(txn: Transaction, device: Device, keys: Json) -> Signature | None:
    """A signature by the person's self-signing key, if it comes along and is right."""
    user_id, device_id = device
    signing = cross_signing.keys_of(txn, user_id).get("self_signing")
    if signing is None:
        return None
    key_id = f"ed25519:{signing[0]}"
    signature = signatures.signatures_by(keys, user_id).get(key_id)
    if signature is None:
        return None
    if not signatures.is_signature(signature, signatures.signed_part(keys), signing[0]):
        return None
    return Signature(user_id, device_id, user_id, key_id, signature)


def identity(json: str) -> Any:
    """What makes stored device keys those of one device and no other."""
    return orjson.loads(json)["keys"]
