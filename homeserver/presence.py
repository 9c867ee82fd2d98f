"""Presence: who is here. In memory only, and only for people who share a room."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from attrs import Factory, define
from twisted.internet.task import LoopingCall

from homeserver.clock import Clock
from homeserver.ignored_people import IgnoredPeople
from homeserver.profiles import ProfileChanged
from homeserver.rooms.changes import EventAdded
from homeserver.sync.ephemeral import Ephemeral
from schema.errors import Forbidden, InvalidParam
from storage.receipts import ReceiptMoved
from storage.stream import Change

STATES = ("online", "unavailable", "offline")
"""The first of those that somebody's devices are in is theirs."""
SILENCE_MS = 60_000
IDLE_MS = 300_000
SWEEP_SECONDS = 15
ACTIVE_MS = 60_000
REMEMBERED = 2_000


@define
class _Device:
    said: str
    """What it has said last."""
    presence: str
    """The same, unless its person has done something since."""
    here_until: int
    """When it is going to ask again, unless it stops."""


@define
class _Person:
    active_at: int
    devices: dict[str, _Device] = Factory(dict)
    status: str | None = None
    presence: str = "offline"
    """As others have been told."""
    position: int = 0
    shown: Mapping[str, str] = Factory(dict)
    """Their name and picture, once they have changed."""


class Presence:
    """Client-server API, "Presence"; a part of /sync.

    Whoever syncs on some device is online, unless they say otherwise or have done nothing for five
    minutes: sent nothing, read nothing, not come back. Who stops on all devices goes offline a
    minute later. A change costs one note in memory; what did not change is not announced.
    """

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        ephemeral: Ephemeral,
        sharing: Callable[[str], Collection[str]],
        ignored: IgnoredPeople,
    ) -> None:
        """``sharing`` tells who shares a room with a person, the person included."""
        self._clock = clock
        self._ephemeral = ephemeral
        self._sharing = sharing
        self._ignored = ignored
        self._people: dict[str, _Person] = {}
        self._changes: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)
        self._forgotten = ephemeral.position
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor

    def __len__(self) -> int:
        return len(self._people)

    def start(self) -> None:
        """Begin to notice who has gone."""
        self._sweeping.start(SWEEP_SECONDS, now=False)

    def stop(self) -> None:
        """Stop noticing."""
        if self._sweeping.running:
            self._sweeping.stop()

    def seen(self, user_id: str, device_id: str, presence: str, wait_ms: int) -> None:
        """A device syncs, for so long at most, and says that its person is ``presence``."""
        if presence == "offline":
            return
        now = self._clock()
        person = self._people.setdefault(user_id, _Person(now))
        device = person.devices.get(device_id)
        if device is None or device.said != presence:
            device = person.devices[device_id] = _Device(presence, presence, now)
            if presence == "online":
                person.active_at = now
        device.here_until = now + wait_ms
        self._reckon(user_id, person, now)

    def set(
        self, asker: str, device_id: str, user_id: str, presence: str, status: str | None
    ) -> None:
        """The person says on a device how they are.

        Raises:
            Forbidden: it is somebody else's presence.
            InvalidParam: there is no such state.
        """
        if asker != user_id:
            raise Forbidden("You can only set your own presence")
        if presence not in STATES:
            raise InvalidParam(f"Presence is one of {', '.join(STATES)}")
        now = self._clock()
        person = self._people.setdefault(user_id, _Person(now))
        person.active_at = now
        person.devices[device_id] = _Device(presence, presence, now)
        news = person.status != status
        person.status = status
        self._reckon(user_id, person, now, news=news)

    def get(self, asker: str, user_id: str) -> dict[str, Any]:
        """How somebody is.

        Raises:
            Forbidden: the two share no room.
        """
        if user_id not in self._sharing(asker):
            raise Forbidden("You can only see the presence of people who share a room with you")
        person = self._people.get(user_id)
        return {"presence": "offline"} if person is None else self._content(person)

    async def since(
        self, user_id: str, device_id: str, since: int | None, upto: int
    ) -> tuple[dict[str, Any], bool]:
        """As a part of /sync."""
        if since is not None and (not self._changes or self._changes[-1][0] <= since):
            return {}, False
        sharing = set(self._sharing(user_id)) - self._ignored.of(user_id)
        if since is None or since < self._forgotten:
            changed = {
                other
                for other in sharing
                if other in self._people and self._people[other].presence != "offline"
            }
        else:
            changed = {other for at, other in self._changes if at > since and other in sharing}
        events = [self._event(other) for other in sorted(changed)]
        return ({"presence": {"events": events}} if events else {}), bool(events)

    def follow(self, changes: Sequence[Change]) -> None:
        """Follower of the stream: what somebody sends, or reads, shows that they are there.

        A new name or picture is told as presence, too (client-server API, "Events on Change of
        Profile Information").
        """
        for change in changes:
            if isinstance(change, EventAdded):
                if change.event.device_id is not None:
                    self._is_active(change.event.sender)
            elif isinstance(change, ReceiptMoved):
                self._is_active(change.receipt.user_id)
            elif isinstance(change, ProfileChanged) and change.user_id in self._people:
                person = self._people[change.user_id]
                if person.shown != change.shown:
                    person.shown = change.shown
                    self._announce(change.user_id, person)

    def changed(self, after: int) -> list[dict[str, Any]]:
        """The events of everybody whose presence changed after a number, as they are now."""
        return [
            self._event(other) for other in sorted({o for at, o in self._changes if at > after})
        ]

    def _event(self, user_id: str) -> dict[str, Any]:
        person = self._people[user_id]
        content = {**self._content(person), **person.shown}
        return {"type": "m.presence", "sender": user_id, "content": content}

    def _content(self, person: _Person) -> dict[str, Any]:
        ago = max(0, self._clock() - person.active_at)
        content: dict[str, Any] = {"presence": person.presence, "last_active_ago": ago}
        if person.presence == "online":
            content["currently_active"] = ago < ACTIVE_MS
        if person.status:
            content["status_msg"] = person.status
        return content

    def _is_active(self, user_id: str) -> None:
        person = self._people.get(user_id)
        if person is None:
            return
        person.active_at = self._clock()
        for device in person.devices.values():
            if device.presence == "unavailable":
                device.presence = "online"
        self._reckon(user_id, person, person.active_at)

    def _reckon(self, user_id: str, person: _Person, now: int, *, news: bool = False) -> None:
        """What the devices come to; others are told if that has changed, or is ``news``."""
        states = {device.presence for device in person.devices.values()}
        if "online" in states and now - person.active_at > IDLE_MS:
            states = states - {"online"} | {"unavailable"}
        presence = next((state for state in STATES if state in states), "offline")
        if news or presence != person.presence:
            person.presence = presence
            self._announce(user_id, person)

    def _announce(self, user_id: str, person: _Person) -> None:
        if len(self._changes) == REMEMBERED:
            self._forgotten = self._changes[0][0]
        person.position = self._ephemeral.changed(self._sharing(user_id))
        self._changes.append((person.position, user_id))

    def _sweep(self) -> None:
        now = self._clock()
        for user_id, person in self._people.items():
            person.devices = {
                device_id: device
                for device_id, device in person.devices.items()
                if device.here_until >= now - SILENCE_MS
            }
            self._reckon(user_id, person, now)
