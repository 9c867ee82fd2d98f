"""One-time and fallback keys: handed out, counted, remembered."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction

Device = tuple[str, str]
"""User id and device id."""

# Joined, because for more than one pair in a list SQLite looks through the whole table.
_THESE = "(SELECT DISTINCT column1 AS u, column2 AS d FROM (VALUES ??) AS wanted) AS these"
# One column, because each would look for the key by itself; there is no such line in its JSON.
_ISSUED_LAST = (
    "(SELECT k.json || '\n' || k.key_id FROM one_time_keys k"
    " WHERE k.user_id = one_time_key_queues.user_id"
    " AND k.device_id = one_time_key_queues.device_id"
    " AND k.algorithm = one_time_key_queues.algorithm AND k.number = issued)"
)


@frozen
class KeyCounts:
    """What a device has left."""

    one_time_keys: Mapping[str, int]
    """How many keys, by algorithm; an algorithm without any may be missing."""
    unused_fallback_keys: tuple[str, ...]
    """The algorithms of fallback keys that nobody has got yet."""

    def without(self, algorithm: str, *, is_fallback: bool) -> "KeyCounts":
        """What is left once a key has been handed out."""
        if is_fallback:
            unused = tuple(each for each in self.unused_fallback_keys if each != algorithm)
            return KeyCounts(self.one_time_keys, unused)
        left = {**self.one_time_keys, algorithm: self.one_time_keys[algorithm] - 1}
        return KeyCounts(left, self.unused_fallback_keys)


@frozen(kw_only=True)
class KeysClaimed(Change):
    """One key of each of some devices was handed out."""

    algorithm: str
    keys: Mapping[Device, bool]
    """The devices, and whether it was the fallback key."""


@frozen(kw_only=True)
class OneTimeKeysChanged(Change):
    """A device has other one-time or fallback keys left than before: these."""

    device: Device
    left: KeyCounts


def known(
    txn: Transaction, device: Device, algorithm: str, key_ids: Iterable[str]
) -> dict[str, str]:
    """Those of some key ids that the device has used before, with their keys as JSON."""
    return dict(
        txn.among(
            "SELECT key_id, json FROM one_time_keys WHERE key_id IN (??)"
            " AND user_id = ? AND device_id = ? AND algorithm = ?",
            key_ids,
            *device,
            algorithm,
        )
    )


def lengthen(txn: WriteTransaction, device: Device, algorithm: str, count: int) -> tuple[int, int]:
    """Make room for more keys; the number of the last one, and up to which they are issued."""
    row = txn.one(
        "INSERT INTO one_time_key_queues (user_id, device_id, algorithm, added, issued)"
        " VALUES (?, ?, ?, ?, 0) ON CONFLICT (user_id, device_id, algorithm)"
        " DO UPDATE SET added = one_time_key_queues.added + excluded.added"
        " RETURNING added, issued",
        *device,
        algorithm,
        count,
    )
    assert row is not None
    added, issued = row
    return added, issued


def add(
    txn: WriteTransaction, device: Device, algorithm: str, keys: Mapping[str, str], first: int
) -> None:
    """Store new keys, by key id, under numbers from ``first`` on."""
    txn.insert(
        "INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, number, json) VALUES ??",
        [
            (*device, algorithm, key_id, number, json)
            for number, (key_id, json) in enumerate(keys.items(), first)
        ],
    )


def retire(txn: WriteTransaction, device: Device, algorithm: str, upto: int) -> None:
    """Keys up to this number will not be handed out any more."""
    txn.later(
        "UPDATE one_time_key_queues SET issued = ?"
        " WHERE user_id = ? AND device_id = ? AND algorithm = ?",
        upto,
        *device,
        algorithm,
    )


def forget(txn: WriteTransaction, device: Device, algorithm: str, upto: int) -> None:
    """Remember no keys up to this number."""
    txn.later(
        "DELETE FROM one_time_keys"
        " WHERE user_id = ? AND device_id = ? AND algorithm = ? AND number <= ?",
        *device,
        algorithm,
        upto,
    )


def put_fallback(
    txn: WriteTransaction, device: Device, algorithm: str, key_id: str, json: str
) -> bool:
    """Store a fallback key in place of the last one; False when it is the same, used or not."""
    changed = txn.run(
        "INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, json)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_id, device_id, algorithm)"
        " DO UPDATE SET key_id = excluded.key_id, json = excluded.json, used = 0"
        " WHERE fallback_keys.key_id <> excluded.key_id OR fallback_keys.json <> excluded.json",
        *device,
        algorithm,
        key_id,
        json,
    )
    return changed > 0


def claim(
    txn: WriteTransaction, devices: Sequence[Device], algorithm: str
) -> dict[Device, tuple[str, str]]:
    """Hand out one key of each device, the one uploaded first: its id and its JSON.

    One statement counts the keys and takes them, so that none is ever handed out twice. Devices
    that have none left are missing.
    """
    claimed = {}
    for user_id, device_id, key in txn.for_each(
        "UPDATE one_time_key_queues SET issued = issued + 1 WHERE issued < added"
        " AND (user_id, device_id) IN (SELECT column1, column2 FROM (VALUES ??) AS wanted)"
        f" AND algorithm = ? RETURNING user_id, device_id, {_ISSUED_LAST}",
        devices,
        algorithm,
    ):
        json, _, key_id = key.partition("\n")
        claimed[user_id, device_id] = (key_id, json)
    return claimed


def use_fallback(
    txn: WriteTransaction, devices: Sequence[Device], algorithm: str
) -> dict[Device, tuple[str, str]]:
    """Hand out fallback keys, as often as somebody asks. Returns the same as ``claim``."""
    rows = txn.for_each(
        f"UPDATE fallback_keys SET used = 1 FROM {_THESE}"
        " WHERE user_id = u AND device_id = d AND algorithm = ?"
        " RETURNING user_id, device_id, key_id, json",
        devices,
        algorithm,
    )
    return {(user_id, device_id): (key_id, json) for user_id, device_id, key_id, json in rows}


def left(txn: Transaction, devices: Sequence[Device]) -> dict[Device, KeyCounts]:
    """What each of some devices has left."""
    counts: dict[Device, dict[str, int]] = {device: {} for device in devices}
    for user_id, device_id, algorithm, count in txn.for_each(
        f"SELECT user_id, device_id, algorithm, added - issued FROM {_THESE}"
        " JOIN one_time_key_queues ON user_id = u AND device_id = d",
        devices,
    ):
        counts[user_id, device_id][algorithm] = count
    fallback: dict[Device, list[str]] = {device: [] for device in devices}
    for user_id, device_id, algorithm in txn.for_each(
        f"SELECT user_id, device_id, algorithm FROM {_THESE} JOIN fallback_keys"
        " ON user_id = u AND device_id = d WHERE used = 0 ORDER BY algorithm",
        devices,
    ):
        fallback[user_id, device_id].append(algorithm)
    return {device: KeyCounts(counts[device], tuple(fallback[device])) for device in devices}


def announce(txn: WriteTransaction, devices: Sequence[Device]) -> dict[Device, KeyCounts]:
    """Tell the stream what some devices have left."""
    counts = left(txn, devices)
    if devices:
        position = txn.position()
        for device in devices:
            txn.announce(
                OneTimeKeysChanged(
                    position=position, users=(device[0],), device=device, left=counts[device]
                )
            )
    return counts


def delete(txn: WriteTransaction, user_id: str, device_ids: Iterable[str]) -> None:
    """Forget everything about the one-time and fallback keys of some devices."""
    devices = [(user_id, device_id) for device_id in device_ids]
    txn.many("DELETE FROM one_time_keys WHERE user_id = ? AND device_id = ?", devices)
    txn.many("DELETE FROM one_time_key_queues WHERE user_id = ? AND device_id = ?", devices)
    txn.many("DELETE FROM fallback_keys WHERE user_id = ? AND device_id = ?", devices)


def withdraw_all(txn: WriteTransaction) -> int:
    """Hand out none of the one-time keys there are: whoever restores a backup must do this.

    The backup does not know which keys were handed out after it was made. Their devices see a
    count of 0 and upload new ones; until then the fallback keys, which stay, serve. Returns how
    many keys were withdrawn.
    """
    withdrawn = {
        (user_id, device_id): count
        for user_id, device_id, count in txn.all(
            "SELECT user_id, device_id, SUM(added - issued) FROM one_time_key_queues"
            " WHERE issued < added GROUP BY user_id, device_id"
        )
    }
    txn.run("UPDATE one_time_key_queues SET issued = added")
    announce(txn, list(withdrawn))
    return sum(map(int, withdrawn.values()))
