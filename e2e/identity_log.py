"""The identity log: what happened to a person's devices and cross-signing keys.

Whoever takes over an account leaves traces here. They are written in the transaction of what
causes them; the person can read them, and their other devices are told at once.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import orjson

from schema.errors import InvalidParam
from storage import devices, identity_log, to_device
from storage.identity_log import Entry
from storage.store import Store
from storage.to_device import ToDeviceSent
from storage.transaction import Transaction, WriteTransaction

NOTICE = "org.hearth.identity_changed"
"""The type of the to-device event. Clients that do not know it pass over it."""

MOST_ENTRIES = 500
MOST_MASTER_KEYS = 50
LARGEST_PAGE = 100
MOST_TOLD = 50
"""Devices that get a notice: the ones seen last. A script that logs in every hour leaves many."""

Json = dict[str, Any]


class IdentityLog:
    """Writes the log, tells the person's devices, and shows the log to the person."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock

    def device_added(
        self, txn: WriteTransaction, user_id: str, device_id: str, name: str | None
    ) -> None:
        """Somebody has logged in on a new device."""
        self._record(txn, user_id, "device_added", [device_id], {device_id}, name)

    def devices_removed(
        self, txn: WriteTransaction, user_id: str, device_ids: Sequence[str], *, expired: bool
    ) -> None:
        """Devices are gone: logged out or deleted, or not used for too long."""
        kind = "device_expired" if expired else "device_removed"
        self._record(txn, user_id, kind, device_ids, set(device_ids))

    def device_keys_replaced(self, txn: WriteTransaction, user_id: str, device_id: str) -> None:
        """A device has published another identity than before."""
        self._record(txn, user_id, "device_keys_replaced", [device_id], {device_id})

    def dehydrated_device_added(
        self, txn: WriteTransaction, user_id: str, device_id: str, name: str | None, by: str
    ) -> None:
        """The device ``by`` has left a dehydrated device here, in place of any other."""
        self._record(txn, user_id, "dehydrated_device_added", [device_id], {by}, name)

    def dehydrated_device_removed(
        self, txn: WriteTransaction, user_id: str, device_id: str, by: str
    ) -> None:
        """The device ``by`` has taken the dehydrated device away."""
        self._record(txn, user_id, "dehydrated_device_removed", [device_id], {by})

    def master_key_changed(
        self, txn: WriteTransaction, user_id: str, public_key: str, by: str, *, is_first: bool
    ) -> None:
        """The device ``by`` has published a master key: an identity begins, or is reset."""
        kind = "identity_created" if is_first else "identity_reset"
        position = self._record(txn, user_id, kind, [public_key], {by})
        identity_log.add_master_key(txn, user_id, position, public_key, self._clock())
        identity_log.trim_master_keys(txn, user_id, MOST_MASTER_KEYS)

    def signing_keys_changed(
        self, txn: WriteTransaction, user_id: str, public_keys: Sequence[str], by: str
    ) -> None:
        """The device ``by`` has published other keys that the same master key stands for."""
        self._record(txn, user_id, "signing_key_changed", public_keys, {by})

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Remove the log: in the transaction that closes the account, nobody can read it then."""
        identity_log.delete(txn, user_id)
        identity_log.delete_master_keys(txn, user_id)

    async def page(self, user_id: str, start: str | None, limit: int) -> Json:
        """A page of the log, newest first; ``next_batch`` leads to older entries, if any.

        Raises:
            InvalidParam: ``start`` is no ``next_batch``.
        """
        before = 2**63 - 1 if start is None else _position(start)
        most = min(limit, LARGEST_PAGE)

        def work(txn: Transaction) -> list[Entry]:
            return identity_log.page(txn, user_id, before, most + 1)

        found = await self._store.read(work)
        answer: Json = {"chunk": [_shown(entry) for entry in found[:most]]}
        if len(found) > most:
            answer["next_batch"] = str(found[most - 1].position)
        return answer

    async def master_keys(self, user_id: str) -> list[Json]:
        """Every master key that somebody has had, newest first; the present one is not replaced."""
        rows = await self._store.read(lambda txn: identity_log.master_keys(txn, user_id))
        return [
            _without_none({"public_key": public_key, "added_ts": added, "replaced_ts": replaced})
            for public_key, added, replaced in rows
        ]

    def _record(
        self,
        txn: WriteTransaction,
        user_id: str,
        kind: str,
        subjects: Sequence[str],
        not_told: Collection[str],
        name: str | None = None,
    ) -> int:
        """Write down that something happened to ``subjects``, and tell the other devices.

        Returns the position of the last entry.
        """
        now = self._clock()
        entries = [Entry(txn.position(), now, kind, subject, name) for subject in subjects]
        identity_log.add(txn, user_id, entries)
        identity_log.trim(txn, user_id, MOST_ENTRIES)
        position = entries[-1].position
        told = [each for each in devices.last_seen(txn, user_id, MOST_TOLD) if each not in not_told]
        if told:
            content = {"changes": [_shown(entry) for entry in entries[-LARGEST_PAGE:]]}
            notice = orjson.dumps({"sender": user_id, "type": NOTICE, "content": content}).decode()
            queued = {(user_id, device_id): notice for device_id in told}
            to_device.add(txn, position, queued)
            txn.announce(ToDeviceSent(position=position, users=(user_id,), messages=queued))
        return position


def _shown(entry: Entry) -> Json:
    subject = "device_id" if "device" in entry.type else "public_key"
    return _without_none(
        {
            "type": entry.type,
            "ts": entry.happened_at,
            subject: entry.subject,
            "display_name": entry.display_name,
        }
    )


def _without_none(value: Json) -> Json:
    return {k: v for k, v in value.items() if v is not None}


def _position(token: str) -> int:
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise InvalidParam("`from` must be the `next_batch` of an earlier page")
    return int(token)
