"""What each device must have been told, worked out without the server.

Everything that is asked of the server begins and ends at a number of the model's own clock. What
overlaps may happen in either order; what does not must happen in this one.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from math import inf

from attrs import define, field

from e2e.to_device import MOST_AT_ONCE
from tests.e2ee.wire import ALGORITHM, changed, counts, left, messages
from tests.olm_devices import Device, Json


class Broken(AssertionError):
    """The server did what it must never do."""


def check(promise: object, breach: str) -> None:
    """Raise unless the promise is kept."""
    if not promise:
        raise Broken(breach)


@define(eq=False)
class Message:
    """One to-device message, which may be for several devices."""

    body: int
    began: int
    ended: float = inf
    """When the sender had its answer."""


@define(eq=False)
class Claimed:
    """What somebody has got who claimed a key."""

    key: str | None
    began: int


@define(eq=False)
class KnownDevice:
    """One device: what it has been told, and what it still must be told."""

    device: Device
    name: str
    since: str | None = None
    is_busy: bool = False
    is_uploading: bool = False
    display_name: str | None = None

    queue: dict[int, Message] = field(factory=dict)
    """Messages that no answer has brought yet which the device has processed."""
    shown: list[int] = field(factory=list)
    """Messages of an answer to ``since`` that was lost on the way."""
    unacknowledged: dict[int, Message] = field(factory=dict)
    """Messages of the answer that gave ``since``, as long as it was not used."""

    keys: list[str] = field(factory=list)
    """One-time keys that have not been handed out, in the order in which they must be."""
    ready: dict[str, int] = field(factory=dict)
    """When the upload of a key was over."""
    published: Json = field(factory=dict)
    """Every one-time key of this identity, as it was uploaded."""
    issued: set[str] = field(factory=set)
    claims: list[Claimed] = field(factory=list)
    lost_claims: int = 0
    """Claims whose answers were lost when the server was killed."""
    fallback: str | None = None
    fallback_is_unused: bool = False
    fallback_keys: Json = field(factory=dict)

    must: dict[str, int] = field(factory=dict)
    """Whose devices have changed, and when that was over."""
    may: dict[str, float] = field(factory=dict)
    """Whose devices may be told to have changed, and until when."""
    early: set[str] = field(factory=set)
    """Whose change was told before whoever made it had the answer."""
    knew: set[str] = field(factory=set)
    """Whom the person's clients tracked when ``since`` was given."""
    together: set[str] = field(factory=set)
    """Whom they have tracked at some moment after it."""

    @property
    def user_id(self) -> str:
        return self.device.user_id

    @property
    def address(self) -> str:
        return f"{self.user_id} {self.device.device_id}"

    def begin_anew(self) -> None:
        """The client has logged in again and knows nothing; what it never confirmed comes again."""
        self.queue = {**self.unacknowledged, **self.queue}
        self.unacknowledged = {}
        self.since, self.shown = None, []
        self.must, self.may, self.early = {}, {}, set()

    def new_identity(self) -> None:
        """The client has lost its keys and made others."""
        self.keys, self.ready, self.published, self.issued = [], {}, {}, set()
        self.fallback, self.fallback_is_unused = None, False

    def uploaded(self, keys: Json, now: int, most: int) -> None:
        """These one-time keys are there to be handed out, those that are new."""
        for name in sorted(keys):
            key = keys[name]["key"]
            if name not in self.published:
                self.published[name] = keys[name]
                self.keys.append(key)
            self.ready.setdefault(key, now)
        self.issued |= {*self.keys[: len(self.keys) - most]} if len(self.keys) > most else set()
        del self.keys[: max(0, len(self.keys) - most)]

    def settle_claims(self) -> None:
        """Nothing is under way: what was handed out must be the oldest keys, each of them once."""
        claims, self.claims = self.claims, []
        got = [claim.key for claim in claims if claim.key in self.ready or claim.key in self.issued]
        for claim in claims:
            if claim.key is not None and claim.key not in self.ready:
                check(claim.key == self.fallback, f"{self.address}: {claim.key} is no key of it")
        check(len(got) == len({*got}), f"{self.address}: a one-time key was handed out twice")
        check(
            not {*got} & self.issued,
            f"{self.address}: a one-time key was handed out that had been handed out before",
        )
        check({*got} <= {*self.keys}, f"{self.address}: a key was handed out that is not there")
        gone = 1 + max((self.keys.index(key) for key in got if key), default=-1)
        skipped = {*self.keys[:gone]} - {*got}
        check(
            len(skipped) <= self.lost_claims,
            f"{self.address}: a newer key was handed out before {skipped}",
        )
        self.lost_claims -= len(skipped)
        self.issued |= {*self.keys[:gone]}
        del self.keys[:gone]
        for claim in claims:
            if claim.key is None or claim.key not in self.issued:
                there = [key for key in self.keys if self.ready[key] < claim.began]
                check(
                    len(there) <= self.lost_claims,
                    f"{self.address}: got {claim.key} although {there} are there",
                )
                check(
                    claim.key == self.fallback or self.lost_claims,
                    f"{self.address}: got {claim.key}, not the fallback key {self.fallback}",
                )
                self.fallback_is_unused = False

    def check_counts(self, answer: Json) -> None:
        """Nothing is under way: the counts are the truth."""
        number, unused = counts(answer)
        missing = len(self.keys) - number
        if 0 < missing <= self.lost_claims:
            # What was claimed when the server died has been handed out, to nobody.
            self.issued |= {*self.keys[:missing]}
            del self.keys[:missing]
            missing = 0
        if self.lost_claims and not self.keys and not unused:
            self.fallback_is_unused = False
        self.lost_claims = 0
        check(missing == 0, f"{self.address} has {len(self.keys)} keys left, and hears {number}")
        expected = [ALGORITHM] if self.fallback_is_unused else []
        check(unused == expected, f"{self.address}: unused fallback keys are {unused}")

    def check_messages(self, answer: Json, began: int, *, overlapped: bool) -> list[int]:
        """Every message that must be there is, in order, and none that has come before."""
        came = [message["content"]["body"] for message in messages(answer)]
        check(len(came) == len({*came}), f"{self.address}: twice in one answer: {came}")
        strange = [body for body in came if body not in self.queue]
        check(not strange, f"{self.address}: {strange} came again, or is not for it")
        common = min(len(came), len(self.shown)) if overlapped else len(self.shown)
        check(
            came[:common] == self.shown[:common],
            f"{self.address}: the same request brought {self.shown}, now {came}",
        )
        newest = -1
        for body in came:
            message = self.queue[body]
            check(message.ended >= newest, f"{self.address}: {body} comes late in {came}")
            newest = max(newest, message.began)
        is_full = len(answer.get("to_device", {}).get("events", [])) >= MOST_AT_ONCE
        for body, message in self.queue.items():
            if body not in came and message.ended < (newest if is_full else began):
                raise Broken(f"{self.address}: {body} was left out: {came}")
        return came

    def check_device_lists(self, answer: Json, began: int, tracked: set[str]) -> None:
        """Everybody is named whose devices have changed, and nobody else is."""
        if self.since is None:
            check(not changed(answer) and not left(answer), f"{self.address}: lists without token")
            return
        heard, parted = {*changed(answer)}, {*left(answer)}
        must = {who for who, when in self.must.items() if when < began} & tracked
        check(must <= heard, f"{self.address} is not told that {must - heard} changed")
        strange = heard - ((self.must.keys() | self.may.keys()) & tracked)
        check(not strange, f"{self.address} is told that {strange} changed")
        gone = self.knew - tracked
        check(gone <= parted, f"{self.address} is not told that {gone - parted} left")
        strange = parted - (self.together - tracked)
        check(not strange, f"{self.address} is told that {strange} left")

    def process(self, answer: Json, came: list[int], began: int, tracked: set[str]) -> None:
        """The client has got the answer and goes on from there."""
        self.unacknowledged = {body: self.queue.pop(body) for body in came}
        # An answer without a token covers what it does not name: the client knows nobody yet.
        heard = {*changed(answer)} if self.since is not None else self.must.keys() | self.may.keys()
        self.since, self.shown = answer["next_batch"], []
        for who, when in [*self.must.items()]:
            if when < began or who in heard:
                del self.must[who]
            if when >= began and who in heard:
                self.may[who] = when
        self.early |= {who for who in heard if self.may.get(who) == inf}
        self.may = {who: until for who, until in self.may.items() if until >= began}
        self.knew, self.together = set(tracked), set(tracked)


