"""What a person may see of a room: the one place that decides, for every path that reads.

Client-server API, "Room History Visibility" and "Ignoring Users". A room is a straight line, so
what somebody may see is a few stretches of it, worked out from their own membership events and
those of the history visibility; less what they do not want to see, and with copies of what its
sender has erased.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from attrs import evolve, frozen

from homeserver.erasures import Erasures
from homeserver.ignored_people import IgnoredPeople
from homeserver.rooms.erased import Erased
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.room import Room
from homeserver.rooms.stretches import EVER, Stretches, within
from schema.errors import Forbidden
from storage import events
from storage.events import Event
from storage.store import Store
from storage.transaction import Transaction

_VISIBILITY = "m.room.history_visibility"
_MEMBER = "m.room.member"
_KNOWN = ("invited", "joined", "shared", "world_readable")


class Sent(Protocol):
    """What it takes of an event to tell whether somebody is shown it."""

    @property
    def seq(self) -> int: ...
    @property
    def sender(self) -> str: ...
    @property
    def state_key(self) -> str | None: ...


@frozen
class Sight:
    """The stretches of a room that somebody may see, and their membership along the way."""

    stretches: Stretches
    """First and last number of each, in order."""
    steps: tuple[tuple[int, str], ...]
    """Number of an event, and the membership from it on; before the first one ``leave``."""
    ignored: frozenset[str] = frozenset()
    """Of these people only state is shown."""
    erased: Erased | None = None
    """Of whose events the person gets redacted copies; None where it is nobody."""

    def sees(self, seq: int) -> bool:
        """Whether the event with this number may be seen."""
        return within(self.stretches, seq)

    def seen(self, event: Event) -> Event:
        """An event as the person gets it: whoever writes one into an answer asks this."""
        return event if self.erased is None else self.erased.copy(event)

    @property
    def unsaid(self) -> Sequence[tuple[str, int, int]]:
        """People, and first and last numbers of events: what they said there is neither found by
        its words nor by what it relates to."""
        return () if self.erased is None else self.erased.unsaid

    def sees_some_of(self, first: int, last: int) -> bool:
        """Whether any event between these numbers, both included, may be seen."""
        index = bisect_right(self.stretches, (last, EVER)) - 1
        return index >= 0 and self.stretches[index][1] >= first

    def hides(self, event: Sent) -> bool:
        """Whether the person ignores whoever sent this, and it is no state."""
        return event.state_key is None and event.sender in self.ignored

    def shows(self, event: Sent) -> bool:
        """Whether an event may be seen, and is not ignored: whoever reads a room asks this."""
        return self.sees(event.seq) and not self.hides(event)

    def membership_at(self, seq: int) -> str:
        """The person's membership when the event came (``unsigned.membership``)."""
        index = bisect_right(self.steps, (seq, "~")) - 1
        return self.steps[index][1] if index >= 0 else "leave"

    @property
    def last(self) -> int:
        """The last number that may be seen; 0 if nothing."""
        return self.stretches[-1][1] if self.stretches else 0

    def until(self, seq: int) -> "Sight":
        """The same sight, but nothing after the event with this number."""
        stretches = [(first, min(last, seq)) for first, last in self.stretches if first <= seq]
        return evolve(self, stretches=tuple(stretches))

    def __bool__(self) -> bool:
        return bool(self.stretches)


MAX_KNOWN = 5_000
_Latest = tuple[Event | None, Event | None, Mapping[str, int]]
_NOTHING: Final = (None, Sight((), ()))


