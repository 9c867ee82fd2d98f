"""Lazy-loaded members: which membership events a device has been sent already.

Client-server API, "Lazy-loading room members". Forgetting is harmless: the event is sent again.
"""

from collections import OrderedDict
from collections.abc import Iterable

from homeserver.rooms.room import Room
from storage.events import Event

MAX_REMEMBERED = 2_000


class LazyMembers:
    """What each device knows of the members of each room. Bounded; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], dict[str, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def forget(self, user_id: str, device_id: str, room_id: str) -> None:
        """The device begins anew with the room."""
        self._known.pop((user_id, device_id, room_id), None)

    def fresh(
        self, user_id: str, device_id: str, room: Room, members: Iterable[str], *, redundant: bool
    ) -> list[Event]:
        """The membership events of ``members`` that the device has not been sent as they are."""
        key = (user_id, device_id, room.room_id)
        known = self._known.setdefault(key, {})
        self._known.move_to_end(key)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        fresh = []
        for member in members:
            event = room.state.get("m.room.member", member)
            if event is not None and (redundant or known.get(member) != event.event_id):
                known[member] = event.event_id
                fresh.append(event)
        return fresh
