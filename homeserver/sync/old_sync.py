"""What came before /sync: initialSync and the event stream, deprecated since r0.

Small, on top of what /sync is made of. To-device messages belong to /sync alone: nothing here
acknowledges one.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import evolve, frozen

from homeserver.clock import Clock
from homeserver.rooms.client_events import Viewer, client_event
from homeserver.rooms.history import History
from homeserver.rooms.visibility import Sight
from homeserver.sync.filters import Filter, RoomEventFilter, RoomFilter
from homeserver.sync.request import SyncRequest
from homeserver.sync.sync import Sync
from homeserver.sync.token import SyncToken
from schema.errors import InvalidParam, NotFound
from storage import account_data, events, rooms
from storage.events import Event

PAGE = 200
MAX_LOOKED_AT = 5000
_MEMBERSHIPS = ("join", "invite", "leave", "ban")
"""Those that the deprecated endpoints know."""


@frozen
class OldSync:
    """Client-server API, "Syncing" (deprecated endpoints) and "Room Previews"."""

    sync: Sync
    history: History
    clock: Clock

    async def everything(self, viewer: Viewer, limit: int, archived: bool) -> dict[str, Any]:
        """``GET /initialSync``: all rooms of a person with their newest events."""
        timeline = RoomEventFilter(limit=limit)
        wanted = Filter(room=RoomFilter(include_leave=archived, timeline=timeline))
        request = SyncRequest(viewer, None, wanted, state_after="state")
        answer, _ = await self.sync.answer(request, 0)
        end = _without_messages(answer["next_batch"])
        published = set(await self.history.store.read(rooms.published))
        shown = []
        for name, sections in answer.get("rooms", {}).items():
            for room_id, section in sections.items():
                if name == "knock":
                    continue
                member = self.sync.memberships.find(viewer.user_id, room_id)
                entry = {
                    "room_id": room_id,
                    "membership": name if member is None else member.membership,
                    "visibility": "public" if room_id in published else "private",
                }
                shown.append({**entry, **_room(name, section, room_id, end)})
        return {
            "end": end,
            "presence": answer.get("presence", {}).get("events", []),
            "account_data": answer.get("account_data", {}).get("events", []),
            "rooms": shown,
        }

    async def room(self, viewer: Viewer, room_id: str, limit: int) -> dict[str, Any]:
        """``GET /rooms/{roomId}/initialSync``: also for a room that everybody may read.

        Raises:
            Forbidden: the reader may see nothing of the room.
        """
        now = self._now()
        page = await self.history.messages(
            viewer,
            room_id,
            backwards=True,
            start=str(now),
            end=None,
            limit=limit,
            wanted=RoomEventFilter(),
        )
        state = await self.history.state(viewer, room_id)
        kept = await self.history.store.read(
            lambda txn: account_data.since(txn, viewer.user_id, 0, now.position)
        )
        row = await self.history.store.read(lambda txn: rooms.find(txn, room_id))
        messages = {"chunk": page["chunk"][::-1], "end": str(now)}
        if "end" in page:
            messages["start"] = page["end"]
        answer = {
            "room_id": room_id,
            "messages": messages,
            "state": state,
            "visibility": "public" if row is not None and row.is_published else "private",
            "account_data": [
                {"type": datum.type, "content": orjson.Fragment(datum.json)}
                for datum in kept
                if datum.room_id == room_id and datum.json != account_data.GONE
            ],
        }
        member = self.sync.memberships.find(viewer.user_id, room_id)
        if member is not None and member.membership in _MEMBERSHIPS:
            answer["membership"] = member.membership
        return answer

    async def event(self, viewer: Viewer, event_id: str) -> Any:
        """``GET /events/{eventId}``.

        Raises:
            NotFound: there is none, or the reader may not see it.
        """
        found = await self.history.store.read(lambda txn: events.find_many(txn, [event_id]))
        if event_id not in found:
            raise NotFound("There is no such event, or you may not see it")
        return await self.history.event(viewer, found[event_id].room_id, event_id)

    async def stream(self, viewer: Viewer, start: str | None, timeout: float) -> dict[str, Any]:
        """``GET /events``: what happens in rooms after ``start``, as soon as something does.

        Raises:
            InvalidParam: not a token of this server.
        """
        token = self._now() if start is None else SyncToken.parse(start)
        if token is None or not self.sync.stream.has_been_at(token.position):
            raise InvalidParam("`from` must be a token of /events, /initialSync or /sync")
        with self.sync.waiters.enter(viewer.user_id, timeout) as waiter:
            while True:
                chunk, end = await self._after(viewer, token)
                if chunk or waiter.is_over:
                    return {"start": start or str(token), "end": str(end), "chunk": chunk}
                token = end
                if token.position >= self.sync.stream.position:
                    await waiter.sleep()

    async def peek(
        self, viewer: Viewer, room_id: str, start: str | None, timeout: float
    ) -> dict[str, Any]:
        """``GET /events?room_id=``: what happens in one room, which everybody may read.

        Members are woken by what happens; others see it when ``timeout`` has passed.

        Raises:
            Forbidden: the reader may see nothing of the room.
            InvalidParam: not a token of this server.
        """
        start = start or str(self._now())
        with self.sync.waiters.enter(viewer.user_id, timeout) as waiter:
            page = await self._page(viewer, room_id, start)
            if not page["chunk"]:
                await waiter.sleep()
                page = await self._page(viewer, room_id, start)
        return page

    async def _page(self, viewer: Viewer, room_id: str, start: str) -> dict[str, Any]:
        now = str(self._now())
        page = await self.history.messages(
            viewer,
            room_id,
            backwards=False,
            start=start,
            end=now,
            limit=PAGE,
            wanted=RoomEventFilter(),
        )
        return {"start": start, "end": page.get("end", now), "chunk": page["chunk"]}

    def _now(self) -> SyncToken:
        return SyncToken(self.sync.stream.position, self.sync.ephemeral.position, 0)

    async def _after(self, viewer: Viewer, token: SyncToken) -> tuple[list[Any], SyncToken]:
        """What a person sees after ``token``, and up to where that goes."""
        now = self._now()
        joined = set(self.sync.memberships.rooms_of(viewer.user_id))
        chunk: list[Any] = []
        at = token.position
        for _ in range(0, MAX_LOOKED_AT, PAGE):
            found = await self._scan(at, now.position)
            for event in found:
                sight = await self._sight(viewer.user_id, joined, event)
                if sight is not None:
                    past = await self.history.visibility.without_quotes(
                        sight, viewer.user_id, [event]
                    )
                    seen = sight.seen(event)
                    chunk.append(client_event(seen, viewer, self.clock(), with_quotes=not past))
            if len(found) < PAGE:
                return chunk, evolve(token, position=now.position)
            at = found[-1].position
            if chunk:
                break
        return chunk, evolve(token, position=at)

    async def _scan(self, after: int, upto: int) -> list[Event]:
        return await self.history.store.read(lambda txn: events.since(txn, after, upto, PAGE))

    async def _sight(self, user_id: str, joined: set[str], event: Event) -> Sight | None:
        """What a person may see of the room of an event; None if not the event itself."""
        is_own = event.type == "m.room.member" and event.state_key == user_id
        if is_own and self._is_unwanted(user_id, event):
            return None
        if not is_own and event.room_id not in joined:
            return None
        room = await self.sync.rooms.get(event.room_id)
        sight = await self.history.visibility.sight(room, user_id)
        return sight if is_own or sight.shows(event) else None

    def _is_unwanted(self, user_id: str, event: Event) -> bool:
        is_invite = event.content.get("membership") == "invite"
        return is_invite and not self.sync.invites.shows(user_id, event.sender)


def _without_messages(token: str) -> str:
    """The same place for all but to-device messages: those have not been handed over."""
    parsed = SyncToken.parse(token)
    assert parsed is not None
    return str(evolve(parsed, to_device=0))


def _room(name: str, section: Mapping[str, Any], room_id: str, end: str) -> dict[str, Any]:
    """What /sync says of a room, in the words of before."""
    if name == "invite":
        return {"invite": _in_room(section["invite_state"]["events"][-1], room_id)}
    timeline = section["timeline"]
    return {
        "messages": {
            "start": timeline["prev_batch"],
            "end": end,
            "chunk": [_in_room(event, room_id) for event in timeline["events"]],
        },
        "state": [_in_room(event, room_id) for event in section["state"]["events"]],
        "account_data": section.get("account_data", {}).get("events", []),
    }


def _in_room(event: orjson.Fragment, room_id: str) -> dict[str, Any]:
    """An event of /sync, which leaves the room out."""
    return {**orjson.loads(orjson.dumps(event)), "room_id": room_id}
