"""The queues of to-device messages."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction

Device = tuple[str, str]
"""User id and device id."""


@frozen(kw_only=True)
class ToDeviceSent(Change):
    """One message for each of these devices has come into its queue, as JSON."""

    messages: Mapping[Device, str]


def is_new(
    txn: WriteTransaction, sender: Device, event_type: str, txn_id: str, sent_at: int
) -> bool:
    """Remember that a device sends this; False when it has done so before."""
    added = txn.run(
        "INSERT INTO to_device_transactions (user_id, device_id, event_type, txn_id, sent_at)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        *sender,
        event_type,
        txn_id,
        sent_at,
    )
    return added > 0


def forget_transactions(txn: WriteTransaction, before: int) -> int:
    """Forget what was sent before a time; a repetition would then be sent again."""
    return txn.run("DELETE FROM to_device_transactions WHERE sent_at < ?", before)


def devices_of(txn: Transaction, user_ids: Iterable[str]) -> list[Device]:
    """Every device of some people."""
    devices: list[Any] = txn.among(
        "SELECT user_id, device_id FROM devices WHERE user_id IN (??)", user_ids
    )
    return devices


def add(txn: WriteTransaction, position: int, messages: Mapping[Device, str]) -> None:
    """Put one message into the queue of each device."""
    txn.insert(
        "INSERT INTO to_device_messages (user_id, device_id, position, json) VALUES ??",
        [(*device, position, json) for device, json in messages.items()],
    )


def after(txn: Transaction, device: Device, position: int, most: int) -> list[tuple[int, str]]:
    """Position and JSON of the first messages of a queue behind a position."""
    rows = txn.all(
        "SELECT position, json FROM to_device_messages WHERE user_id = ? AND device_id = ?"
        " AND position > ? ORDER BY position LIMIT ?",
        *device,
        position,
        most,
    )
    return [(position, json) for position, json in rows]


@frozen
class Waiting:
    """A message in the queue of a device."""

    device: Device
    position: int
    json: str


def waiting(
    txn: Transaction, user_ids: Iterable[str], most: int, *, but_logged_in: bool
) -> list[Waiting]:
    """The first messages in the queues of some people's devices, oldest first.

    ``but_logged_in`` leaves out the devices that have access tokens of their own.
    """
    rows = txn.among(
        "SELECT user_id, device_id, position, json FROM to_device_messages m"
        " WHERE user_id IN (??) AND (? = 0 OR NOT EXISTS (SELECT 1 FROM access_tokens t"
        " WHERE t.user_id = m.user_id AND t.device_id = m.device_id))"
        " ORDER BY position LIMIT ?",
        user_ids,
        int(but_logged_in),
        most,
    )
    found = [Waiting((user_id, device_id), *rest) for user_id, device_id, *rest in rows]
    return sorted(found, key=lambda message: message.position)[:most]


def has_any_upto(txn: Transaction, device: Device, position: int) -> bool:
    """Whether messages up to a position are still kept."""
    found = txn.one(
        "SELECT 1 FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position <= ?"
        " LIMIT 1",
        *device,
        position,
    )
    return found is not None


def delete_upto(txn: WriteTransaction, positions: Mapping[Device, int]) -> None:
    """Remove from each queue what lies at or before its position."""
    txn.for_each(
        "DELETE FROM to_device_messages WHERE (user_id, device_id, position) IN"
        " (SELECT m.user_id, m.device_id, m.position FROM (VALUES ??) AS done"
        " JOIN to_device_messages m ON m.user_id = done.column1 AND m.device_id = done.column2"
        " AND m.position <= done.column3) RETURNING 1",
        [(*device, position) for device, position in positions.items()],
    )


def delete(txn: WriteTransaction, user_id: str, device_ids: Iterable[str]) -> None:
    """Remove the queues of some devices, and the memory of what they have sent."""
    devices = [(user_id, device_id) for device_id in device_ids]
    txn.many("DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ?", devices)
    txn.many("DELETE FROM to_device_transactions WHERE user_id = ? AND device_id = ?", devices)
