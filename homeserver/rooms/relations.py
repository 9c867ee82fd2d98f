"""Events that relate to others: edits, threads, references, annotations.

Client-server API, "Forming relationships between events". The relation stands in the content of the
child; the journal writes it down beside the event, and a redaction takes it away.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve, frozen

from homeserver.clock import Clock
from homeserver.events import redact
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.client_events import Viewer, client_event
from homeserver.rooms.room import Room
from homeserver.rooms.stretches import EVER
from homeserver.rooms.visibility import Sight, Visibility
from homeserver.sync.token import SyncToken, parse_room_token, room_token
from schema.errors import BadRequest, DuplicateAnnotation, Forbidden, NotFound
from storage import events, relations
from storage.events import Event
from storage.relations import Child, Shown
from storage.store import Store
from storage.transaction import Transaction

MAX_PAGE = 1000
MAX_DEPTH = 3

_EDIT = "m.replace"
_THREAD = "m.thread"
_REFERENCE = "m.reference"
_ANNOTATION = "m.annotation"


def relation_of(content: Mapping[str, Any]) -> tuple[str, str] | None:
    """The event that one with this content relates to, and how; None if it is no relation."""
    relates = content.get("m.relates_to")
    if not isinstance(relates, dict):
        return None
    event_id, rel_type = relates.get("event_id"), relates.get("rel_type")
    if not isinstance(event_id, str) or not isinstance(rel_type, str):
        return None
    if len(event_id) > 255 or len(rel_type) > 255 or "\0" in event_id + rel_type:
        return None
    return event_id, rel_type


def check_relation(txn: Transaction, room: Room, draft: Draft) -> None:
    """Refuse what must not relate to another event in the way that it does.

    Relations that break other rules are stored and then ignored, as the specification wants it.

    Raises:
        DuplicateAnnotation: the sender has said that already ("Avoiding duplicate annotations").
        BadRequest: a thread cannot begin there ("Validation of m.thread relationships").
    """
    relation = relation_of(draft.content)
    if relation is None:
        return
    event_id, rel_type = relation
    if rel_type == _ANNOTATION:
        key = draft.content["m.relates_to"].get("key")
        earlier = relations.annotations(txn, room.room_id, event_id, draft.sender, draft.type)
        if any(content["m.relates_to"].get("key") == key for content in earlier):
            raise DuplicateAnnotation("You have reacted to this event with that already")
    elif rel_type == _THREAD:
        root = events.find(txn, room.room_id, event_id)
        if root is not None and root.rel_type is not None:
            raise BadRequest(
                "A thread cannot start from an event that itself relates to another one"
            )


@frozen
class Relations:
    """Client-server API, "Aggregations of child events", "Relationships API", "Threading"."""

    store: Store
    rooms: RoomCache
    visibility: Visibility
    clock: Clock

    async def bundles(
        self, viewer: Viewer, chosen: Collection[Event], sight: Sight
    ) -> dict[str, str]:
        """By event id, the JSON text of ``m.relations`` for those of ``chosen`` that have any.

        All events are of one room, and only what ``sight`` shows of it is counted. State events
        have none. One read from the database, of one statement if nothing relates to the events.
        """
        if not sight or all(event.state_key is not None for event in chosen):
            return {}
        return await self.store.read(lambda txn: self.read_bundles(txn, viewer, chosen, sight))

    def read_bundles(
        self, txn: Transaction, viewer: Viewer, chosen: Collection[Event], sight: Sight
    ) -> dict[str, str]:
        """The same, for whoever reads the events in the same transaction."""
        messages = [event for event in chosen if event.state_key is None]
        if not messages:
            return {}
        bundles = _Bundles(viewer, sight)
        bundles.gather(txn, messages[0].room_id, messages)
        return bundles.texts(messages, self.clock())

    async def children(
        self,
        viewer: Viewer,
        room_id: str,
        event_id: str,
        *,
        rel_type: str | None,
        event_type: str | None,
        backwards: bool,
        start: str | None,
        end: str | None,
        limit: int,
        recurse: bool | None,
    ) -> dict[str, Any]:
        """A page of the events that relate to one event.

        Raises:
            NotFound: there is no such event, or the reader may not see it.
            InvalidParam: a token is not of this server.
        """
        room = await self.rooms.find(room_id)
        if room is None:
            raise NotFound("There is no such event, or you may not see it")
        sight = await self.visibility.sight(room, viewer.user_id)
        from_place = None if start is None else parse_room_token(start)
        to_place = None if end is None else parse_room_token(end)
        limit = max(1, min(limit, MAX_PAGE))
        depth = MAX_DEPTH if recurse else 1

        def work(txn: Transaction) -> tuple[int, list[Event]]:
            parent = events.find(txn, room_id, event_id)
            if parent is None or not sight.sees(parent.seq):
                raise NotFound("There is no such event, or you may not see it")
            from_seq = _seq_of(txn, room, from_place, room.seq if backwards else 0)
            to_seq = _seq_of(txn, room, to_place, 0 if backwards else room.seq)
            after, upto = (to_seq, from_seq) if backwards else (from_seq, to_seq)
            stretches = _between(sight, after, upto)
            if not stretches:
                return from_seq, []
            ids = relations.descendants(
                txn,
                room_id,
                event_id,
                rel_type,
                event_type,
                depth,
                Shown(stretches, sight.ignored, sight.unsaid),
                backwards,
                limit + 1,
            )
            found = events.find_many(txn, ids)
            return from_seq, [found[each] for each in ids]

        from_seq, found = await self.store.read(work)
        page = found[:limit]
        answer: dict[str, Any] = {"chunk": await self._show(viewer, page, sight)}
        if len(found) > limit:
            last = page[-1].seq
            answer["next_batch"] = room_token(last - 1 if backwards else last)
        if start is not None:
            answer["prev_batch"] = room_token(from_seq)
        if recurse is not None:
            answer["recursion_depth"] = depth
        return answer

    async def threads(
        self, viewer: Viewer, room_id: str, *, only_own: bool, start: str | None, limit: int
    ) -> dict[str, Any]:
        """A page of the roots of the room's threads; whose newest event is newest comes first.

        Raises:
            Forbidden: the reader may see nothing of the room.
            InvalidParam: the token is not of this server.
        """
        room = await self.rooms.find(room_id)
        if room is None:
            raise Forbidden("You are not a member of this room")
        sight = await self.visibility.needed(room, viewer.user_id)
        place = None if start is None else parse_room_token(start)
        limit = max(1, min(limit, MAX_PAGE))
        shown = Shown(sight.stretches, sight.ignored, sight.unsaid)

        def work(txn: Transaction) -> tuple[list[tuple[str, int]], dict[str, Event]]:
            upto = _seq_of(txn, room, place, room.seq)
            found = relations.threads(
                txn, room_id, viewer.user_id, only_own, upto, shown, limit + 1
            )
            return found, events.find_many(txn, [root_id for root_id, _ in found[:limit]])

        found, roots = await self.store.read(work)
        page = [roots[root_id] for root_id, _ in found[:limit]]
        page = [_without_content(room, root) if sight.hides(root) else root for root in page]
        answer: dict[str, Any] = {"chunk": await self._show(viewer, page, sight)}
        if len(found) > limit:
            answer["next_batch"] = room_token(found[limit][1])
        return answer

    async def _show(self, viewer: Viewer, chosen: Sequence[Event], sight: Sight) -> list[Any]:
        bundles = await self.bundles(viewer, chosen, sight)
        now = self.clock()
        return [_shown(event, viewer, sight, now, bundles.get(event.event_id)) for event in chosen]


class _Bundles:
    """What is shown together with some events of one room, to one person."""

    def __init__(self, viewer: Viewer, sight: Sight) -> None:
        self._viewer = viewer
        self._sight = sight
        self._parents: dict[str, Event] = {}
        self._edits: dict[str, Child] = {}
        self._threads: dict[str, Child] = {}
        self._references: dict[str, list[dict[str, str]]] = defaultdict(list)
        self._quoted: dict[str, Event] = {}

    def gather(self, txn: Transaction, room_id: str, parents: Iterable[Event]) -> None:
        """Read what relates to ``parents``, and to the newest events of their threads."""
        new = {event.event_id: event for event in parents if event.event_id not in self._parents}
        if not new:
            return
        self._parents |= new
        latest: set[str] = set()
        sight = self._sight
        shown = Shown(sight.stretches, sight.ignored, sight.unsaid)
        found = relations.bundled(txn, room_id, new, self._viewer.user_id, shown)
        for child in found:
            parent_id = child.parent_id
            if child.rel_type == _THREAD:
                self._threads[parent_id] = child
                latest.add(child.event_id)
            elif child.rel_type == _REFERENCE:
                self._references[parent_id].append({"event_id": child.event_id})
            elif _may_replace(child, new[parent_id]):
                newest = max(child, self._edits.get(parent_id, child), key=_recency)
                self._edits[parent_id] = newest
        quoted = {self._edits[parent_id].event_id for parent_id in new.keys() & self._edits}
        self._quoted |= events.find_many(txn, quoted | latest)
        self.gather(txn, room_id, [self._quoted[event_id] for event_id in latest])

    def texts(self, parents: Iterable[Event], now: int) -> dict[str, str]:
        """By event id, the JSON text of ``m.relations`` of those that have any."""
        related = self._edits.keys() | self._threads.keys() | self._references.keys()
        if not related:
            return {}
        texts = {e.event_id: self._text(e, now) for e in parents if e.event_id in related}
        return {event_id: text for event_id, text in texts.items() if text is not None}

    def _text(self, parent: Event, now: int) -> str | None:
        event_id = parent.event_id
        bundle: dict[str, Any] = {}
        edit, thread = self._edits.get(event_id), self._threads.get(event_id)
        if edit is not None:
            bundle[_EDIT] = _shown(self._quoted[edit.event_id], self._viewer, self._sight, now)
        if thread is not None:
            latest = self._quoted[thread.event_id]
            own = self._text(latest, now)
            bundle[_THREAD] = {
                "latest_event": _shown(latest, self._viewer, self._sight, now, own),
                "count": thread.total,
                "current_user_participated": (
                    thread.has_own == 1 or parent.sender == self._viewer.user_id
                ),
            }
        if event_id in self._references:
            bundle[_REFERENCE] = {"chunk": self._references[event_id]}
        return orjson.dumps(bundle).decode() if bundle else None


def _without_content(room: Room, root: Event) -> Event:
    """The root of a thread whose sender is ignored: shown as if it had been redacted."""
    left = redact(room.version, orjson.loads(root.json))
    return evolve(root, json=orjson.dumps(left, option=orjson.OPT_SORT_KEYS).decode())


def _may_replace(edit: Child, original: Event) -> bool:
    """Client-server API, "Validity of replacement events"; the edit is well-formed already."""
    return (
        edit.sender == original.sender
        and edit.type == original.type
        and original.state_key is None
        and original.rel_type != _EDIT
        and not original.is_redacted
    )


def _recency(edit: Child) -> tuple[int, str]:
    return edit.origin_server_ts, edit.event_id


def _shown(
    event: Event, viewer: Viewer, sight: Sight, now: int, bundle: str | None = None
) -> orjson.Fragment:
    # What a state event replaced has no part in how events relate, and only members hear of
    # redactions, whenever those came.
    return client_event(
        sight.seen(event),
        viewer,
        now,
        membership=sight.membership_at(event.seq),
        with_quotes=event.is_redacted and sight.membership_at(EVER) == "join",
        relations=bundle,
    )


def _between(sight: Sight, after: int, upto: int) -> list[tuple[int, int]]:
    """What ``sight`` shows of the events with ``after < seq <= upto``."""
    clipped = ((max(first, after + 1), min(last, upto)) for first, last in sight.stretches)
    return [(first, last) for first, last in clipped if first <= last]


def _seq_of(txn: Transaction, room: Room, place: int | SyncToken | None, default: int) -> int:
    if place is None:
        return default
    if isinstance(place, int):
        return min(place, room.seq)
    if place.position >= room.position:
        return room.seq
    return events.seq_at(txn, room.room_id, place.position)
