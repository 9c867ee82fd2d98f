"""/sync and what lives in memory beside it, put together."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from attrs import frozen

from homeserver.account_data import AccountDataPart, RoomAccountDataPart
from homeserver.assembly.database import Storage
from homeserver.assembly.rooms import Rooms
from homeserver.clock import system_clock
from homeserver.presence import Presence
from homeserver.receipts import ReceiptsPart
from homeserver.sync.ephemeral import Ephemeral
from homeserver.sync.joined import RoomView
from homeserver.sync.lazy import LazyMembers
from homeserver.sync.old_sync import OldSync
from homeserver.sync.parts import Part, ToDevicePart
from homeserver.sync.saved_filters import SavedFilters
from homeserver.sync.sync import Parts, Sync
from homeserver.sync.waiting import Waiters
from homeserver.typing_notices import TypingNotices
from storage.stream import Follower


@frozen
class Syncing:
    """What answers /sync."""

    waiters: Waiters
    presence: Presence
    typing: TypingNotices
    account_data: AccountDataPart
    room_account_data: RoomAccountDataPart
    receipts: ReceiptsPart
    lazy: LazyMembers
    sync: Sync
    old_sync: OldSync
    saved_filters: SavedFilters
    ephemeral: Ephemeral

    def start_at(self, position: int) -> None:
        """From this position of the stream on, the parts see every change."""
        self.account_data.start_at(position)
        self.room_account_data.start_at(position)
        self.receipts.start_at(position)

    @property
    def followers(self) -> Sequence[Follower]:
        """Who follows the stream, waiters last."""
        following = (
            self.account_data,
            self.room_account_data,
            self.receipts,
            self.presence,
            self.typing,
        )
        return [*(each.follow for each in following), self.waiters.follow]


def assemble_syncing(
    reactor: Any,
    storage: Storage,
    rooms: Rooms,
    device_lists: Part,
    key_counts: Part,
    to_device: ToDevicePart,
    together: Callable[[], AbstractContextManager[None]],
) -> Syncing:
    """Three of them are what encryption contributes; the last one is for ``Waiters``."""
    store = storage.store
    waiters = Waiters(reactor, rooms.memberships.joined, together)
    ephemeral = Ephemeral(system_clock, waiters.wake)
    presence = Presence(reactor, system_clock, ephemeral, rooms.memberships.sharing, rooms.ignored)
    typing = TypingNotices(reactor, ephemeral, rooms.cache, rooms.memberships.joined, rooms.ignored)
    account_data = AccountDataPart(store)
    room_account_data = RoomAccountDataPart(store)
    receipts = ReceiptsPart(store, rooms.cache, rooms.visibility)
    lazy = LazyMembers()
    parts = Parts(
        durable=[device_lists, key_counts, account_data, rooms.push.rules_part],
        device_lists=device_lists,
        key_counts=key_counts,
        ephemeral=[presence],
        in_rooms=[room_account_data, receipts],
        ephemeral_in_rooms=[typing],
        to_device=to_device,
        counts=rooms.push.counts,
    )
    sync = Sync(
        storage.stream,
        ephemeral,
        waiters,
        rooms.cache,
        rooms.memberships,
        rooms.hidden,
        rooms.invites,
        RoomView(rooms.timelines, rooms.visibility, rooms.relations, lazy, system_clock),
        parts,
        system_clock,
    )
    return Syncing(
        waiters,
        presence,
        typing,
        account_data,
        room_account_data,
        receipts,
        lazy,
        sync,
        OldSync(sync, rooms.history, system_clock),
        SavedFilters(store),
        ephemeral,
    )
