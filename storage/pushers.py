"""Where devices want to be notified. What is secret about it arrives here sealed."""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class StoredPusher:
    """A pusher of one device; ``fingerprint`` tells its pushkey from others."""

    user_id: str
    app_id: str
    fingerprint: str
    device_id: str
    sealed: str
    pushkey_ts: int
    """When it was set, in milliseconds."""
    since: int = 0
    """It has been told of everything up to this position."""


_COLUMNS = "user_id, app_id, fingerprint, device_id, sealed, pushkey_ts, since"


def put(txn: WriteTransaction, pusher: StoredPusher) -> None:
    """Store a pusher, or replace the one with this app and pushkey, which knows what it knows."""
    txn.run(
        f"INSERT INTO pushers ({_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, app_id, fingerprint) DO UPDATE SET"
        " device_id = excluded.device_id, sealed = excluded.sealed,"
        " pushkey_ts = excluded.pushkey_ts",
        pusher.user_id,
        pusher.app_id,
        pusher.fingerprint,
        pusher.device_id,
        pusher.sealed,
        pusher.pushkey_ts,
        pusher.since,
    )


def owners(txn: Transaction) -> list[str]:
    """Everybody who has a pusher."""
    return [row[0] for row in txn.all("SELECT DISTINCT user_id FROM pushers ORDER BY user_id")]


def told(txn: WriteTransaction, upto: int, behind: Iterable[tuple[int, str, str, str]]) -> None:
    """All have been told of everything up to a position, but for those who are ``behind``.

    These come with their own position, and with the person, app and fingerprint.
    """
    txn.run("UPDATE pushers SET since = ? WHERE since < ?", upto, upto)
    txn.many(
        "UPDATE pushers SET since = ? WHERE user_id = ? AND app_id = ? AND fingerprint = ?", behind
    )


def of_person(txn: Transaction, user_id: str) -> list[StoredPusher]:
    """Every pusher of a person."""
    rows = txn.all(
        f"SELECT {_COLUMNS} FROM pushers WHERE user_id = ? ORDER BY app_id, fingerprint",
        user_id,
    )
    return [StoredPusher(*row) for row in rows]


def device_of(txn: Transaction, user_id: str, app_id: str, fingerprint: str) -> str | None:
    """The device that has made a pusher; None if there is no such pusher."""
    device_id: str | None = txn.value(
        "SELECT device_id FROM pushers WHERE user_id = ? AND app_id = ? AND fingerprint = ?",
        user_id,
        app_id,
        fingerprint,
    )
    return device_id


def count(txn: Transaction, user_id: str) -> int:
    """How many pushers a person has."""
    number: int = txn.value("SELECT COUNT(*) FROM pushers WHERE user_id = ?", user_id)
    return number


def remove(txn: WriteTransaction, user_id: str, app_id: str, fingerprint: str) -> None:
    """Remove one pusher of a person."""
    txn.run(
        "DELETE FROM pushers WHERE user_id = ? AND app_id = ? AND fingerprint = ?",
        user_id,
        app_id,
        fingerprint,
    )


def remove_from_others(
    txn: WriteTransaction, user_id: str, app_id: str, fingerprint: str
) -> list[str]:
    """Remove what others have with the same app and pushkey; who they were."""
    rows = txn.all(
        "DELETE FROM pushers WHERE fingerprint = ? AND app_id = ? AND user_id <> ?"
        " RETURNING user_id",
        fingerprint,
        app_id,
        user_id,
    )
    return [row[0] for row in rows]


def remove_of_devices(txn: WriteTransaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Remove what some devices of a person have made."""
    txn.many(
        "DELETE FROM pushers WHERE user_id = ? AND device_id = ?",
        [(user_id, device_id) for device_id in device_ids],
    )
