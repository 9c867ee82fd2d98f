"""Who is in which room: an index in memory of everybody's standing, and its history on the stream.

Holds one entry per person and room, filled once at the start.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from homeserver.rooms.changes import EventAdded
from homeserver.rooms.meetings import IN_VIEW, meetings
from storage import members
from storage.freshness import Freshness
from storage.members import Member, Step
from storage.store import Store
from storage.stream import Change


class Memberships:
    """Everybody's standing with every room, as the stream has made it public."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_user: dict[str, dict[str, Member]] = defaultdict(dict)
        self._joined: dict[str, set[str]] = defaultdict(set)
        self._invited: dict[str, set[str]] = defaultdict(set)
        self._steps_in_room = Freshness()
        self._steps_of_user = Freshness()

    def load(self, position: int) -> None:
        """Fill the index; once, before the reactor runs."""
        for member in self._store.load(members.everyone):
            self._put(member)
        self._steps_in_room = Freshness(position)
        self._steps_of_user = Freshness(position)

    def __len__(self) -> int:
        return sum(len(rooms) for rooms in self._by_user.values())

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, EventAdded) and change.event.type == "m.room.member":
                event = change.event
                assert event.state_key is not None
                self._put(
                    Member(
                        event.state_key,
                        event.room_id,
                        change.room.state.membership(event.state_key),
                        event.event_id,
                        event.position,
                        event.seq,
                    )
                )
                self._steps_in_room.touch(event.room_id, event.position)
                self._steps_of_user.touch(event.state_key, event.position)

    def forget(self, user_id: str, room_id: str) -> None:
        """The person has forgotten the room; the database knows already."""
        self._by_user[user_id].pop(room_id, None)

    def of(self, user_id: str) -> Mapping[str, Member]:
        """A person's standing, by room; rooms that they have forgotten are left out."""
        return MappingProxyType(self._by_user.get(user_id, {}))

    def find(self, user_id: str, room_id: str) -> Member | None:
        """A person's standing with one room."""
        return self._by_user.get(user_id, {}).get(room_id)

    def rooms_of(self, user_id: str) -> list[str]:
        """The rooms that a person has joined."""
        return [m.room_id for m in self.of(user_id).values() if m.membership == "join"]

    def joined(self, room_id: str) -> Collection[str]:
        """Who has joined a room. Do not keep it: it changes."""
        return self._joined.get(room_id, ())

    def sharing(self, user_id: str) -> set[str]:
        """Everybody who is in a room with this person, and the person."""
        people = {user_id}
        for room_id in self.rooms_of(user_id):
            people |= self._joined[room_id]
        return people

    def tracked_by(self, user_id: str) -> set[str]:
        """Whose devices this person's clients track: everybody who shares a room or is invited."""
        people = self.sharing(user_id)
        for room_id in self.rooms_of(user_id):
            people |= self._invited.get(room_id, set())
        return people

    def rooms_tracking(self, user_id: str) -> list[str]:
        """The rooms whose members track this person: joined, and those that await them."""
        return [m.room_id for m in self.of(user_id).values() if m.membership in IN_VIEW]

    def may_have_moved(self, room_id: str, since: int) -> bool:
        """Whether anybody may have come or gone after a position. False is certain."""
        return self._steps_in_room.may_have_changed(room_id, since)

    async def steps_of(self, user_id: str, since: int, upto: int) -> list[Step]:
        """A person's membership events after one position and up to another."""
        if not self._steps_of_user.may_have_changed(user_id, since):
            return []
        return await self._store.read(lambda txn: members.steps_of(txn, user_id, since, upto))

    async def changes(self, user_id: str, since: int, upto: int) -> tuple[set[str], set[str]]:
        """Whom this person's clients have to track, or need not any more, after ``since``.

        Met are people whom they track because one of the two has come into a room or was invited,
        whether or not they were tracked before; parted are people who were and are not.
        """
        if self._steps_in_room.newest <= since:
            return set(), set()
        own = await self.steps_of(user_id, since, upto)
        moved = [
            room_id
            for room_id in {*self.rooms_of(user_id), *(step.room_id for step in own)}
            if self.may_have_moved(room_id, since)
        ]
        if not moved:
            return set(), set()
        steps = await self._store.read(lambda txn: members.steps_in(txn, moved, since, upto))
        met, parted = meetings(
            user_id,
            steps,
            lambda room_id: self._joined[room_id] | self._invited[room_id] - {user_id},
        )
        tracked = self.tracked_by(user_id)
        return met & tracked, parted - tracked

    def _put(self, member: Member) -> None:
        for membership, people in (("join", self._joined), ("invite", self._invited)):
            if member.membership == membership:
                people[member.room_id].add(member.user_id)
            else:
                people[member.room_id].discard(member.user_id)
        if member.forgotten:
            self._by_user[member.user_id].pop(member.room_id, None)
        else:
            self._by_user[member.user_id][member.room_id] = member
