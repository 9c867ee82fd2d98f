"""The list of what somebody was notified of ("Listing Notifications")."""

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from homeserver.clock import Clock
from homeserver.ignored_people import IgnoredPeople
from homeserver.push.actions import Actions
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.client_events import Viewer, client_event
from storage import events, push
from storage.events import Event
from storage.push import JOINED, Notified
from storage.store import Store
from storage.transaction import Transaction

NEAR = 10_000
"""Positions: a page is looked for among so many first, and only then in all that ever was."""


@frozen
class Notifications:
    """Reads back what was notified, from where the counts come from too."""

    store: Store
    rooms: RoomCache
    actions: Actions
    ignored: IgnoredPeople
    clock: Clock

    async def page(
        self, viewer: Viewer, before: int, limit: int, *, highlights: bool
    ) -> tuple[list[dict[str, Any]], int | None]:
        """The newest notifications before a position, and the position where to go on, if any."""

        ignored = self.ignored.of(viewer.user_id)

        def read(txn: Transaction) -> tuple[list[Notified], dict[str, Event], _Places]:
            end = min(before, push.stream_position(txn) + 1)
            for after in (end - NEAR, 0):
                found = push.notified(
                    txn, viewer.user_id, ignored, after, end, limit + 1, highlights=highlights
                )
                if len(found) > limit or after <= 0:
                    break
            sent = events.find_many(txn, [each.event_id for each in found])
            rooms = {event.room_id for event in sent.values()}
            return found, sent, _Places(push.places(txn, viewer.user_id, rooms))

        found, sent, places = await self.store.read(read)
        shown = found[:limit]
        page = []
        for notified in shown:
            event = sent[notified.event_id]
            room = await self.rooms.get(event.room_id)
            page.append(
                {
                    "actions": self.actions.of(
                        viewer.user_id, room, event, highlight=bool(notified.highlight)
                    ),
                    "event": client_event(
                        event, viewer, self.clock(), with_room_id=False, with_quotes=False
                    ),
                    "read": places.cover(event, notified.thread_id),
                    "room_id": event.room_id,
                    "ts": event.origin_server_ts,
                }
            )
        return page, shown[-1].position if len(found) > limit and shown else None


class _Places:
    """Up to where somebody has read each room and thread."""

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._seqs = {(room_id, thread_id): seq for room_id, thread_id, seq in rows}

    def cover(self, event: Event, thread_id: str) -> bool:
        """Whether an event has been read."""
        return any(
            self._seqs.get((event.room_id, thread), 0) >= event.seq
            for thread in (JOINED, thread_id)
        )
