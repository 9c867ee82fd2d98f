"""One-time and fallback keys: taken in, handed out once, counted.

Client-server API, "One-time and fallback keys". A key that was handed out is remembered, so that
neither a repeated upload nor a restored backup can bring it into circulation again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson
from twisted.logger import Logger

from e2e.signatures import ONE_TIME_ALGORITHM
from schema.errors import BadRequest, InvalidParam
from storage import one_time_keys
from storage.device_lists import DeviceListChanged
from storage.freshness import Freshness
from storage.one_time_keys import Device, KeyCounts, KeysClaimed, OneTimeKeysChanged
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction

MOST_KEYS = 250
"""More than any client keeps; a client that uploads without measure pushes out its own oldest."""

MOST_REMEMBERED = 2_000
"""Issued keys whose ids are remembered: twenty times what a client's library can hold."""

MOST_CLAIMED = 10_000

Claimed = dict[str, dict[str, dict[str, orjson.Fragment]]]


class Counter(Protocol):
    """Something that the metrics count, for each device."""

    def labels(self, user_id: str, device_id: str) -> "Incremented":
        """The count of one device."""


class Incremented(Protocol):
    """One of its counts."""

    def inc(self) -> None:
        """Once more."""


class KeyExists(BadRequest):
    """A device has uploaded another key under the id of an earlier one."""


class OneTimeKeys:
    """What devices have in store for those who want to write to them."""

    _log = Logger()

    def __init__(
        self, store: Store, may_see: Callable[[str, str], bool], conflicts: Counter
    ) -> None:
        """``may_see(asker, user_id)`` says whether somebody may know of a person."""
        self._store = store
        self._may_see = may_see
        self._conflicts = conflicts

    def add(
        self,
        txn: WriteTransaction,
        device: Device,
        keys: Mapping[str, str],
        fallback: Mapping[str, str],
    ) -> bool:
        """Take in keys whose signatures have been checked; whether anything is new.

        An id that is known already is ignored when the key is the same, issued or not.

        Raises:
            KeyExists: it is another key.
        """
        known = one_time_keys.known(txn, device, ONE_TIME_ALGORITHM, keys)
        for key_id, json in known.items():
            if orjson.loads(json)["key"] != orjson.loads(keys[key_id])["key"]:
                # COMPAT(matrix-js-sdk, matrix-rust-sdk): clients know this sentence and the
                # errcode M_UNKNOWN, and tell their user that the session is broken.
                raise KeyExists(
                    f"One time key {ONE_TIME_ALGORITHM}:{key_id} already exists."
                    f" Old key: {json}; new key: {keys[key_id]}"
                )
        new = {key_id: keys[key_id] for key_id in sorted(keys) if key_id not in known}
        if new:
            added, issued = one_time_keys.lengthen(txn, device, ONE_TIME_ALGORITHM, len(new))
            one_time_keys.add(txn, device, ONE_TIME_ALGORITHM, new, added - len(new) + 1)
            if added - issued > MOST_KEYS:
                issued = added - MOST_KEYS
                one_time_keys.retire(txn, device, ONE_TIME_ALGORITHM, issued)
            if issued > MOST_REMEMBERED:
                upto = issued - MOST_REMEMBERED
                one_time_keys.forget(txn, device, ONE_TIME_ALGORITHM, upto)
        changed = bool(new)
        for key_id, json in fallback.items():
            changed |= one_time_keys.put_fallback(txn, device, ONE_TIME_ALGORITHM, key_id, json)
        return changed

    def note_conflict(self, device: Device, error: KeyExists) -> None:
        """Let the organizer know whose client has lost its memory."""
        self._conflicts.labels(*device).inc()
        self._log.warn(
            "Device {device_id} of {user_id} uses key ids twice, its messages may become"
            " unreadable: {sentence}",
            user_id=device[0],
            device_id=device[1],
            sentence=error.error.partition(" Old key")[0],
        )

    async def claim(self, asker: str, wanted: Mapping[str, Mapping[str, str]]) -> Claimed:
        """Hand out one key for each user id and device id: the oldest, else the fallback key.

        No one-time key is ever handed out twice. Devices that are unknown, or have nothing to
        give, are missing in the answer.

        Raises:
            InvalidParam: too many keys at once.
        """
        if sum(map(len, wanted.values())) > MOST_CLAIMED:
            raise InvalidParam(f"At most {MOST_CLAIMED} keys can be claimed at once")
        devices = [
            (user_id, device_id)
            for user_id, algorithms in wanted.items()
            if self._may_see(asker, user_id)
            for device_id, algorithm in algorithms.items()
            if algorithm == ONE_TIME_ALGORITHM
        ]
        claimed: Claimed = {}
        if devices:
            keys = await self._store.write(lambda txn: _claim(txn, devices))
            for (user_id, device_id), (key_id, json) in keys.items():
                key = {f"{ONE_TIME_ALGORITHM}:{key_id}": orjson.Fragment(json)}
                claimed.setdefault(user_id, {})[device_id] = key
        return claimed