class World:
    """People, their devices, and the rooms they share."""

    def __init__(self) -> None:
        self.devices: dict[str, list[KnownDevice]] = {}
        self.rooms: dict[str, set[str]] = {}
        self.invited: dict[str, set[str]] = defaultdict(set)
        self._clock = count()

    def now(self) -> int:
        """A later time than any before."""
        return next(self._clock)

    @property
    def everywhere(self) -> list[KnownDevice]:
        """Every device of everybody."""
        return [known for devices in self.devices.values() for known in devices]

    def tracked_by(self, user_id: str) -> set[str]:
        """Everybody in somebody's rooms, all whom these rooms await, and they themselves."""
        rooms = (room for room, who in self.rooms.items() if user_id in who)
        return {user_id}.union(*(self.rooms[room] | self.invited[room] for room in rooms))

    def sees(self, user_id: str) -> Iterable[KnownDevice]:
        """The devices that have to hear when somebody's devices change."""
        return (known for known in self.everywhere if user_id in self.tracked_by(known.user_id))

    def changes(self, user_id: str) -> None:
        """Somebody's devices are about to change."""
        for known in self.sees(user_id):
            known.may[user_id] = inf

    def changed(self, user_id: str) -> None:
        """They have."""
        now = self.now()
        for known in self.sees(user_id):
            if user_id in known.early:
                known.early.discard(user_id)
                known.may[user_id] = now
            else:
                known.may.pop(user_id, None)
                known.must[user_id] = now

    def joined(self, user_id: str, room: str) -> None:
        """Somebody has come into a room.

        Those with whom they shared another one may be told once more, the rest must be.
        """
        now, before = self.now(), self.tracked_by(user_id)
        self._comes(user_id, room)
        self.rooms[room].add(user_id)
        self.invited[room].discard(user_id)
        others = self.rooms[room] | self.invited[room] - {user_id}
        for known in self.devices[user_id]:
            known.may |= dict.fromkeys(others, now)
            known.must |= dict.fromkeys(others - before, now)
            known.together |= others

    def awaits(self, user_id: str, room: str) -> None:
        """Somebody was invited into a room, whose members have to know their devices now."""
        self._comes(user_id, room)
        self.invited[room].add(user_id)

    def _comes(self, user_id: str, room: str) -> None:
        now = self.now()
        for known in self.everywhere:
            known.may[user_id] = now
            if known.user_id in self.rooms[room]:
                if user_id not in self.tracked_by(known.user_id):
                    known.must[user_id] = now
                known.together.add(user_id)

    def parted(self, user_id: str, room: str) -> None:
        """Somebody has left a room."""
        self.rooms[room].discard(user_id)
        self.invited[room].discard(user_id)
