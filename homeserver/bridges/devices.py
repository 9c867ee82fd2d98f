"""What a service needs to encrypt for its users: to-device messages, device lists, key counts.

The proposals MSC4203 and MSC3202, by the names that bridges use.

A message waits in the queue of its device until one consumer has acknowledged it. The service is
that consumer, if its registration says that it encrypts by transactions (MSC3202), or if nobody is
logged in on the device who could sync. Else /sync is: a bridge that logs its bot in and syncs would
otherwise lose what it has acknowledged without having looked. Either way a /sync of the device
shows what still waits, so nothing is out of reach, and nobody who uses one way gets anything twice.

People whom a namespace covers so that a service can act as them (double puppeting) keep their
messages: the service is given only what is for users who are its alone, or have no password.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from orjson import Fragment, dumps

from homeserver.bridges.interest import LARGEST, Interest
from homeserver.bridges.parts import Share
from homeserver.rooms.changes import EventAdded
from storage import devices, one_time_keys, to_device
from storage.device_lists import DeviceListChanged
from storage.one_time_keys import KeyCounts, KeysClaimed, OneTimeKeysChanged
from storage.stream import Change
from storage.to_device import Device, ToDeviceSent, Waiting
from storage.transaction import Transaction

MOST_MESSAGES = 100
TO_DEVICE = "de.sorunome.msc2409.to_device"
DEVICE_LISTS = "org.matrix.msc3202.device_lists"
COUNTS = "org.matrix.msc3202.device_one_time_keys_count"
COUNTS_MISSPELT = "org.matrix.msc3202.device_one_time_key_counts"
"""COMPAT(synapse): what it wrote first, and what some libraries read."""
FALLBACK = "org.matrix.msc3202.device_unused_fallback_key_types"


@frozen
class EncryptionHooks:
    """What encryption knows."""

    changes: Callable[[str, int, int], Awaitable[tuple[set[str], set[str]]]]
    """Whose devices have changed for somebody between two positions, and whom they have left."""
    counted: Callable[[KeyCounts], dict[str, int]]
    """The numbers of keys as clients want them."""
    handed_over: Callable[[Mapping[Device, int]], None]
    """The queues of devices have been emptied up to these positions."""


@define
class ToDevicePart:
    """Messages to devices of the service's users, each until it is acknowledged.

    What waits is read from the queues themselves, not along the stream: nothing that is in them can
    be passed over.
    """

    interest: Interest
    _may_wait: bool = field(default=True, init=False)

    def concerns(self, change: Change) -> bool:
        """As a part."""
        concerned = isinstance(change, ToDeviceSent) and any(
            map(self.interest.service.covers_user, change.users)
        )
        self._may_wait = self._may_wait or concerned
        return concerned

    async def gather(self, after: int, upto: int) -> Share:
        """As a part."""
        if not self._may_wait:
            return Share(upto)
        self._may_wait = False  # unless something comes while the database is asked
        waiting: list[Waiting] = []
        try:
            waiting = await self.interest.store.read(self._waiting)
        finally:
            # Certain only once they have been found empty.
            self._may_wait = self._may_wait or bool(waiting)
        if not waiting:
            return Share(upto)
        size, taken = 0, []
        for message in waiting:
            taken.append(message)
            size += len(message.json)
            if size > LARGEST:
                break
        return Share(
            upto,
            {TO_DEVICE: [_addressed(message) for message in taken]},
            is_kept=True,
            has_more=len(taken) < len(waiting) or len(waiting) == MOST_MESSAGES,
            to_device={message.device: message.position for message in taken},
        )

    def _waiting(self, txn: Transaction) -> list[Waiting]:
        service = self.interest.service
        people = [
            user_id
            for user_id, is_own in devices.owners(txn)
            if service.reserves_user(user_id) or (not is_own and service.covers_user(user_id))
        ]
        return to_device.waiting(
            txn, people, MOST_MESSAGES, but_logged_in=not service.tracks_devices
        )


def _addressed(message: Waiting) -> Fragment:
    """The message as it is stored, with whom it is for."""
    user_id, device_id = (dumps(part).decode() for part in message.device)
    return Fragment(f'{message.json[:-1]},"to_user_id":{user_id},"to_device_id":{device_id}}}')


@define
class DeviceListsPart:
    """Whose devices the service's users have to ask for again."""

    interest: Interest
    hooks: EncryptionHooks
    _newest: int
    """The position of the last change that may concern the service."""

    def concerns(self, change: Change) -> bool:
        """As a part."""
        if isinstance(change, DeviceListChanged):
            concerned = self.interest.service.covers_user(change.user_id) or any(
                map(self.interest.in_room, change.rooms)
            )
        else:
            concerned = (
                isinstance(change, EventAdded)
                and change.event.type == "m.room.member"
                and (
                    self.interest.in_event(change.event)
                    or self.interest.in_room(change.event.room_id)
                )
            )
        if concerned:
            self._newest = change.position
        return concerned

    async def gather(self, after: int, upto: int) -> Share:
        """As a part."""
        if self._newest <= after:
            return Share(upto)
        covers = self.interest.service.covers_user
        own = list(filter(covers, await self.interest.store.read(devices.people)))
        changed: set[str] = set()
        left: set[str] = set()
        for user_id in own:
            now_changed, now_left = await self.hooks.changes(user_id, after, upto)
            changed |= now_changed
            left |= now_left
        sharing = self.interest.memberships.sharing
        left -= changed.union(*map(sharing, own)) if left else set()
        if not changed and not left:
            return Share(upto)
        lists = {"changed": sorted(changed), "left": sorted(left)}
        return Share(upto, {DEVICE_LISTS: lists}, is_kept=True)


@define
class KeyCountsPart:
    """How many keys are left for the service's devices, whenever that has changed.

    A service hears of all of its devices with its first transaction after a start.
    """

    interest: Interest
    hooks: EncryptionHooks
    _due: set[str] | None = None
    """The people whose counts have changed; None: everybody's may have."""

    def concerns(self, change: Change) -> bool:
        """As a part."""
        if isinstance(change, KeysClaimed | OneTimeKeysChanged):
            people = change.users
        elif isinstance(change, DeviceListChanged):
            people = (change.user_id,)
        else:
            return False
        concerned = set(filter(self.interest.service.covers_user, people))
        if self._due is not None:
            self._due |= concerned
        return bool(concerned)

    async def gather(self, after: int, upto: int) -> Share:
        """As a part."""
        due, self._due = self._due, set()
        if due is not None and not due:
            return Share(upto)
        covers = self.interest.service.covers_user

        def work(txn: Transaction) -> dict[Device, KeyCounts]:
            people = filter(covers, devices.people(txn)) if due is None else due
            return one_time_keys.left(txn, to_device.devices_of(txn, people))

        try:
            found = await self.interest.store.read(work)
        except BaseException:
            self._due = None
            raise
        if not found:
            return Share(upto)
        counts: dict[str, Any] = {}
        fallback: dict[str, Any] = {}
        for (user_id, device_id), left in found.items():
            counts.setdefault(user_id, {})[device_id] = self.hooks.counted(left)
            fallback.setdefault(user_id, {})[device_id] = list(left.unused_fallback_keys)
        return Share(upto, {COUNTS: counts, COUNTS_MISSPELT: counts, FALLBACK: fallback})
