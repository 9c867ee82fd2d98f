"""Hiding a conversation: it leaves one's /sync until somebody writes, or until one wants it back.

Nobody else notices. To the person's devices a hidden room looks like one that they have left, and
one that comes back like one that they have joined anew, so every client knows what to do.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attrs import frozen

from homeserver.ignored_people import IgnoredPeople
from homeserver.requester import Requester
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.room import Room
from schema.errors import Forbidden
from storage import hidden_rooms
from storage.events import Event
from storage.hidden_rooms import Hiding, HidingChanged
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction

_NOTHING: Mapping[str, Hiding] = MappingProxyType({})


class HiddenRooms:
    """Who hides what, in memory: one entry per person and room that was ever hidden."""

    def __init__(self, store: Store, ignored: IgnoredPeople) -> None:
        self._store = store
        self._ignored = ignored
        self._by_user: dict[str, dict[str, Hiding]] = defaultdict(dict)
        self._by_room: dict[str, set[str]] = defaultdict(set)

    def load(self) -> None:
        """Fill the memory; once, before the reactor runs."""
        for hiding in self._store.load(hidden_rooms.everything):
            self._put(hiding)

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, HidingChanged):
                self._put(change.hiding)

    def of(self, user_id: str) -> Mapping[str, Hiding]:
        """What a person hides or has hidden, by room."""
        return self._by_user.get(user_id, _NOTHING)

    def stored(self, txn: WriteTransaction, before: Room, after: Room, event: Event) -> None:
        """As a watcher of the journal: a message brings the room back to everybody who hid it.

        Not to those who ignore its sender: they are not shown it.
        """
        if event.state_key is not None or event.type == "m.room.redaction":
            return
        fresh = txn.overlay.get(_key(event.room_id), frozenset())
        for user_id in fresh | self._by_room.get(event.room_id, set()):
            if event.sender not in self._ignored.of(user_id):
                hidden_rooms.put(txn, Hiding(user_id, event.room_id, False, txn.position()))

    def _put(self, hiding: Hiding) -> None:
        self._by_user[hiding.user_id][hiding.room_id] = hiding
        if hiding.is_hidden:
            self._by_room[hiding.room_id].add(hiding.user_id)
        else:
            self._by_room[hiding.room_id].discard(hiding.user_id)


@frozen
class Hide:
    """Hides and shows rooms."""

    store: Store
    rooms: RoomCache

    async def change(self, requester: Requester, room_id: str, hidden: bool) -> None:
        """Hide a room that the person is in, or show it again.

        Raises:
            Forbidden: they are not in it.
        """

        def work(txn: WriteTransaction) -> None:
            room = self.rooms.head(txn, room_id)
            if room.state.membership(requester.user_id) != "join":
                raise Forbidden("You can only hide a conversation that you are in")
            hiding = Hiding(requester.user_id, room_id, hidden, txn.position())
            hidden_rooms.put(txn, hiding)
            if hidden:
                key = _key(room_id)
                txn.overlay[key] = txn.overlay.get(key, frozenset()) | {requester.user_id}

        await self.store.write(work)


def _key(room_id: str) -> tuple[str, str]:
    """Where work that is not public yet says who has hidden a room."""
    return ("hidden", room_id)
