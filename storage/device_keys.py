"""The identity keys of devices."""

from collections.abc import Iterable

from storage.transaction import Row, Transaction, WriteTransaction


def find(txn: Transaction, user_id: str, device_id: str) -> str | None:
    """The device's keys as JSON, or None."""
    json: str | None = txn.value(
        "SELECT json FROM device_keys WHERE user_id = ? AND device_id = ?", user_id, device_id
    )
    return json


def of_user(txn: Transaction, user_id: str) -> dict[str, str]:
    """The keys of all devices of a person, by device id."""
    return dict(txn.all("SELECT device_id, json FROM device_keys WHERE user_id = ?", user_id))


def of_users(txn: Transaction, user_ids: Iterable[str]) -> list[Row]:
    """User id, device id, keys and display name of every device that has keys."""
    return txn.among(
        "SELECT user_id, device_id, device_keys.json, devices.display_name FROM device_keys"
        " JOIN devices USING (user_id, device_id) WHERE user_id IN (??)",
        user_ids,
    )


def known_people(txn: Transaction, user_ids: Iterable[str]) -> set[str]:
    """Those who have an account here, with or without devices."""
    rows = txn.among("SELECT user_id FROM accounts WHERE user_id IN (??)", user_ids)
    return {row[0] for row in rows}


def put(txn: WriteTransaction, user_id: str, device_id: str, json: str) -> None:
    """Store a device's keys, in place of earlier ones."""
    txn.later(
        "INSERT INTO device_keys (user_id, device_id, json) VALUES (?, ?, ?)"
        " ON CONFLICT (user_id, device_id) DO UPDATE SET json = excluded.json",
        user_id,
        device_id,
        json,
    )


def delete(txn: WriteTransaction, user_id: str, device_ids: Iterable[str]) -> None:
    """Remove the keys of some devices."""
    txn.many(
        "DELETE FROM device_keys WHERE user_id = ? AND device_id = ?",
        [(user_id, device_id) for device_id in device_ids],
    )
