"""One-time and fallback keys: handed out, counted, remembered."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from storage.stream import Change
from storage.transaction import Row, Transaction, WriteTransaction

Device = tuple[str, str]
"""User id and device id."""

_PORTION = 512
# Joined, because for more than one pair in a list SQLite looks through the whole table.
_THESE = "(SELECT DISTINCT column1 AS u, column2 AS d FROM (VALUES ??) AS wanted) AS these"


@frozen
class KeyCounts:
    """What a device has left."""

    one_time_keys: Mapping[str, int]
    """How many keys, by algorithm; an algorithm without any may be missing."""
    unused_fallback_keys: tuple[str, ...]
    """The algorithms of fallback keys that nobody has got yet."""

    def after(self, claim: "KeyClaimed") -> "KeyCounts":
        """What is left once a key has been handed out."""
        algorithm = claim.algorithm
        if claim.is_fallback:
            unused = tuple(each for each in self.unused_fallback_keys if each != algorithm)
            return evolve(self, unused_fallback_keys=unused)
        left = self.one_time_keys[algorithm] - 1
        return evolve(self, one_time_keys={**self.one_time_keys, algorithm: left})


@frozen(kw_only=True)
class KeyClaimed(Change):
    """One key of a device was handed out."""

    device: Device
    algorithm: str
    is_fallback: bool


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


def add(
    txn: WriteTransaction, device: Device, algorithm: str, keys: Mapping[str, str], position: int
) -> None:
    """Store new keys, by key id."""
    txn.many(
        "INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, position, json)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(*device, algorithm, key_id, position, json) for key_id, json in keys.items()],
    )


def retire(txn: WriteTransaction, device: Device, algorithm: str, most: int) -> None:
    """Keep the newest ``most`` keys; older ones will not be handed out any more."""
    txn.run(
        "UPDATE one_time_keys SET issued = 1 WHERE user_id = ? AND device_id = ? AND algorithm = ?"
        " AND key_id IN (SELECT key_id FROM one_time_keys WHERE user_id = ? AND device_id = ?"
        " AND algorithm = ? AND issued = 0 ORDER BY position DESC, key_id DESC"
        " LIMIT 1000000 OFFSET ?)",
        *device,
        algorithm,
        *device,
        algorithm,
        most,
    )


def forget_issued(txn: WriteTransaction, device: Device, algorithm: str, most: int) -> None:
    """Remember only the newest ``most`` of the keys that have been issued."""
    txn.run(
        "DELETE FROM one_time_keys WHERE user_id = ? AND device_id = ? AND algorithm = ?"
        " AND key_id IN (SELECT key_id FROM one_time_keys WHERE user_id = ? AND device_id = ?"
        " AND algorithm = ? AND issued = 1 ORDER BY position DESC, key_id DESC"
        " LIMIT 1000000 OFFSET ?)",
        *device,
        algorithm,
        *device,
        algorithm,
        most,
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


def claim(txn: WriteTransaction, wanted: Sequence[tuple[str, str, str]]) -> list[Row]:
    """Hand out one key for each user id, device id and algorithm: the one uploaded first.

    One statement takes the keys and marks them, so that none is ever handed out twice. Returns
    user id, device id, algorithm, key id and JSON; what has run out is missing.
    """
    return _for_each(
        txn,
        "UPDATE one_time_keys SET issued = 1 WHERE (user_id, device_id, algorithm, key_id) IN"
        " (SELECT column1, column2, column3, (SELECT key_id FROM one_time_keys"
        " WHERE user_id = column1 AND device_id = column2 AND algorithm = column3 AND issued = 0"
        " ORDER BY position, key_id LIMIT 1) FROM (VALUES ??) AS wanted)"
        " RETURNING user_id, device_id, algorithm, key_id, json",
        wanted,
    )


def use_fallback(txn: WriteTransaction, wanted: Sequence[tuple[str, str, str]]) -> list[Row]:
    """Hand out fallback keys, as often as somebody asks. Returns the same as ``claim``."""
    return _for_each(
        txn,
        "UPDATE fallback_keys SET used = 1 FROM (SELECT DISTINCT column1 AS u, column2 AS d,"
        " column3 AS a FROM (VALUES ??) AS wanted) AS these"
        " WHERE user_id = u AND device_id = d AND algorithm = a"
        " RETURNING user_id, device_id, algorithm, key_id, json",
        wanted,
    )


def left(txn: Transaction, devices: Sequence[Device]) -> dict[Device, KeyCounts]:
    """What each of some devices has left."""
    counts: dict[Device, dict[str, int]] = {device: {} for device in devices}
    for user_id, device_id, algorithm, count in _for_each(
        txn,
        f"SELECT user_id, device_id, algorithm, COUNT(*) FROM {_THESE} JOIN one_time_keys"
        " ON user_id = u AND device_id = d WHERE issued = 0 GROUP BY user_id, device_id, algorithm",
        devices,
    ):
        counts[user_id, device_id][algorithm] = count
    fallback: dict[Device, list[str]] = {device: [] for device in devices}
    for user_id, device_id, algorithm in _for_each(
        txn,
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
    txn.many("DELETE FROM fallback_keys WHERE user_id = ? AND device_id = ?", devices)


def withdraw_all(txn: WriteTransaction) -> int:
    """Hand out none of the one-time keys there are: whoever restores a backup must do this.

    The backup does not know which keys were handed out after it was made. Their devices see a
    count of 0 and upload new ones; until then the fallback keys, which stay, serve. Returns how
    many keys were withdrawn.
    """
    devices = [
        (user_id, device_id)
        for user_id, device_id in txn.all(
            "SELECT DISTINCT user_id, device_id FROM one_time_keys WHERE issued = 0"
        )
    ]
    withdrawn = txn.run("UPDATE one_time_keys SET issued = 1 WHERE issued = 0")
    announce(txn, devices)
    return withdrawn


def _for_each(txn: Transaction, sql: str, tuples: Sequence[tuple[str, ...]]) -> list[Row]:
    """Every row of a statement whose ``VALUES ??`` stands for ``tuples``.

    Asked in portions. A portion is filled up to a power of two with repetitions of its last
    tuple, so that there are few different statements for the databases to prepare.
    """
    rows: list[Row] = []
    for start in range(0, len(tuples), _PORTION):
        portion = list(tuples[start : start + _PORTION])
        portion += [portion[-1]] * ((1 << (len(portion) - 1).bit_length()) - len(portion))
        marks = "(" + ", ".join("?" * len(portion[0])) + ")"
        statement = sql.replace("??", ", ".join([marks] * len(portion)))
        rows += txn.all(statement, *(value for each in portion for value in each))
    return rows
