"""A room at one moment: immutable, so whoever holds one sees one moment for as long as needed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from homeserver.rooms.auth_rules import creators_of
from homeserver.rooms.power_levels import PowerLevels
from homeserver.rooms.versions import RoomVersion
from storage.events import Event

_MEMBER, _LEVELS = "m.room.member", "m.room.power_levels"
_COUNTS, _HEROES = f"{_MEMBER} counts", f"{_MEMBER} heroes"
HEROES = 5


class RoomState:
    """The current state of a room. A change makes a new one; what it says is worked out once."""

    __slots__ = ("_derived", "_events")

    def __init__(self, events: Mapping[tuple[str, str], Event]) -> None:
        self._events = events
        # By the type of the events that each value was worked out from, and perhaps a key.
        self._derived: dict[str, Any] = {}

    @classmethod
    def of(cls, events: Iterable[Event]) -> "RoomState":
        """The state that consists of ``events``."""
        return cls({(event.type, event.state_key or ""): event for event in events})

    def get(self, type: str, state_key: str = "") -> Event | None:
        """One piece of the state."""
        return self._events.get((type, state_key))

    def content(self, type: str, state_key: str = "") -> dict[str, Any]:
        """The content of one piece of the state; empty when there is none."""
        event = self._events.get((type, state_key))
        return {} if event is None else event.content

    def text(self, type: str, key: str) -> str | None:
        """One text out of the content of a piece of state, such as the name of the room."""
        name = f"{type} {key}"
        if name not in self._derived:
            value = self.content(type).get(key)
            self._derived[name] = value if isinstance(value, str) else None
        text: str | None = self._derived[name]
        return text

    def with_event(self, event: Event) -> "RoomState":
        """The state after a state event. What does not depend on it need not be worked out anew."""
        after = RoomState({**self._events, (event.type, event.state_key or ""): event})
        if event.type == _MEMBER and _MEMBER in self._derived:
            after._derived[_MEMBER] = {**self._derived[_MEMBER], event.state_key: _standing(event)}
        if event.type != "m.room.create":
            for name, value in self._derived.items():
                if name.partition(" ")[0] != event.type:
                    after._derived[name] = value
        return after

    def membership(self, user_id: str) -> str:
        """``leave`` for whoever never was in the room, too."""
        memberships = self.memberships()
        return memberships.get(user_id, "leave")

    def memberships(self) -> Mapping[str, str]:
        """The membership of everybody who ever had one."""
        known: Mapping[str, str] | None = self._derived.get(_MEMBER)
        if known is None:
            known = {
                key: _standing(event)
                for (type_, key), event in self._events.items()
                if type_ == _MEMBER
            }
            self._derived[_MEMBER] = known
        return known

    def count(self, membership: str) -> int:
        """How many people have this membership."""
        counts: Counter[str] | None = self._derived.get(_COUNTS)
        if counts is None:
            counts = self._derived[_COUNTS] = Counter(self.memberships().values())
        return counts[membership]

    def heroes(self, user_id: str) -> Sequence[str]:
        """The people after whom ``user_id`` calls a room without a name ("RoomSummary").

        Others who are in it or invited, or else who ever were; the first of them.
        """
        if _HEROES not in self._derived:
            members = sorted(
                (event for (type_, _), event in self._events.items() if type_ == _MEMBER),
                key=lambda event: event.seq,
            )
            known = self.memberships()
            ever = [str(event.state_key) for event in members]
            here = [each for each in ever if known[each] in ("join", "invite")]
            # One more than wanted: nobody is their own hero.
            self._derived[_HEROES] = here[: HEROES + 1], ever[: HEROES + 1]
        here, ever = (
            [each for each in people if each != user_id] for people in self._derived[_HEROES]
        )
        return (here or ever)[:HEROES]

    def power_levels(self, version: RoomVersion) -> PowerLevels:
        """Who may do what."""
        levels: PowerLevels | None = self._derived.get(_LEVELS)
        if levels is None:
            create = self._events["m.room.create", ""]
            current = self._events.get((_LEVELS, ""))
            levels = PowerLevels.of(
                current.content if current else None, version, creators_of(version, create)
            )
            self._derived[_LEVELS] = levels
        return levels

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events.values())

    def __len__(self) -> int:
        return len(self._events)


def _standing(event: Event) -> str:
    return str(event.content.get("membership", "leave"))


@frozen(eq=False)
class Room:
    """A room after its newest event."""

    room_id: str
    version: RoomVersion
    kind: str
    """direct, self, group, family or space; for life."""
    state: RoomState
    seq: int = 0
    """How many events it has; the newest one's number."""
    position: int = 0
    """The newest event's position on the stream."""
    last_event_id: str | None = None

    def after(self, event: Event) -> "Room":
        """The room after one more event."""
        state = self.state if event.state_key is None else self.state.with_event(event)
        return evolve(
            self,
            state=state,
            seq=event.seq,
            position=event.position,
            last_event_id=event.event_id,
        )

    @property
    def power_levels(self) -> PowerLevels:
        """Who may do what in the room now."""
        return self.state.power_levels(self.version)

    @property
    def is_encrypted(self) -> bool:
        """Whether messages are expected to be encrypted."""
        return self.state.get("m.room.encryption") is not None
