"""Where a person stands with their rooms at the moment of one answer."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from homeserver.rooms.hide import HiddenRooms
from homeserver.rooms.memberships import Memberships
from homeserver.sync.request import SyncRequest
from storage.members import Member


@frozen
class Standing:
    """The rooms that an answer is about, as far as its filter allows them."""

    joined: Sequence[str]
    """Those the person is in and sees."""
    outside: Mapping[str, Member]
    """Those they were invited to, ask to join, or have left."""
    hidden: Sequence[str]
    """Those they have hidden since the token."""
    back: frozenset[str]
    """Those that were hidden at the token and no longer are."""

    @classmethod
    def of(
        cls, request: SyncRequest, memberships: Memberships, hidden_rooms: HiddenRooms
    ) -> "Standing":
        """Where the person of ``request`` stands now."""
        wanted = request.filter.room.allows_room
        since = None if request.since is None else request.since.position
        hidings = hidden_rooms.of(request.user_id)
        joined, outside, hidden, back = [], {}, [], set()
        for room_id, member in memberships.of(request.user_id).items():
            hiding = hidings.get(room_id)
            recent = hiding is not None and since is not None and hiding.position > since
            if not wanted(room_id):
                continue
            if member.membership != "join":
                outside[room_id] = member
            elif hiding is None or not hiding.is_hidden:
                joined.append(room_id)
                if recent:
                    back.add(room_id)
            elif recent:
                hidden.append(room_id)
        return cls(joined, outside, hidden, frozenset(back))
