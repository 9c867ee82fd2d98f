"""A joined or left room in an answer of /sync: timeline, state, summary."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from itertools import pairwise
from typing import Any

import orjson
from attrs import frozen

from homeserver.clock import Clock
from homeserver.rooms.client_events import client_event, federation_event
from homeserver.rooms.relations import Relations
from homeserver.rooms.room import Room
from homeserver.rooms.stretches import EVER
from homeserver.rooms.visibility import Sight, Visibility
from homeserver.sync.lazy import LazyMembers
from homeserver.sync.request import SyncRequest
from homeserver.sync.timeline import Timeline, Timelines, allows
from homeserver.sync.token import room_token
from storage.events import Event

_MEMBER = "m.room.member"
_ALWAYS_A_MEMBER = Sight(((1, EVER),), ((1, "join"),))


@frozen
class RoomView:
    """Puts together what a client sees of one room."""

    timelines: Timelines
    visibility: Visibility
    relations: Relations
    lazy: LazyMembers
    clock: Clock

    async def since(
        self, request: SyncRequest, room: Room, since: int, upto: int
    ) -> tuple[dict[str, Any], bool]:
        """A room that the client knows: what has changed, and whether that is news."""
        timeline = await self.timelines.since(
            room, since, upto, request.filter.room.timeline, self.visibility.whole(request.user_id)
        )
        known = timeline.before
        if timeline.limited:
            known = await self.timelines.known_state(room, since)
        return await self._section(request, room, timeline, known, None)

    async def anew(
        self, request: SyncRequest, room: Room, upto: int, until: int = EVER
    ) -> tuple[dict[str, Any], bool]:
        """A room that the client sees for the first time, up to event ``until``."""
        sight = (await self.visibility.sight(room, request.user_id)).until(until)
        self.lazy.forget(request.user_id, request.viewer.device_id, room.room_id)
        timeline = await self.timelines.newest(room, upto, request.filter.room.timeline, sight)
        return await self._section(request, room, timeline.until(sight.last), 0, sight)

    async def returned(
        self, request: SyncRequest, room: Room, since: int, upto: int
    ) -> dict[str, Any]:
        """A room that the client knows, whose person has been out of it for a while.

        What they missed may be hidden from them, so the state comes as a whole.
        """
        sight = await self.visibility.sight(room, request.user_id)
        timeline = await self.timelines.since(
            room, since, upto, request.filter.room.timeline, sight
        )
        section, _ = await self._section(request, room, timeline, 0, sight)
        return section

    async def left(
        self, request: SyncRequest, room: Room, since: int, left_seq: int, upto: int
    ) -> dict[str, Any]:
        """A room that the person has left, been removed from, or declined, after ``since``.

        They are told so; of the rest nothing that came after the last event that they may see.
        """
        sight = (await self.visibility.sight(room, request.user_id)).until(left_seq)
        timeline = await self.timelines.since(
            room, since, upto, request.filter.room.timeline, sight
        )
        known = timeline.before
        if timeline.limited:
            known = await self.timelines.known_state(room, since)
        seen = timeline.until(sight.last)
        section, _ = await self._section(request, room, seen, min(known, seen.upto), sight)
        own = room.state.get(_MEMBER, request.user_id)
        if own is not None and not sight.sees(left_seq) and allows(request.filter.room.state, own):
            write = await self._writer(request, room, [own], sight)
            section[request.state_after or "state"]["events"].append(write(own))
        return section

    async def _section(
        self,
        request: SyncRequest,
        room: Room,
        timeline: Timeline,
        known: int,
        sight: Sight | None,
    ) -> tuple[dict[str, Any], bool]:
        """``known`` is the number of the event up to which the client knows the state."""
        state = await self._state(request, room, timeline, known, sight)
        bundles = await self._bundles(request, timeline, sight)
        chosen = [event for event in state if allows(request.filter.room.state, event)]
        write = await self._writer(request, room, [*timeline.events, *chosen], sight)
        section: dict[str, Any] = {
            "timeline": {
                "events": [
                    write(
                        event,
                        membership="join" if sight is None else sight.membership_at(event.seq),
                        relations=bundles.get(event.event_id),
                    )
                    for event in timeline.events
                ],
                "limited": timeline.limited,
                "prev_batch": room_token(timeline.before),
            },
            request.state_after or "state": {"events": [write(event) for event in chosen]},
        }
        is_inside = sight is None or sight.last == EVER
        moved = known == 0 or any(event.type == _MEMBER for event in (*timeline.events, *state))
        if is_inside and moved:
            section["summary"] = _summary(room, request.user_id)
        return section, bool(timeline.events or state or timeline.limited)

    async def _writer(
        self, request: SyncRequest, room: Room, wanted: Sequence[Event], sight: Sight | None
    ) -> Callable[..., orjson.Fragment]:
        """What turns the events of an answer into the format that the filter asks for."""
        without_quotes: Collection[str] = ()
        erased = self.visibility.erased_in(room)
        if any(e.quotes_past or e.is_redacted or e.sender in erased for e in wanted):
            sight = sight or await self.visibility.sight(room, request.user_id)
            without_quotes = await self.visibility.without_quotes(sight, request.user_id, wanted)
        envelopes = None
        if request.filter.event_format == "federation":
            envelopes = await self.timelines.envelopes(wanted)
        now = self.clock()

        def write(event: Event, **more: Any) -> orjson.Fragment:
            more["with_quotes"] = event.event_id not in without_quotes
            event = event if sight is None else sight.seen(event)
            if envelopes is None:
                return client_event(event, request.viewer, now, with_room_id=False, **more)
            envelope = envelopes[event.event_id]
            return federation_event(room.version, event, envelope, request.viewer, now, **more)

        return write

    async def _bundles(
        self, request: SyncRequest, timeline: Timeline, sight: Sight | None
    ) -> Mapping[str, str]:
        """Bundled aggregations, which a client needs only where it has a gap.

        What relates to an event comes after it, so without a gap it is in the timeline itself.
        """
        if not timeline.limited:
            return {}
        related = {event.relates_to for event in timeline.events}
        may_have = not request.filter.room.timeline.allows_all or any(
            event.event_id in related for event in timeline.events
        )
        if not may_have:
            return {}
        shown = sight or self.visibility.whole(request.user_id) or _ALWAYS_A_MEMBER
        return await self.relations.bundles(
            request.viewer, timeline.events, shown.until(timeline.upto)
        )

    async def _state(
        self,
        request: SyncRequest,
        room: Room,
        timeline: Timeline,
        known: int,
        sight: Sight | None,
    ) -> Sequence[Event]:
        """What the client must know of the state besides the timeline."""
        at_end = request.state_after is not None
        edge = timeline.upto if at_end else timeline.before
        if request.full_state or known == 0:
            state = await self._whole_state(request, room, timeline, edge)
        else:
            state = await self.timelines.state_between(room, known, edge)
        if not request.filter.lazy_load_members:
            return state
        missed: set[str] = set()
        if known == 0 and sight is not None and request.since is not None:
            missed = _missed(room, sight, await self.timelines.seq_at(room, request.since.position))
        return self._with_lazy_members(request, room, timeline, state, known, missed)

    async def _whole_state(
        self, request: SyncRequest, room: Room, timeline: Timeline, edge: int
    ) -> Sequence[Event]:
        if not request.filter.lazy_load_members:
            return await self.timelines.state_at(room, edge)
        keys = [(e.type, e.state_key or "") for e in room.state if e.type != _MEMBER]
        return await self.timelines.state_at(room, edge, keys)

    def _with_lazy_members(
        self,
        request: SyncRequest,
        room: Room,
        timeline: Timeline,
        state: Iterable[Event],
        known: int,
        missed: Set[str],
    ) -> Sequence[Event]:
        """Members only as far as the timeline, the summary or a gap needs them."""
        needed = {event.sender for event in timeline.events} | missed
        if known == 0 or request.full_state:
            needed |= {request.user_id, *room.state.heroes(request.user_id)}
        shown = {
            event.state_key
            for event in timeline.events
            if event.type == _MEMBER and request.state_after is None
        }
        members = self.lazy.fresh(
            request.user_id,
            request.viewer.device_id,
            room,
            sorted(needed - shown),
            redundant=request.filter.include_redundant_members or request.full_state,
        )
        already = {event.event_id for event in members}
        return [event for event in state if event.event_id not in already] + members


def _missed(room: Room, sight: Sight, synced: int) -> set[str]:
    """Whose membership changed while the person was out of the room.

    The client still has the members it saw when they left, and would go on to encrypt for somebody
    who has left since. ``synced`` is the number of the event up to which it has asked before.
    """
    if sight.membership_at(synced) != "join":
        ends = [end for (_, was), (end, _) in pairwise(sight.steps) if was == "join"]
        synced = max((end for end in ends if end <= synced), default=room.seq)
    return {
        event.state_key or ""
        for event in room.state
        if event.type == _MEMBER and event.seq > synced
    }


def _summary(room: Room, user_id: str) -> dict[str, Any]:
    """Client-server API, "RoomSummary"."""
    return {
        "m.heroes": room.state.heroes(user_id),
        "m.joined_member_count": room.state.count("join"),
        "m.invited_member_count": room.state.count("invite"),
    }
