"""Jumping to a date: the event of a room that is closest to a moment."""

from attrs import frozen

from homeserver.rooms.cache import RoomCache
from homeserver.rooms.stretches import EVER
from homeserver.rooms.visibility import Sight, Visibility
from schema.errors import Forbidden, NotFound
from storage.store import Store
from storage.timestamps import Moment, moments
from storage.transaction import Transaction

PAGE = 100
MAX_LOOKED_AT = 5000


@frozen
class Timestamps:
    """Client-server API, ``timestamp_to_event``."""

    store: Store
    rooms: RoomCache
    visibility: Visibility

    async def closest(self, user_id: str, room_id: str, ts: int, *, backwards: bool) -> Moment:
        """The first event at ``ts`` or after it, or the last one at ``ts`` or before it.

        Raises:
            Forbidden: the reader may see nothing of the room.
            NotFound: on that side of ``ts`` there is nothing that the reader may see.
        """
        room = await self.rooms.find(room_id)
        if room is None:
            raise Forbidden("You are not a member of this room")
        sight = await self.visibility.needed(room, user_id)
        moment = await self.store.read(lambda txn: _closest(txn, room_id, ts, backwards, sight))
        if moment is None:
            side = "before" if backwards else "after"
            raise NotFound(f"There is no event {side} this moment that you may see")
        return moment


def _closest(
    txn: Transaction, room_id: str, ts: int, backwards: bool, sight: Sight
) -> Moment | None:
    """Between what the reader may see lies at times what they may not: that is stepped over."""
    first, last = sight.stretches[0][0], sight.last
    place = ts, EVER if backwards else 0
    for _ in range(0, MAX_LOOKED_AT, PAGE):
        page = moments(txn, room_id, place, first, last, PAGE, backwards=backwards)
        for moment in page:
            if sight.shows(moment):
                return moment
        if len(page) < PAGE:
            return None
        place = page[-1].origin_server_ts, page[-1].seq + (-1 if backwards else 1)
    return None
