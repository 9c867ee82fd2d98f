"""/sync: what happened since a token, in one answer (client-server API, "Syncing")."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve, frozen

from homeserver.clock import Clock
from homeserver.invite_permission import InvitePermission
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.client_events import client_event, stripped_event
from homeserver.rooms.hide import HiddenRooms
from homeserver.rooms.meetings import memberships_of
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.room import Room
from homeserver.sync.ephemeral import Ephemeral
from homeserver.sync.joined import RoomView
from homeserver.sync.parts import CountsPart, Part, RoomPart, ToDevicePart
from homeserver.sync.request import SyncRequest
from homeserver.sync.standing import Standing
from homeserver.sync.token import SyncToken, room_token
from homeserver.sync.waiting import Waiters
from storage.members import Member, Step
from storage.stream import Stream

_STRIPPED = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


@frozen
class Parts:
    """Who contributes to answers, besides the rooms themselves."""

    durable: Sequence[Part]
    device_lists: Part
    """One of the durable ones, of which a client that is lost hears everything."""
    key_counts: Part
    """Another of the durable ones, which is in every answer."""
    ephemeral: Sequence[Part]
    in_rooms: Sequence[RoomPart]
    ephemeral_in_rooms: Sequence[RoomPart]
    to_device: ToDevicePart
    counts: CountsPart


@frozen
class Sync:
    """Answers /sync: at once if there is news, else when some comes or time runs out."""

    stream: Stream
    ephemeral: Ephemeral
    waiters: Waiters
    rooms: RoomCache
    memberships: Memberships
    hidden: HiddenRooms
    invites: InvitePermission
    view: RoomView
    parts: Parts
    clock: Clock

    async def answer(self, request: SyncRequest, timeout: float) -> tuple[dict[str, Any], float]:
        """The answer, and how many seconds of it were spent waiting. ``timeout`` is in seconds.

        A token of a time that this server does not know (its database or its clock went back) is
        answered as if there were none, so that the client begins anew. It also hears of everybody's
        devices, since what it believes of them may be wrong.
        """
        if request.since is not None and not self._knows(request.since):
            request = evolve(request, since=None, is_lost=True)
        with self.waiters.enter(request.user_id, timeout) as waiter:
            if self._is_up_to_date(request):
                await self._acknowledge(request)
                await waiter.sleep()
                if self._is_up_to_date(request):
                    return await self._nothing(request), waiter.waited
            while True:
                answer, news = await self._now(request)
                if news or request.since is None or request.full_state or waiter.is_over:
                    return answer, waiter.waited
                await waiter.sleep()

    def _is_up_to_date(self, request: SyncRequest) -> bool:
        """Whether the client has everything up to this moment: then there is nothing to look for.

        So it is with most of those who come back after an answer.
        """
        return not request.full_state and request.since == SyncToken(
            self.stream.position, self.ephemeral.position, self.stream.position
        )

    async def _acknowledge(self, request: SyncRequest) -> None:
        """Coming back with a token says that the to-device messages before it have arrived."""
        position = self.stream.position
        device_id = request.viewer.device_id
        await self.parts.to_device.since(request.user_id, device_id, position, position)

    async def _nothing(self, request: SyncRequest) -> dict[str, Any]:
        """The answer when nothing has happened anywhere."""
        counts, _ = await self.parts.key_counts.since(
            request.user_id, request.viewer.device_id, None, self.stream.position
        )
        return {**counts, "next_batch": str(request.since)}

    def _knows(self, token: SyncToken) -> bool:
        return (
            self.stream.has_been_at(token.position)
            and self.stream.has_been_at(token.to_device)
            and token.ephemeral <= self.ephemeral.position
        )

    async def _now(self, request: SyncRequest) -> tuple[dict[str, Any], bool]:
        """What there is at this moment, and whether it is news."""
        # Taken together, before anything is waited for, these show one moment.
        upto, ephemeral = self.stream.position, self.ephemeral.position
        standing = Standing.of(request, self.memberships, self.hidden)
        since = request.since
        known = since.position if since else None
        known_ephemeral = since.ephemeral if since else None
        user_id, device_id = request.user_id, request.viewer.device_id
        messages, delivered = await self.parts.to_device.since(
            user_id, device_id, since.to_device if since else None, upto
        )
        answer: dict[str, Any] = {}
        news = bool(messages)
        if messages:
            answer["to_device"] = {"events": messages}
        rooms, rooms_news = await self._rooms(request, standing, upto, ephemeral)
        if rooms:
            answer["rooms"] = rooms
        news = news or rooms_news
        for part in self.parts.durable:
            fields, part_news = await part.since(user_id, device_id, known, upto)
            if fields:
                _merge(answer, fields)
            news = news or part_news
        if request.is_lost:
            fields, _ = await self.parts.device_lists.since(user_id, device_id, 0, upto)
            _merge(answer, fields)
        for part in self.parts.ephemeral:
            fields, part_news = await part.since(user_id, device_id, known_ephemeral, ephemeral)
            if fields:
                _merge(answer, fields)
            news = news or part_news
        _apply_global_filters(request, answer)
        answer["next_batch"] = str(SyncToken(upto, ephemeral, delivered))
        return answer, news

    async def _rooms(
        self, request: SyncRequest, standing: "Standing", upto: int, ephemeral: int
    ) -> tuple[dict[str, Any], bool]:
        moved = await self._moved(request, upto)
        sections: dict[str, dict[str, Any]] = {"join": {}, "invite": {}, "knock": {}, "leave": {}}
        news = False
        since = request.since.position if request.since else None
        joined = standing.joined
        if since is None:
            new, changed = set(joined), set[str]()
        else:
            new = (moved.keys() | standing.back) & set(joined)
            changed = {each for each in joined if self.rooms.may_have_changed(each, since)}
        await self._prepare(request, new, standing.outside if since is None else (), changed)
        for room_id, member in standing.outside.items():
            if since is None or room_id in moved:
                news |= await self._outside(request, member, since, upto, sections)
        for room_id in standing.hidden:
            sections["leave"][room_id], news = _vanished(), True
        for room_id in moved:
            # Left and forgotten at once on another device: this one has to hear that it is over.
            forgotten = self.memberships.find(request.user_id, room_id) is None
            if forgotten and request.filter.room.allows_room(room_id):
                sections["leave"][room_id], news = _vanished(), True
        for room_id in joined:
            if room_id in new:
                room = await self._room(room_id)
                if since is not None and _was_there(moved.get(room_id)):
                    section = await self.view.returned(request, room, since, upto)
                else:
                    section, _ = await self.view.anew(request, room, upto)
                sections["join"][room_id], news = section, True
            elif since is not None and (request.full_state or room_id in changed):
                room = await self._room(room_id)
                section, is_news = await self.view.since(request, room, since, upto)
                if is_news:
                    sections["join"][room_id], news = section, True
        contributed = await self._contributions(
            request, upto, ephemeral, joined, new, sections["join"]
        )
        return {name: part for name, part in sections.items() if part}, news or contributed

    async def _prepare(
        self,
        request: SyncRequest,
        new: Collection[str],
        outside: Collection[str],
        changed: Collection[str],
    ) -> None:
        """Have in memory what the answer is about, with few looks at the database."""
        await self.rooms.warm(changed, tails=False)
        if new or outside:
            await self.rooms.warm([*new, *outside], tails=True)
            rooms = (self.rooms.peek(room_id) for room_id in (*new, *outside))
            await self.view.visibility.prepare(filter(None, rooms), request.user_id)

    async def _moved(self, request: SyncRequest, upto: int) -> Mapping[str, list[Step]]:
        """The rooms that the person came into, left or was invited to, and how.

        A change of name is none; to have left and come back is one.
        """
        if request.since is None:
            return {}
        steps = await self.memberships.steps_of(request.user_id, request.since.position, upto)
        moved: dict[str, list[Step]] = {}
        for step in steps:
            moved.setdefault(step.room_id, []).append(step)
        return {
            room_id: taken for room_id, taken in moved.items() if not all(map(_only_a_name, taken))
        }

    async def _outside(
        self,
        request: SyncRequest,
        member: Member,
        since: int | None,
        upto: int,
        sections: dict[str, dict[str, Any]],
    ) -> bool:
        """A room that the person is not in: invited, knocking, or gone. Whether it is shown."""
        room = await self._room(member.room_id)
        own = room.state.get("m.room.member", request.user_id)
        inviter = own.sender if own is not None and member.membership == "invite" else None
        if inviter is not None and not self.invites.shows(request.user_id, inviter):
            return False
        if member.membership in ("invite", "knock"):
            key = f"{member.membership}_state"
            events = [room.state.get(event_type) for event_type in _STRIPPED]
            shown = [stripped_event(event) for event in events if event is not None]
            shown += self._own_and_inviter(request, room)
            sections[member.membership][member.room_id] = {key: {"events": shown}}
        elif since is not None:
            sections["leave"][member.room_id] = await self.view.left(
                request, room, since, member.seq, upto
            )
        elif request.filter.room.include_leave:
            section, _ = await self.view.anew(request, room, member.position, member.seq)
            sections["leave"][member.room_id] = section
        return True

    def _own_and_inviter(self, request: SyncRequest, room: Room) -> list[orjson.Fragment]:
        own = room.state.get("m.room.member", request.user_id)
        if own is None:
            return []
        inviter = room.state.get("m.room.member", own.sender)
        shown = [] if inviter is None or inviter is own else [stripped_event(inviter)]
        return [
            *shown,
            client_event(own, request.viewer, self.clock(), with_room_id=False),
        ]

    async def _room(self, room_id: str) -> Room:
        return self.rooms.peek(room_id) or await self.rooms.get(room_id)

    async def _contributions(
        self,
        request: SyncRequest,
        upto: int,
        ephemeral: int,
        joined: Collection[str],
        new: Collection[str],
        sections: dict[str, Any],
    ) -> bool:
        """Let the parts add to the rooms, and a room appear that only they have news of."""
        since = request.since
        news = False
        asked = [(part, since.position if since else None, upto) for part in self.parts.in_rooms]
        asked += [
            (part, since.ephemeral if since else None, ephemeral)
            for part in self.parts.ephemeral_in_rooms
        ]
        for part, known, until in asked:
            given = await part.since(request.user_id, known, until, joined, new)
            for room_id, fields in given.items():
                section = sections.setdefault(room_id, {})
                news |= _add(request, room_id, section, fields)
        for room_id in [room_id for room_id, section in sections.items() if not section]:
            del sections[room_id]
        if sections:
            threads = request.filter.unread_thread_notifications
            counts = await self.parts.counts.counts(
                request.user_id, list(sections), threads=threads
            )
            for room_id, fields in counts.items():
                sections[room_id].update(fields)
        return news


def _vanished() -> dict[str, Any]:
    """A room that the person has hidden or forgotten: clients take it for one that was left."""
    timeline = {"events": [], "limited": False, "prev_batch": room_token(0)}
    return {"timeline": timeline, "state": {"events": []}}


def _merge(answer: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Put what a part gives into the answer; several may have events of the same section."""
    for name, value in fields.items():
        if name in answer and "events" in value:
            answer[name]["events"] += value["events"]
        else:
            answer[name] = value


