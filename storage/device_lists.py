"""When each person's devices or cross-signing keys changed last."""

from attrs import frozen

from storage.stream import Change
from storage.transaction import Row, Transaction, WriteTransaction

EVERYONE = ""
"""In place of the one person who sees a change."""


@frozen(kw_only=True)
class DeviceListChanged(Change):
    """What others know about ``user_id``'s devices and keys is out of date."""

    user_id: str
    seen_by: str = EVERYONE
    """Whom it concerns, if not everyone who shares a room."""
    removed: tuple[str, ...] = ()
    """Devices that are gone, with everything that was kept for them."""


def put(txn: WriteTransaction, user_id: str, seen_by: str, position: int) -> None:
    """Remember the newest change."""
    txn.later(
        "INSERT INTO device_list_changes (user_id, seen_by, position) VALUES (?, ?, ?)"
        " ON CONFLICT (user_id, seen_by) DO UPDATE SET position = excluded.position",
        user_id,
        seen_by,
        position,
    )


def all_changes(txn: Transaction) -> list[Row]:
    """User id, seen by, position of everything that ever changed."""
    return txn.all("SELECT user_id, seen_by, position FROM device_list_changes")
