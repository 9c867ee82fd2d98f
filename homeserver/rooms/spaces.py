"""Spaces: the tree of rooms below a space (client-server API, "Spaces")."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from attrs import frozen

from homeserver.rooms.cache import RoomCache
from homeserver.rooms.room import Room
from homeserver.rooms.summaries import Summaries, summarise
from schema.errors import Forbidden, InvalidParam
from storage import rooms
from storage.events import Event
from storage.store import Store

CHILD = "m.space.child"
MAX_DEPTH = 50
MAX_PAGE = 50
_ORDER = re.compile("[\x20-\x7e]{1,50}")
_TOKEN = re.compile("h([0-9]{1,9})_([0-9]{1,9})_(all|suggested)", re.ASCII)


@frozen
class Walk:
    """How a tree is walked: what a page token must not change."""

    max_depth: int
    suggested_only: bool

    def token(self, offset: int) -> str:
        """Where the next page begins."""
        return f"h{offset}_{self.max_depth}_{'suggested' if self.suggested_only else 'all'}"

    def offset(self, token: str) -> int:
        """Where the page of a token begins.

        Raises:
            InvalidParam: no token of this server, or one of another walk.
        """
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise InvalidParam("`from` must be the `next_batch` of an earlier answer")
        offset = int(found[1])
        if self.token(offset) != token:
            raise InvalidParam("`suggested_only` and `max_depth` must stay the same on all pages")
        return offset


@frozen
class Spaces:
    """Walks down from a space, as far as the reader may see."""

    store: Store
    rooms: RoomCache
    summaries: Summaries

    async def hierarchy(
        self, user_id: str, room_id: str, walk: Walk, *, start: str | None, limit: int
    ) -> dict[str, Any]:
        """A page of the tree, depth first, each room once, in the order of its space.

        Raises:
            Forbidden: the reader may not see the room at the top, or there is none.
            InvalidParam: a token that this server did not make for this walk.
        """
        first = walk.offset(start) if start else 0
        limit = min(limit, MAX_PAGE)
        top = await self.rooms.find(room_id)
        if top is None or not self.summaries.may_show(top, user_id):
            raise Forbidden("There is no such room, or it is not for you to see")
        page: list[dict[str, Any]] = []
        count = 0
        async for room in self._below(user_id, top, walk):
            count += 1
            if count > first + limit:
                return {"rooms": page, "next_batch": walk.token(first + limit)}
            if count > first:
                page.append(_entry(room, walk))
        return {"rooms": page}

    async def _below(self, user_id: str, top: Room, walk: Walk) -> AsyncIterator[Room]:
        """Every room from the top down. A loop ends where it meets itself."""
        depths: dict[str, int] = {}
        ahead: list[tuple[Room, int]] = [(top, 0)]
        while ahead:
            room, depth = ahead.pop()
            known = depths.get(room.room_id)
            if known is not None and known <= depth:
                continue
            depths[room.room_id] = depth
            if known is None:
                yield room
            # On a shorter way to the same room the depth allowed may reach further.
            if depth < walk.max_depth:
                children = await self._children(user_id, room, walk)
                ahead += [(child, depth + 1) for child in reversed(children)]

    async def _children(self, user_id: str, room: Room, walk: Walk) -> Sequence[Room]:
        named = [str(event.state_key) for event in child_events(room, walk.suggested_only)]
        new = [room_id for room_id in named if self.rooms.peek(room_id) is None]
        missing = set(new)
        if new:
            missing -= await self.store.read(lambda txn: rooms.existing(txn, new))
        found = [await self.rooms.get(room_id) for room_id in named if room_id not in missing]
        return [child for child in found if self.summaries.may_show(child, user_id)]


def is_space(room: Room) -> bool:
    """Whether the room is a space."""
    return room.state.text("m.room.create", "type") == "m.space"


def child_events(room: Room, suggested_only: bool = False) -> list[Event]:
    """What a space says of its rooms, in the order of the specification; rooms have none."""
    if not is_space(room):
        return []
    found: list[tuple[tuple[Any, ...], Event]] = []
    for event in room.state:
        if event.type != CHILD or event.state_key is None:
            continue
        content = event.content
        if not _is_child(event.state_key, content):
            continue
        if suggested_only and content.get("suggested") is not True:
            continue
        order = content.get("order")
        valid = isinstance(order, str) and _ORDER.fullmatch(order) is not None
        rank = (not valid, order if valid else "", event.origin_server_ts, event.state_key)
        found.append((rank, event))
    found.sort(key=lambda each: each[0])
    return [event for _, event in found]


def _is_child(state_key: str, content: dict[str, Any]) -> bool:
    """Without ``via`` a room has been taken out of the space."""
    via = content.get("via")
    return state_key.startswith("!") and isinstance(via, list) and bool(via)


def _entry(room: Room, walk: Walk) -> dict[str, Any]:
    """``SpaceHierarchyRoomsChunk`` of the specification."""
    children = [
        {
            "type": event.type,
            "state_key": event.state_key,
            "content": event.content,
            "sender": event.sender,
            "origin_server_ts": event.origin_server_ts,
        }
        for event in child_events(room, walk.suggested_only)
    ]
    return {**summarise(room), "children_state": children}
