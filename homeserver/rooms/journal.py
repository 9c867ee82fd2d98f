"""The journal: the one way by which an event gets into a room.

Whoever wants an event - a message, a join, a new room, a redaction - comes here with a draft inside
a write transaction. The journal checks it, signs it, stores it with everything that follows from
it, and announces it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import evolve, frozen

from homeserver import events as pdus
from homeserver.clock import Clock
from homeserver.events import Link, Signer
from homeserver.rooms import auth_rules
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.changes import EventAdded
from homeserver.rooms.kinds import Kinds
from homeserver.rooms.redact import Redact, replacing
from homeserver.rooms.relations import check_relation, relation_of
from homeserver.rooms.room import Room, RoomState
from storage import events, members, rooms
from storage.events import Event, Submission
from storage.members import Member
from storage.transaction import WriteTransaction


class Judge(Protocol):
    """Decides whom an event notifies: push."""

    def judge(self, txn: WriteTransaction, room: Room, event: Event) -> int:
        """What the default push rules make of it for a member whom it does not address.

        ``room`` is the room before it. Those to whom it means something else are written down.
        """


class Warden(Protocol):
    """Knows who must not take part for the time being."""

    def check_event(self, draft: Draft) -> None:
        """Refuse what the sender must not do."""


class Gate(Protocol):
    """Knows who must not be invited."""

    def check(self, user_id: str) -> None:
        """Refuse to invite somebody."""


class GuestRules(Protocol):
    """Knows who is a guest, and what guests may do."""

    def check_event(self, txn: WriteTransaction, room: Room, draft: Draft) -> None:
        """Refuse what the sender must not do as a guest."""

    def leaving(self, txn: WriteTransaction, before: Room, after: Room) -> Sequence[Draft]:
        """Who may no longer be there, now that the room is as it is after the event."""


class Watcher(Protocol):
    """Does in the same transaction what follows from an event."""

    def stored(self, txn: WriteTransaction, before: Room, after: Room, event: Event) -> None:
        """``event`` has brought the room from ``before`` to ``after``."""


@frozen
class Journal:
    """Appends events to rooms."""

    rooms: RoomCache
    signer: Signer
    clock: Clock
    kinds: Kinds
    judge: Judge
    warden: Warden
    invites: Gate
    guests: GuestRules
    redact: Redact
    watchers: Sequence[Watcher] = ()

    def append(
        self,
        txn: WriteTransaction,
        room: Room,
        draft: Draft,
        *,
        sent: Submission | None = None,
        by_server: bool = False,
    ) -> tuple[Event, Room]:
        """Store ``draft`` as the next event of ``room``; the event, and the room after it.

        ``sent`` is what a device asked for. ``by_server`` marks what a service of this server does
        in somebody's name. The room must be the one that this transaction has reached:
        ``RoomCache.head``.

        Raises:
            Forbidden: a rule of the room version or of the conversation type is broken.
            UserSuspended: the sender takes part in nothing for the time being.
            InviteBlocked: the person invited wants no invites.
            GuestAccessForbidden: the sender is a guest, and guests may not.
            EventTooLarge, BadJson: it cannot be an event.
        """
        if not by_server:
            self.warden.check_event(draft)
            self.guests.check_event(txn, room, draft)
        self.kinds.check(room, draft, by_server=by_server)
        auth_rules.check(room.version, draft, room.state)
        if not by_server and _is_invite(draft):
            self.invites.check(str(draft.state_key))
        target = self.redact.target(txn, room, draft)
        check_relation(txn, room, draft)
        relation = relation_of(draft.content)
        event, envelope = self._build(txn, room, draft, sent, relation)
        event = evolve(event, verdict=self.judge.judge(txn, room, event))
        events.add(txn, event, envelope)
        after = room.after(event)
        txn.overlay[event.room_id] = after
        users = self._note_membership(txn, after, event)
        txn.announce(
            EventAdded(
                position=event.position,
                rooms=(event.room_id,),
                users=users,
                event=event,
                room=after,
            )
        )
        if target is not None:
            after = self.redact.carry_out(txn, after, target, event)
        for watcher in self.watchers:
            watcher.stored(txn, room, after, event)
        for leave in self.guests.leaving(txn, room, after):
            _, after = self.append(txn, after, leave, by_server=True)
        return event, after

    def begin(self, txn: WriteTransaction, room: Room, draft: Draft) -> tuple[Event, Room]:
        """Store the create event of a new room, whose id may follow from it."""
        auth_rules.check(room.version, draft, RoomState({}))
        event, envelope = self._build(txn, room, draft, None, None)
        events.add(txn, event, envelope)
        after = evolve(room, room_id=event.room_id).after(event)
        txn.overlay[event.room_id] = after
        txn.announce(
            EventAdded(position=event.position, rooms=(event.room_id,), event=event, room=after)
        )
        return event, after

    def _build(
        self,
        txn: WriteTransaction,
        room: Room,
        draft: Draft,
        sent: Submission | None,
        relation: tuple[str, str] | None,
    ) -> tuple[Event, str]:
        replaced = None
        if draft.state_key is not None:
            replaced = room.state.get(draft.type, draft.state_key)
        auth_events = (
            room.state.get(*key) for key in auth_rules.auth_event_keys(room.version, draft)
        )
        auth_ids = [event.event_id for event in auth_events if event is not None]
        prev_ids = [room.last_event_id] if room.last_event_id else []
        links = _links(txn, room, {*auth_ids, *prev_ids})
        built = pdus.build(
            room.version,
            self.signer,
            room_id=draft.room_id,
            sender=draft.sender,
            type=draft.type,
            content=dict(draft.content),
            state_key=draft.state_key,
            redacts=draft.redacts,
            origin_server_ts=self.clock() if draft.ts is None else draft.ts,
            depth=room.seq + 1,
            prev_events=[links[event_id] for event_id in prev_ids],
            auth_events=[links[event_id] for event_id in auth_ids],
        )
        event = Event(
            position=txn.position(),
            room_id=built.room_id,
            seq=room.seq + 1,
            event_id=built.event_id,
            type=draft.type,
            sender=draft.sender,
            state_key=draft.state_key,
            origin_server_ts=built.pdu["origin_server_ts"],
            json=pdus.client_json(room.version, built),
            unsigned="" if replaced is None else replacing(replaced),
            device_id=sent.device_id if sent else None,
            txn_id=sent.txn_id if sent else None,
            relates_to=relation[0] if relation else None,
            rel_type=relation[1] if relation else None,
            verdict=0,
        )
        return event, pdus.envelope_json(built)

    def _note_membership(self, txn: WriteTransaction, room: Room, event: Event) -> tuple[str, ...]:
        """Keep the table of memberships; whoever it is about sees the change in their /sync."""
        if event.type != "m.room.member" or event.state_key is None:
            return ()
        membership = str(event.content["membership"])
        members.put(
            txn,
            Member(
                event.state_key,
                event.room_id,
                membership,
                event.event_id,
                event.position,
                event.seq,
            ),
        )
        if room.kind in ("direct", "self") and membership in ("leave", "ban"):
            present = room.state.memberships().values()
            if "join" not in present and "invite" not in present:
                rooms.release_unique(txn, room.room_id)
        return (event.state_key,)


def _is_invite(draft: Draft) -> bool:
    return draft.type == "m.room.member" and draft.content.get("membership") == "invite"


def _links(txn: WriteTransaction, room: Room, event_ids: set[str]) -> Mapping[str, Link]:
    """How an event of the room names earlier ones. Only the oldest versions need more than ids."""
    if room.version.event_id_alphabet is not None:
        return {event_id: event_id for event_id in event_ids}
    return {
        event_id: pdus.link_to(room.version, pdus.pdu_from(room.version, *texts, room.room_id))
        for event_id, texts in events.texts(txn, event_ids).items()
    }
