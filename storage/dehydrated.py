"""Dehydrated devices: at most one for each person, a device like others but for its sealed data."""

from storage.transaction import Row, Transaction, WriteTransaction


def find(txn: Transaction, user_id: str) -> Row | None:
    """Device id and data of somebody's dehydrated device."""
    return txn.one(
        "SELECT device_id, dehydrated FROM devices WHERE user_id = ? AND dehydrated IS NOT NULL",
        user_id,
    )


def put(txn: WriteTransaction, user_id: str, device_id: str, data: str) -> None:
    """Make a device the dehydrated one, or give it other data. There must be no other one."""
    txn.run(
        "UPDATE devices SET dehydrated = ? WHERE user_id = ? AND device_id = ?",
        data,
        user_id,
        device_id,
    )
