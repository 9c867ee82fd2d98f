"""Typing notices: who is typing in which room. In memory only; they end by themselves."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.base import DelayedCall

from homeserver.ignored_people import IgnoredPeople
from homeserver.requester import Requester
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.changes import EventAdded
from homeserver.sync.ephemeral import Ephemeral
from schema.errors import Forbidden
from storage.stream import Change

MAX_SECONDS = 120.0


@define
class _Room:
    typing: dict[str, DelayedCall] = field(factory=dict)
    position: int = 0


class TypingNotices:
    """Client-server API, "Typing Notifications"; a part of /sync in rooms."""

    def __init__(
        self,
        reactor: Any,
        ephemeral: Ephemeral,
        rooms: RoomCache,
        joined: Callable[[str], Collection[str]],
        ignored: IgnoredPeople,
    ) -> None:
        self._reactor = reactor
        self._ephemeral = ephemeral
        self._rooms = rooms
        self._joined = joined
        self._ignored = ignored
        self._typing: dict[str, _Room] = {}

    def __len__(self) -> int:
        return len(self._typing)

    async def start(self, requester: Requester, room_id: str, seconds: float) -> None:
        """Somebody types, for so long at most unless they say so again.

        Raises:
            Forbidden: they are not in the room.
        """
        await self._check_joined(requester, room_id)
        room = self._typing.setdefault(room_id, _Room())
        already = room.typing.get(requester.user_id)
        if already is not None and already.active():
            already.cancel()
        room.typing[requester.user_id] = self._reactor.callLater(
            min(seconds, MAX_SECONDS), self._end, room_id, requester.user_id
        )
        if already is None:
            self._announce(room_id, room)

    async def stop(self, requester: Requester, room_id: str) -> None:
        """Somebody has stopped typing.

        Raises:
            Forbidden: they are not in the room.
        """
        await self._check_joined(requester, room_id)
        self._end(room_id, requester.user_id)

    def follow(self, changes: Sequence[Change]) -> None:
        """Whoever is not in a room any more does not type there."""
        for change in changes:
            if isinstance(change, EventAdded) and change.event.type == "m.room.member":
                user_id = change.event.state_key or ""
                if change.room.state.membership(user_id) != "join":
                    self._end(change.event.room_id, user_id)

    def stop_all(self) -> None:
        """The server stops: no timer may be left."""
        for room in self._typing.values():
            for timer in room.typing.values():
                if timer.active():
                    timer.cancel()
        self._typing.clear()

    async def since(
        self,
        user_id: str,
        since: int | None,
        upto: int,
        rooms: Collection[str],
        new: Collection[str],
    ) -> dict[str, dict[str, Any]]:
        """As a part of /sync in rooms."""
        ignored = self._ignored.of(user_id)
        found = {}
        for room_id, room in self._typing.items():
            if room_id not in rooms:
                continue
            typing = room.typing.keys() - ignored
            if typing if since is None or room_id in new else room.position > since:
                found[room_id] = {"ephemeral": [_event(typing)]}
        return found

    def changed(self, after: int) -> dict[str, dict[str, Any]]:
        """In which rooms something changed after a number, as the events that say who types."""
        return {
            room_id: _event(room.typing)
            for room_id, room in self._typing.items()
            if room.position > after
        }

    async def _check_joined(self, requester: Requester, room_id: str) -> None:
        room = await self._rooms.find(room_id)
        if room is None or room.state.membership(requester.user_id) != "join":
            raise Forbidden("You are not a member of this room")

    def _end(self, room_id: str, user_id: str) -> None:
        room = self._typing.get(room_id)
        timer = room.typing.pop(user_id, None) if room is not None else None
        if room is None or timer is None:
            return
        if timer.active():
            timer.cancel()
        self._announce(room_id, room)

    def _announce(self, room_id: str, room: _Room) -> None:
        room.position = self._ephemeral.changed(self._joined(room_id))


def _event(people: Iterable[str]) -> dict[str, Any]:
    return {"type": "m.typing", "content": {"user_ids": sorted(people)}}