class Visibility:
    """Answers what a person may see of a room."""

    def __init__(
        self, store: Store, memberships: Memberships, ignored: IgnoredPeople, erasures: Erasures
    ) -> None:
        self._store = store
        self._memberships = memberships
        self._ignored = ignored
        self._erasures = erasures
        self._known: OrderedDict[tuple[str, str], tuple[_Latest, Sight]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    async def sight(self, room: Room, user_id: str) -> Sight:
        """What ``user_id`` may see of ``room``. Nothing at all is an empty sight.

        Whoever has forgotten the room may see of it what somebody may who never was there.
        """
        sight = glance(room, user_id, self.erased_in(room))
        sight = sight or (await self._look([room], user_id))[room.room_id]
        ignored = self._ignored.of(user_id)
        return evolve(sight, ignored=ignored) if ignored else sight

    def whole(self, user_id: str) -> Sight | None:
        """What a member sees of what is said while they are there; None if that is all of it.

        None of it comes as a copy: whoever is erased had said it to them before.
        """
        ignored = self._ignored.of(user_id)
        return Sight(((1, EVER),), ((1, "join"),), ignored) if ignored else None

    def erased_in(self, room: Room) -> Mapping[str, int]:
        """Who of a room's people is erased, and since which position; mostly nobody."""
        return self._erasures.among(room.state.memberships())

    async def prepare(self, rooms: Iterable[Room], user_id: str) -> None:
        """Have the answers for several rooms in memory, with one look at the database."""
        needed = [room for room in rooms if glance(room, user_id, self.erased_in(room)) is None]
        await self._look(needed, user_id)

    async def _look(self, rooms: Collection[Room], user_id: str) -> dict[str, Sight]:
        """What the histories of rooms say, from memory where nothing has happened since."""
        latest = {room.room_id: self._latest(room, user_id) for room in rooms}
        known = {room_id: self._known.get((room_id, user_id), _NOTHING) for room_id in latest}
        unknown = [room for room in rooms if known[room.room_id][0] != latest[room.room_id]]
        sights = {room_id: sight for room_id, (_, sight) in known.items()}
        if unknown:
            own = [room.room_id for room in unknown if latest[room.room_id][0] is not None]
            erased = {room.room_id: latest[room.room_id][2] for room in unknown}
            found = await self._store.read(lambda txn: look(txn, unknown, own, user_id, erased))
            for room_id, sight in found.items():
                self._known[room_id, user_id] = (latest[room_id], sight)
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
            sights |= found
        return sights

    def _latest(self, room: Room, user_id: str) -> _Latest:
        """What has happened is settled: as long as these stand, nothing new can be seen."""
        is_stranger = self._memberships.find(user_id, room.room_id) is None
        own = None if is_stranger else room.state.get(_MEMBER, user_id)
        return own, room.state.get(_VISIBILITY), self.erased_in(room)

    async def needed(self, room: Room, user_id: str) -> Sight:
        """The same, where seeing nothing is a refusal.

        Raises:
            Forbidden: the person may see nothing of the room.
        """
        sight = await self.sight(room, user_id)
        if not sight:
            raise Forbidden("You are not a member of this room")
        return sight

    async def without_quotes(
        self, sight: Sight, user_id: str, chosen: Collection[Event]
    ) -> Collection[str]:
        """Those of some events, by their ids, that quote in ``unsigned`` what is out of sight.

        They are shown without it. State quotes what it replaced (client-server API, "Room event
        format"): what was part of the room's state at a moment that the person sees was shown to
        them, and they are told of all their own memberships. A redacted event quotes its
        redaction: whoever is outside the room now hears of none that came after they had gone.
        """
        replaced = {
            event.event_id: (event.replaced, event.seq - 1)
            for event in chosen
            if event.quotes_past
            and not sight.sees(event.seq - 1)
            and not (event.type == _MEMBER and event.state_key == user_id)
        }
        is_outside = sight.membership_at(EVER) != "join"
        redacted = {e.event_id: e.redaction for e in chosen if is_outside and e.is_redacted}
        if not replaced and not redacted:
            return ()
        quoted = [*(event_id for event_id, _ in replaced.values()), *redacted.values()]
        seqs = await self._store.read(lambda txn: events.seqs(txn, quoted))
        return {
            event_id
            for event_id, (old, last) in replaced.items()
            if not sight.sees_some_of(seqs.get(old, EVER), last)
        } | {
            event_id
            for event_id, redaction in redacted.items()
            if not sight.sees(seqs.get(redaction, EVER))
        }


def glance(room: Room, user_id: str, erased: Mapping[str, int]) -> Sight | None:
    """The whole room at once, in the ordinary case; None when it takes a longer look.

    Ordinary is: a member now, and the room's history was always shared with its members.
    """
    member = room.state.get(_MEMBER, user_id)
    setting = room.state.get(_VISIBILITY)
    if member is None or setting is None or room.state.membership(user_id) != "join":
        return None
    always = "replaces_state" not in setting.unsigned and "redacted" not in setting.unsigned
    if not always or room.state.text(_VISIBILITY, "history_visibility") != "shared":
        return None
    if "replaces_state" in member.unsigned:
        return None
    earlier: dict[str, Stretches] = {
        who: () for who, position in erased.items() if position < member.position
    }
    return Sight(
        ((1, EVER),),
        ((member.seq, "join"),),
        erased=Erased(user_id, room.version, earlier) if earlier else None,
    )


def look(
    txn: Transaction,
    rooms: Collection[Room],
    own_in: Collection[str],
    user_id: str,
    erased: Mapping[str, Mapping[str, int]],
) -> dict[str, Sight]:
    """Work out the stretches from the history of each room, up to the moment that it shows.

    In rooms that are not among ``own_in`` they are those of a stranger. ``erased`` is, by room, who
    is erased, and since which position.
    """
    own = events.state_histories(txn, own_in, _MEMBER, user_id)
    settings = events.state_histories(txn, [room.room_id for room in rooms], _VISIBILITY, "")
    sights = {}
    for room in rooms:
        steps = _upto(own.get(room.room_id, ()), room.position)
        rules = _upto(settings.get(room.room_id, ()), room.position)
        kept = {
            who: _seen_by(position, steps, rules) for who, position in erased[room.room_id].items()
        }
        sight = sight_of(steps, rules)
        if kept:
            sight = evolve(sight, erased=Erased(user_id, room.version, kept))
        sights[room.room_id] = sight
    return sights


def _seen_by(position: int, own: Sequence[Event], settings: Sequence[Event]) -> Stretches:
    """What somebody had been shown of a room by then: nothing if they had never joined it.

    Only for whoever was in the room at that moment it has no end.
    """
    sight = sight_of(_upto(own, position), _upto(settings, position))
    if all(membership != "join" for _, membership in sight.steps):
        return ()
    is_inside = sight.membership_at(EVER) == "join"
    return (sight if is_inside else sight.until(EVER - 1)).stretches


def _upto(past: Iterable[Event], position: int) -> list[Event]:
    return [event for event in past if event.position <= position]


def sight_of(own: Sequence[Event], settings: Sequence[Event]) -> Sight:
    """The stretches that follow from somebody's membership events and the room's settings."""
    steps = tuple((event.seq, str(event.content.get("membership", "leave"))) for event in own)
    rules = tuple((event.seq, _setting(event)) for event in settings)
    # "shared" shows whatever came before the person was last a member.
    last_joined = 0
    for index, (_, membership) in enumerate(steps):
        if membership == "join":
            last_joined = steps[index + 1][0] if index + 1 < len(steps) else EVER
    edges = sorted({1, *(seq for seq, _ in steps), *(seq for seq, _ in rules)})
    stretches: list[tuple[int, int]] = []
    for index, first in enumerate(edges):
        last = edges[index + 1] - 1 if index + 1 < len(edges) else EVER
        member_step = first in (seq for seq, _ in steps)
        rule_step = first in (seq for seq, _ in rules)
        # An event that changes either is judged by the more generous side of the change.
        if member_step or rule_step:
            if any(
                _shows(_at(rules, rule, "shared"), _at(steps, own_at, "leave"), first, last_joined)
                for rule in (first - 1, first)
                for own_at in (first - 1, first)
            ):
                stretches.append((first, first))
            first += 1
        if first <= last and _shows(
            _at(rules, first, "shared"), _at(steps, first, "leave"), first, last_joined
        ):
            stretches.append((first, last))
    return Sight(tuple(_joined_up(stretches)), steps)


def _shows(rule: str, membership: str, seq: int, last_joined: int) -> bool:
    if rule == "world_readable" or membership == "join":
        return True
    if rule == "shared":
        return seq <= last_joined
    return rule == "invited" and membership == "invite"


def _at(steps: tuple[tuple[int, str], ...], seq: int, before: str) -> str:
    index = bisect_right(steps, (seq, "~")) - 1
    return steps[index][1] if index >= 0 else before


def _setting(event: Event) -> str:
    """Unknown values count as ``shared``, as the specification says."""
    value = event.content.get("history_visibility")
    return value if value in _KNOWN else "shared"


def _joined_up(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in stretches:
        if joined and joined[-1][1] == first - 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
