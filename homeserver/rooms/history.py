"""Reading a room: its past, its state, its members. Always through what the reader may see."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

from homeserver.clock import Clock
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.client_events import Viewer, client_event
from homeserver.rooms.relations import Relations
from homeserver.rooms.room import Room
from homeserver.rooms.stretches import EVER
from homeserver.rooms.visibility import Sight, Visibility
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.timeline import Timelines, allows
from homeserver.sync.token import SyncToken, parse_room_token, room_token
from schema.errors import Forbidden, NotFound
from storage import events
from storage.events import Event
from storage.store import Store
from storage.transaction import Transaction

MAX_PAGE = 1000
MAX_LOOKED_AT = 5000


@frozen
class Page:
    """Some events of a room, and where the next page begins; None at the room's end."""

    events: Sequence[Event]
    next_seq: int | None


@frozen
class History:
    """Client-server API, "Getting events for a room" and "Event Context"."""

    store: Store
    rooms: RoomCache
    visibility: Visibility
    timelines: Timelines
    relations: Relations
    clock: Clock

    async def messages(
        self,
        viewer: Viewer,
        room_id: str,
        *,
        backwards: bool,
        start: str | None,
        end: str | None,
        limit: int,
        wanted: RoomEventFilter,
    ) -> dict[str, Any]:
        """A page of the room's past. Pages end at the room's start, never at an empty page.

        Raises:
            Forbidden: the reader may see nothing of the room.
            InvalidParam: a token is not of this server.
        """
        room, sight = await self._enter(viewer, room_id)
        from_seq = await self._seq_of(room, start, room.seq if backwards else 0)
        to_seq = await self._seq_of(room, end, 0 if backwards else room.seq)
        from_seq, to_seq = min(from_seq, room.seq), min(to_seq, room.seq)
        limit = max(1, min(limit, MAX_PAGE))

        def work(txn: Transaction) -> tuple[Page, dict[str, str]]:
            page = _page(txn, room_id, from_seq, to_seq, backwards, limit, wanted, sight)
            return page, self.relations.read_bundles(txn, viewer, page.events, sight)

        page, bundles = await self.store.read(work)
        answer: dict[str, Any] = {
            "chunk": await self._shown(viewer, page.events, sight, bundles),
            "start": room_token(from_seq),
        }
        if page.next_seq is not None:
            answer["end"] = room_token(page.next_seq)
        if wanted.lazy_load_members:
            senders = sorted({event.sender for event in page.events})
            found = (room.state.get("m.room.member", sender) for sender in senders)
            members = [member for member in found if member is not None]
            answer["state"] = await self.show(viewer, members, sight)
        return answer

    async def context(
        self, viewer: Viewer, room_id: str, event_id: str, limit: int, wanted: RoomEventFilter
    ) -> dict[str, Any]:
        """An event, what came just before and after it, and the state after all that."""
        room, sight = await self._enter(viewer, room_id)
        event = await self._visible_event(room, sight, event_id)
        limit = max(0, min(limit, MAX_PAGE))
        after = limit // 2

        def work(txn: Transaction) -> tuple[Page, Page]:
            seq = event.seq
            return (
                _page(txn, room_id, seq - 1, 0, True, limit - after, wanted, sight),
                _page(txn, room_id, seq, room.seq, False, after, wanted, sight),
            )

        older, newer = await self.store.read(work)
        last = newer.events[-1].seq if newer.events else event.seq
        first = older.events[-1].seq if older.events else event.seq
        state = await self.timelines.state_at(room, last)
        if wanted.lazy_load_members:
            senders = {each.sender for each in (event, *older.events, *newer.events)}
            state = [e for e in state if e.type != "m.room.member" or e.state_key in senders]
        state = [e for e in state if allows(wanted, e)]
        return {
            "event": (await self.show(viewer, [event], sight))[0],
            "events_before": await self.show(viewer, older.events, sight),
            "events_after": await self.show(viewer, newer.events, sight),
            "state": await self.show(viewer, state, sight),
            "start": room_token(first - 1),
            "end": room_token(last),
        }

    async def event(self, viewer: Viewer, room_id: str, event_id: str) -> Any:
        """One event.

        Raises:
            NotFound: there is none, or the reader may not see it.
        """
        room = await self.rooms.find(room_id)
        if room is None:
            raise NotFound("There is no such event")
        sight = await self.visibility.sight(room, viewer.user_id)
        return (await self.show(viewer, [await self._visible_event(room, sight, event_id)], sight))[
            0
        ]

    async def state(self, viewer: Viewer, room_id: str) -> list[Any]:
        """The state now; for somebody who has left, as it was then."""
        room, sight = await self._enter(viewer, room_id)
        found = await self._state_in_sight(room, sight)
        return await self.show(viewer, found, sight)

    async def state_event(
        self, viewer: Viewer, room_id: str, event_type: str, state_key: str
    ) -> tuple[dict[str, Any], Any]:
        """The content of one piece of state, and the whole event.

        Raises:
            NotFound: the room has no such state.
        """
        room, sight = await self._enter(viewer, room_id)
        seq = min(sight.last, room.seq)
        found = await self.timelines.state_at(room, seq, [(event_type, state_key)])
        if not found:
            raise NotFound("The room has no such state")
        return sight.seen(found[0]).content, (await self.show(viewer, found, sight))[0]

    async def members(
        self,
        viewer: Viewer,
        room_id: str,
        *,
        at: str | None,
        wanted: str | None,
        unwanted: str | None,
    ) -> list[Any]:
        """The membership events of the room, now or at a place in it.

        Where the place is out of sight, those of the last moment before it that is not.
        """
        room, sight = await self._enter(viewer, room_id)
        seq = min(sight.last, room.seq)
        if at is not None:
            seq = sight.until(await self._seq_of(room, at, seq)).last
        keys = [("m.room.member", user_id) for user_id in room.state.memberships()]
        found = await self.timelines.state_at(room, seq, keys)
        memberships = room.state.memberships()

        def standing(event: Event) -> str:
            current = room.state.get("m.room.member", event.state_key or "")
            if current is event:
                return memberships[event.state_key or ""]
            return str(event.content.get("membership", "leave"))

        chosen = [
            event
            for event in found
            if (wanted is None and unwanted is None)
            or (wanted is not None and standing(event) == wanted)
            or (unwanted is not None and standing(event) != unwanted)
        ]
        return await self.show(viewer, chosen, sight)

    async def joined_members(self, user_id: str, room_id: str) -> dict[str, dict[str, str]]:
        """Who is in the room now, with the names and pictures they have there.

        Raises:
            Forbidden: the reader is not in it.
        """
        room = await self.rooms.find(room_id)
        if room is None or room.state.membership(user_id) != "join":
            raise Forbidden("You are not a member of this room")
        joined = {}
        for member, membership in room.state.memberships().items():
            if membership == "join":
                content = room.state.content("m.room.member", member)
                names = {"display_name": content.get("displayname")}
                names["avatar_url"] = content.get("avatar_url")
                joined[member] = {k: v for k, v in names.items() if isinstance(v, str)}
        return joined

    async def show(self, viewer: Viewer, chosen: Collection[Event], sight: Sight) -> list[Any]:
        """Events as the reader's device gets them, with bundled aggregations."""
        bundles = await self.relations.bundles(viewer, chosen, sight)
        return await self._shown(viewer, chosen, sight, bundles)

    async def _shown(
        self, viewer: Viewer, chosen: Collection[Event], sight: Sight, bundles: Mapping[str, str]
    ) -> list[Any]:
        now = self.clock()
        without_quotes = await self.visibility.without_quotes(sight, viewer.user_id, chosen)
        return [
            client_event(
                sight.seen(event),
                viewer,
                now,
                membership=sight.membership_at(event.seq),
                with_quotes=event.event_id not in without_quotes,
                relations=bundles.get(event.event_id),
            )
            for event in chosen
        ]

    async def _enter(self, viewer: Viewer, room_id: str) -> tuple[Room, Sight]:
        room = await self.rooms.find(room_id)
        if room is None:
            raise Forbidden("You are not a member of this room")
        return room, await self.visibility.needed(room, viewer.user_id)

    async def _visible_event(self, room: Room, sight: Sight, event_id: str) -> Event:
        event = await self.store.read(lambda txn: events.find(txn, room.room_id, event_id))
        if event is None or not sight.shows(event):
            raise NotFound("There is no such event, or you may not see it")
        return event

    async def _state_in_sight(self, room: Room, sight: Sight) -> list[Event]:
        if sight.last == EVER:
            return list(room.state)
        return await self.timelines.state_at(room, min(sight.last, room.seq))

    async def _seq_of(self, room: Room, token: str | None, default: int) -> int:
        if token is None:
            return default
        place = parse_room_token(token)
        if isinstance(place, SyncToken):
            return await self.timelines.seq_at(room, place.position)
        return place


def _page(
    txn: Transaction,
    room_id: str,
    start: int,
    end: int,
    backwards: bool,
    limit: int,
    wanted: RoomEventFilter,
    sight: Sight,
) -> Page:
    """Up to ``limit`` events that pass the filter; looks at a bounded number of others."""
    chosen: list[Event] = []
    at, looked_at = start, 0
    while len(chosen) < limit and looked_at < MAX_LOOKED_AT:
        size = max(limit - len(chosen), 50)
        if backwards:
            page = events.backwards(txn, room_id, at, end, size)
        else:
            page = events.forwards(txn, room_id, at, end, size)
        if not page:
            return Page(chosen, None)
        for event in page:
            looked_at += 1
            at = event.seq - 1 if backwards else event.seq
            if sight.shows(event) and allows(wanted, sight.seen(event)):
                chosen.append(event)
                if len(chosen) == limit:
                    break
    ended = at <= end if backwards else at >= end
    return Page(chosen, None if ended and backwards else at)