def _add(
    request: SyncRequest, room_id: str, section: dict[str, Any], fields: Mapping[str, Any]
) -> bool:
    """Put what a part gives into a room's section; whether anything is left after the filters."""
    filters = request.filter.room
    added = False
    for name, value in fields.items():
        if name in ("ephemeral", "account_data"):
            chosen = filters.ephemeral if name == "ephemeral" else filters.account_data
            if not chosen.allows_room(room_id):
                continue
            value = [event for event in value if chosen.allows(event["type"])]
            if value:
                section.setdefault(name, {"events": []})["events"] += value
                added = True
        else:
            section[name] = value
            added = True
    return added


def _apply_global_filters(request: SyncRequest, answer: dict[str, Any]) -> None:
    chosen = {"account_data": request.filter.account_data, "presence": request.filter.presence}
    for name, wanted in chosen.items():
        if name in answer and not wanted.allows_all:
            events = [
                event
                for event in answer[name]["events"]
                if wanted.allows(event["type"], event.get("sender"))
            ]
            answer[name] = {"events": events}


def _was_there(steps: Sequence[Step] | None) -> bool:
    """Whether somebody who took these steps was in the room before."""
    return steps is not None and memberships_of(steps[0])[0] == "join"


def _only_a_name(step: Step) -> bool:
    return memberships_of(step) == ("join", "join")
