"""Which rooms and events concern a service (Application Service API, "Registration")."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import orjson
from attrs import define, field

from homeserver.bridges.parts import Share
from homeserver.bridges.registration import Registration
from homeserver.clock import Clock
from homeserver.rooms.changes import EventAdded
from homeserver.rooms.client_events import Viewer, client_event
from homeserver.rooms.memberships import Memberships
from storage import events, members, rooms
from storage.events import Event
from storage.members import Step
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction

MOST_EVENTS = 100
LARGEST = 1024 * 1024
"""Bytes of events in one transaction, but for a single one that is larger."""
_NOBODY = Viewer("", "")


@define
class Interest:
    """What one service is interested in. Remembers an answer for each room."""

    service: Registration
    memberships: Memberships
    store: Store
    _rooms: dict[str, bool] = field(factory=dict, init=False)

    def in_event(self, event: Event) -> bool:
        """Whether an event is about one of the service's users."""
        return (
            event.type == "m.room.member"
            and event.state_key is not None
            and self.service.covers_user(event.state_key)
        )

    def in_room(self, room_id: str) -> bool:
        """Whether what happens in a room now may concern the service. False is certain."""
        known = self._rooms.get(room_id)
        if known is None:
            known = (
                self.service.rooms.covers(room_id)
                or bool(self.service.aliases)
                or bool(self.users_in(room_id))
            )
            self._rooms[room_id] = known
        return known

    def users_in(self, room_id: str) -> set[str]:
        """The service's users who are in a room now."""
        return set(filter(self.service.covers_user, self.memberships.joined(room_id)))

    def covers_room(self, room_id: str, aliases: Iterable[str]) -> bool:
        """Whether all of a room is the service's by its id or one of its aliases."""
        return self.service.rooms.covers(room_id) or any(map(self.service.aliases.covers, aliases))

    async def among(self, room_ids: Collection[str]) -> set[str]:
        """Those of some rooms that concern the service now."""
        aliases: dict[str, list[str]] = {}
        if self.service.aliases and room_ids:
            aliases = await self.store.read(lambda txn: rooms.aliases_in(txn, room_ids))
        return {
            room_id
            for room_id in room_ids
            if self.users_in(room_id) or self.covers_room(room_id, aliases.get(room_id, ()))
        }

    def follow(self, change: EventAdded) -> None:
        """Somebody may have come or gone."""
        if change.event.type == "m.room.member":
            self._rooms.pop(change.event.room_id, None)


@define
class EventsPart:
    """The events of a service: each exactly as it was when it happened.

    Who was in a room at the time decides, not who is now: a service that was down gets what it
    would have got.
    """

    interest: Interest
    clock: Clock

    def concerns(self, change: Change) -> bool:
        """As a part."""
        if not isinstance(change, EventAdded):
            return False
        self.interest.follow(change)
        return self.interest.in_event(change.event) or self.interest.in_room(change.event.room_id)

    async def gather(self, after: int, upto: int) -> Share:
        """As a part."""

        def work(txn: Transaction) -> tuple[list[Event], dict[str, list[str]]]:
            found = _bounded(events.since(txn, after, upto, MOST_EVENTS))
            if not self.interest.service.aliases:
                return found, {}
            return found, rooms.aliases_in(txn, {event.room_id for event in found})

        found, aliases = await self.interest.store.read(work)
        if len(found) == MOST_EVENTS or sum(len(each.json) for each in found) > LARGEST:
            upto = found[-1].position
        chosen = await self._choose(found, aliases)
        now = self.clock()
        shown = [client_event(event, _NOBODY, now) for event in chosen]
        return Share(upto, {"events": shown} if shown else {}, is_kept=True)

    async def _choose(
        self, found: Sequence[Event], aliases: Mapping[str, Collection[str]]
    ) -> list[Event]:
        """Those of some events that concern the service."""
        if not found:
            return []
        begin = found[0].position - 1
        in_question = {event.room_id for event in found}
        whole = {r for r in in_question if self.interest.covers_room(r, aliases.get(r, ()))}
        in_question -= whole
        moved = {r for r in in_question if self.memberships.may_have_moved(r, begin)}
        present = {r: self.interest.users_in(r) for r in in_question - moved}
        steps: list[Step] = []
        if moved:
            present_then, steps = await self._then(moved, begin, found[-1].position)
            present |= present_then
        chosen = []
        for event in found:
            while steps and steps[0].position <= event.position:
                step = steps.pop(0)
                people = present[step.room_id]
                people.discard(step.user_id)
                if _has_joined(step.json):
                    people.add(step.user_id)
            if event.room_id in whole or present[event.room_id] or self.interest.in_event(event):
                chosen.append(event)
        return chosen

    async def _then(
        self, room_ids: Collection[str], begin: int, end: int
    ) -> tuple[dict[str, set[str]], list[Step]]:
        """Who of the service's users was in some rooms, and the steps that they took then."""
        covers = self.interest.service.covers_user

        def work(txn: Transaction) -> tuple[list[tuple[str, str, str]], list[Step]]:
            steps = members.steps_in(txn, list(room_ids), begin, end)
            return members.standings_at(txn, room_ids, begin), steps

        standings, steps = await self.interest.store.read(work)
        present: dict[str, set[str]] = {room_id: set() for room_id in room_ids}
        for room_id, user_id, json in standings:
            if covers(user_id) and _has_joined(json):
                present[room_id].add(user_id)
        return present, [step for step in steps if covers(step.user_id)]

    @property
    def memberships(self) -> Memberships:
        return self.interest.memberships


def _has_joined(json: str) -> bool:
    return bool(orjson.loads(json)["content"].get("membership") == "join")


def _bounded(found: list[Event]) -> list[Event]:
    """The first of some events, up to the one that makes them too many bytes."""
    size = 0
    for count, event in enumerate(found, 1):
        size += len(event.json)
        if size > LARGEST:
            return found[:count]
    return found