def _claim(txn: WriteTransaction, devices: Sequence[Device]) -> dict[Device, tuple[str, str]]:
    claimed = one_time_keys.claim(txn, devices, ONE_TIME_ALGORITHM)
    keys = dict.fromkeys(claimed, False)
    if len(claimed) < len(devices):
        rest = [device for device in devices if device not in claimed]
        fallback = one_time_keys.use_fallback(txn, rest, ONE_TIME_ALGORITHM)
        keys |= dict.fromkeys(fallback, True)
        claimed |= fallback
    if keys:
        users = tuple({user_id for user_id, _ in keys})
        txn.announce(
            KeysClaimed(
                position=txn.position(), users=users, algorithm=ONE_TIME_ALGORITHM, keys=keys
            )
        )
    return claimed


def counted(left: KeyCounts) -> dict[str, int]:
    """The numbers as clients want them: what has run out is 0, not missing."""
    return {ONE_TIME_ALGORITHM: 0, **left.one_time_keys}


class KeyCountsPart:
    """How many keys each device has left, in every answer of /sync.

    Remembers one small record per device that syncs, with the position at which it was true; every
    change of the keys is a change on the stream.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left: dict[Device, tuple[int, KeyCounts]] = {}
        self._changed = Freshness()

    def load(self, position: int) -> None:
        """Begin where the stream is now: at the start, or after changes have been missed."""
        self._left.clear()
        self._changed = Freshness(position)

    def __len__(self) -> int:
        return len(self._left)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, OneTimeKeysChanged):
                self._left[change.device] = (change.position, change.left)
                self._changed.touch(change.device, change.position)
            elif isinstance(change, KeysClaimed):
                for device, is_fallback in change.keys.items():
                    at, left = self._left.get(device, (change.position, None))
                    if left is not None and at < change.position:
                        left = left.without(change.algorithm, is_fallback=is_fallback)
                        self._left[device] = (change.position, left)
                    self._changed.touch(device, change.position)
            elif isinstance(change, DeviceListChanged):
                for device_id in change.removed:
                    self._left.pop((change.user_id, device_id), None)
                    self._changed.touch((change.user_id, device_id), change.position)

    async def since(
        self, user_id: str, device_id: str, since: int | None, upto: int
    ) -> tuple[dict[str, Any], bool]:
        """The counts as they are now; news when they have changed after ``since``."""
        device = (user_id, device_id)
        _, left = self._left.get(device) or await self._look_up(device)
        news = since is not None and self._changed.may_have_changed(device, since)
        return {
            "device_one_time_keys_count": counted(left),
            "device_unused_fallback_key_types": list(left.unused_fallback_keys),
        }, news

    async def _look_up(self, device: Device) -> tuple[int, KeyCounts]:
        def work(txn: Transaction) -> tuple[int, KeyCounts]:
            position: int = txn.value("SELECT position FROM stream")
            return position, one_time_keys.left(txn, [device])[device]

        found = await self._store.read(work)
        if not self._changed.may_have_changed(device, found[0]):
            self._left[device] = found
        return found
