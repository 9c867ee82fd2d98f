"""Devices: the places where somebody is logged in."""

from collections.abc import Collection, Sequence

from attrs import field, frozen

from storage.transaction import Transaction, WriteTransaction

_COLUMNS = (
    "device_id, display_name, last_seen_at, last_seen_address,"
    " CASE WHEN dehydrated IS NULL THEN 0 ELSE 1 END"
)


@frozen
class Device:
    """One device of somebody."""

    device_id: str
    display_name: str | None
    last_seen_at: int
    last_seen_address: str
    is_dehydrated: bool = field(converter=bool)
    """Nobody is logged in on it: it only receives (MSC3814)."""


def put_device(
    txn: WriteTransaction, user_id: str, device_id: str, name: str | None, now: int, address: str
) -> int:
    """Create the device, or note that a known one logs in again and keep its name.

    Returns the generation of the tokens that it is about to get.
    """
    generation: int = txn.value(
        "INSERT INTO devices (user_id, device_id, display_name, last_seen_at, last_seen_address,"
        " generation) VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (user_id, device_id) DO UPDATE"
        " SET last_seen_at = excluded.last_seen_at, generation = devices.generation + 1,"
        " last_seen_address = excluded.last_seen_address RETURNING generation",
        user_id,
        device_id,
        name,
        now,
        address,
    )
    return generation


def find_device(txn: Transaction, user_id: str, device_id: str) -> Device | None:
    """One device of somebody."""
    row = txn.one(
        f"SELECT {_COLUMNS} FROM devices WHERE user_id = ? AND device_id = ?", user_id, device_id
    )
    return None if row is None else Device(*row)


def devices_of(txn: Transaction, user_id: str) -> list[Device]:
    """All devices of somebody."""
    rows = txn.all(f"SELECT {_COLUMNS} FROM devices WHERE user_id = ? ORDER BY device_id", user_id)
    return [Device(*row) for row in rows]


def owners(txn: Transaction) -> list[tuple[str, bool]]:
    """Everybody who has a device, and whether it is their own: by a password, or as a guest."""
    rows = txn.all(
        "SELECT DISTINCT d.user_id,"
        " CASE WHEN a.password IS NULL AND a.is_guest = 0 THEN 0 ELSE 1 END"
        " FROM devices d JOIN accounts a ON a.user_id = d.user_id"
    )
    return [(user_id, bool(is_own)) for user_id, is_own in rows]


def people(txn: Transaction) -> list[str]:
    """Everybody who has a device."""
    return [row[0] for row in txn.all("SELECT DISTINCT user_id FROM devices")]


def last_seen(txn: Transaction, user_id: str, most: int) -> list[str]:
    """The devices on which somebody is logged in, those first that were used last."""
    rows = txn.all(
        "SELECT device_id FROM devices WHERE user_id = ? AND dehydrated IS NULL"
        " ORDER BY last_seen_at DESC, device_id LIMIT ?",
        user_id,
        most,
    )
    return [row[0] for row in rows]


def unseen_since(txn: Transaction, before: int, most: int) -> list[tuple[str, str]]:
    """User id and device id of devices that were last used before a time. Dehydrated ones wait."""
    rows = txn.all(
        "SELECT user_id, device_id FROM devices WHERE last_seen_at < ? AND dehydrated IS NULL"
        " ORDER BY user_id, device_id LIMIT ?",
        before,
        most,
    )
    return [(user_id, device_id) for user_id, device_id in rows]


def rename_device(txn: WriteTransaction, user_id: str, device_id: str, name: str) -> bool:
    """Give the device another name; False when there is no such device."""
    return bool(
        txn.run(
            "UPDATE devices SET display_name = ? WHERE user_id = ? AND device_id = ?",
            name,
            user_id,
            device_id,
        )
    )


def remove_devices(txn: WriteTransaction, user_id: str, device_ids: Collection[str]) -> list[str]:
    """Remove devices; returns those that existed. Their tokens are removed by ``sessions``."""
    rows = txn.among(
        "DELETE FROM devices WHERE device_id IN (??) AND user_id = ? RETURNING device_id",
        device_ids,
        user_id,
    )
    return [row[0] for row in rows]


def advance_generation(
    txn: WriteTransaction, user_id: str, device_id: str, generation: int
) -> bool:
    """The client has tokens of ``generation``; False when that was known, or the device is gone."""
    return bool(
        txn.run(
            "UPDATE devices SET generation = ?"
            " WHERE user_id = ? AND device_id = ? AND generation < ?",
            generation,
            user_id,
            device_id,
            generation,
        )
    )


def note_last_seen(txn: WriteTransaction, seen: Sequence[tuple[str, str, int, str]]) -> None:
    """Write down when and where devices were seen: (user, device, time, address) each."""
    if not seen:
        return
    rows = ", ".join(["(?, ?, ?, ?)"] * len(seen))
    # Both engines name the columns of VALUES column1, column2, ...
    txn.run(
        "UPDATE devices SET last_seen_at = seen.column3, last_seen_address = seen.column4"
        f" FROM (VALUES {rows}) AS seen"
        " WHERE devices.user_id = seen.column1 AND devices.device_id = seen.column2",
        *(value for row in seen for value in row),
    )
