"""Searching: what somebody looks for, among all that they may see."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from homeserver.rooms.cache import RoomCache
from homeserver.rooms.client_events import Viewer
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.room import Room
from homeserver.rooms.visibility import Sight, Visibility
from homeserver.search import page
from homeserver.search.batch import Batch, Group
from homeserver.search.index import KEYS
from homeserver.search.page import Page
from homeserver.search.shown import Shown
from homeserver.search.wish import Wish
from homeserver.search.words import Term, terms_of
from storage.search import Query, Stretch
from storage.store import Store
from storage.stream import Stream

MAX_STRETCHES = 5_000
"""Nobody is in so many rooms. Of more than these, the rooms that were busy last are searched."""

MAX_UNSAID = 2_000
"""The same where people have erased what they said there: rooms beyond are not searched."""


@frozen
class Search:
    """Client-server API, "Server Side Search".

    The rank of a hit is the part of its words that was looked for: it does not change when more is
    written, so pages stay what they are. Of a frequent word only the newest hits are ranked, and
    how many there are is estimated, as ``count`` may be. Conversations that somebody hides are
    searched as well: that is how one finds them again.
    """

    store: Store
    stream: Stream
    rooms: RoomCache
    memberships: Memberships
    visibility: Visibility
    shown: Shown

    async def room_events(
        self, viewer: Viewer, wish: Wish, next_batch: str | None
    ) -> dict[str, Any]:
        """A page of what matches in the rooms that the person has been in, as far as they see it.

        Raises:
            InvalidParam: the token is not of this server.
        """
        batch = None if next_batch is None else Batch.parse(next_batch)
        group = None if batch is None else batch.group
        # What comes after this moment, nobody has looked at yet whether the person may see it.
        upto = self.stream.position
        rooms = await self._rooms(viewer.user_id, wish, group)
        terms = terms_of(wish.search_term)
        query = _query(wish, terms, rooms, group, upto if batch is None else min(batch.upto, upto))
        sights = {room.room_id: sight for room, sight in rooms}
        found = Page()
        if query is not None:
            found = await self.store.read(lambda txn: page.read(txn, query, wish, batch, sights))
        return await self.shown.answer(viewer, wish, found, sights)

    async def _rooms(
        self, user_id: str, wish: Wish, group: Group | None
    ) -> list[tuple[Room, Sight]]:
        """The rooms to search, with what the person may see of each; the busiest lately first.

        Encrypted rooms are not searched, nor are those that the person has never joined or wants
        to see no more.
        """
        found = []
        for room_id in list(self.memberships.of(user_id)):
            in_group = group is None or group.key != "room_id" or group.value == room_id
            if not in_group or not wish.wanted.allows_room(room_id):
                continue
            room = await self.rooms.find(room_id)
            if room is None or room.is_encrypted:
                continue
            sight = await self.visibility.sight(room, user_id)
            if any(membership == "join" for _, membership in sight.steps):
                found.append((room, sight.until(room.seq)))
        return sorted(found, key=lambda each: each[0].position, reverse=True)


def _query(
    wish: Wish,
    terms: Sequence[Term],
    rooms: Sequence[tuple[Room, Sight]],
    group: Group | None,
    upto: int,
) -> Query | None:
    """The question to the index; None when nothing can be found."""
    allowed = [key for type_, key in KEYS.items() if wish.wanted.allows_type(type_)]
    keys = [key for key in allowed if key in wish.keys]
    whole_rooms: list[str] = []
    stretches: list[Stretch] = []
    unsaid: list[tuple[str, str, int, int]] = []
    for room, sight in rooms:
        unsaid += [(room.room_id, *each) for each in sight.unsaid]
        if len(unsaid) > MAX_UNSAID:
            break
        if sight.stretches == ((1, room.seq),):
            whole_rooms.append(room.room_id)
        else:
            stretches += [(room.room_id, first, last) for first, last in sight.stretches]
    # The one place that decides whose messages are found.
    senders, not_senders = wish.wanted.senders, wish.wanted.not_senders
    if group is not None and group.key == "sender":
        senders = frozenset({group.value} if senders is None else senders & {group.value})
    if not (terms and keys and rooms) or senders == frozenset():
        return None
    return Query(
        words=[(term.word, term.is_prefix) for term in terms],
        whole_rooms=whole_rooms[:MAX_STRETCHES],
        stretches=stretches[:MAX_STRETCHES],
        keys=keys,
        senders=senders,
        not_senders=not_senders,
        ignored=rooms[0][1].ignored,
        unsaid=unsaid[:MAX_UNSAID],
        has_url=wish.wanted.contains_url,
        upto=upto,
    )
