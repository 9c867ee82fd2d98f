"""Device lists: whose keys have changed, told to everyone who needs to know.

A change is written in the transaction of what caused it, so no key is ever public without it
(client-server API, "Tracking the device list for a user").
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from attrs import frozen

from storage import device_lists
from storage.device_lists import EVERYONE, DeviceListChanged
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction


class Neighbours(Protocol):
    """Whose devices somebody's clients have to know."""

    def tracked_by(self, user_id: str) -> Collection[str]:
        """Everyone who is in a joined room of a person's now or invited to it, and the person."""

    def rooms_tracking(self, user_id: str) -> Collection[str]:
        """The rooms whose members have to know a person's devices."""

    async def changes(self, user_id: str, since: int, upto: int) -> tuple[set[str], set[str]]:
        """Who has come among the tracked after ``since``, and who is there no more."""


@frozen
class Announcer:
    """Writes changes of device lists and wakes those who see them."""

    neighbours: Neighbours

    def changed(self, txn: WriteTransaction, user_id: str, removed: Collection[str] = ()) -> None:
        """A person's devices, their names or their cross-signing keys are others than before."""
        position = txn.position()
        device_lists.put(txn, user_id, EVERYONE, position)
        txn.announce(
            DeviceListChanged(
                position=position,
                users=(user_id,),
                rooms=tuple(self.neighbours.rooms_tracking(user_id)),
                user_id=user_id,
                removed=tuple(removed),
            )
        )

    def signed(self, txn: WriteTransaction, signer: str, user_id: str) -> None:
        """``signer`` has signed somebody's key, which only ``signer`` may see."""
        position = txn.position()
        device_lists.put(txn, user_id, signer, position)
        txn.announce(
            DeviceListChanged(position=position, users=(signer,), user_id=user_id, seen_by=signer)
        )


class DeviceLists:
    """Whose devices somebody must ask for again. Answers from memory: one number per person.

    A part of /sync, and what /keys/changes says.
    """

    def __init__(self, store: Store, neighbours: Neighbours) -> None:
        self._store = store
        self._neighbours = neighbours
        self._newest: dict[str, dict[str, int]] = defaultdict(dict)
        self._last = 0

    def load(self) -> None:
        """Fill the memory: at the start, or after changes have been missed. Blocks."""
        for user_id, seen_by, position in self._store.load(device_lists.all_changes):
            self._newest[seen_by][user_id] = position
            self._last = max(self._last, position)

    def __len__(self) -> int:
        return sum(len(people) for people in self._newest.values())

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, DeviceListChanged):
                self._newest[change.seen_by][change.user_id] = change.position
                self._last = change.position

    async def changes(self, user_id: str, since: int, upto: int) -> tuple[set[str], set[str]]:
        """Whose keys have changed for a person after ``since``, and whose are no concern any more.

        Nothing that changed up to ``upto`` is missing. What changed even later may be named
        already; it will be named again.
        """
        met, left = await self._neighbours.changes(user_id, since, upto)
        changed = set(met)
        if self._last > since:
            others = self._newest[EVERYONE]
            tracked = self._neighbours.tracked_by(user_id)
            changed |= {other for other in tracked if others.get(other, 0) > since}
            own = self._newest.get(user_id, {})
            changed |= {other for other, position in own.items() if position > since}
        return changed, left

    async def since(
        self, user_id: str, device_id: str, since: int | None, upto: int
    ) -> tuple[dict[str, Any], bool]:
        """``device_lists`` of an incremental /sync, if there is something to say."""
        if since is None:
            return {}, False
        changed, left = await self.changes(user_id, since, upto)
        if not changed and not left:
            return {}, False
        return {"device_lists": {"changed": sorted(changed), "left": sorted(left)}}, True
