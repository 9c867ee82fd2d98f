"""Redaction: an event loses its content, wherever that is written."""

from typing import Protocol

import orjson
from attrs import evolve, frozen

from homeserver import events as pdus
from homeserver.rooms import auth_rules
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.changes import EventRedacted
from homeserver.rooms.originals import Originals
from homeserver.rooms.room import Room
from schema.errors import BadJson, Forbidden, NotFound
from storage import events
from storage.events import Event
from storage.transaction import WriteTransaction

_REDACTION = "m.room.redaction"


class Judge(Protocol):
    """Decides whom an event notifies: push."""

    def redacted(self, txn: WriteTransaction, event: Event) -> None:
        """The event has lost its content, and with it what it notified of."""


class Warden(Protocol):
    """Knows who must not take part for the time being."""

    def check_redaction(self, sender: str, redacted_sender: str) -> None:
        """Refuse that the sender redacts what somebody else has sent."""


@frozen
class Redact:
    """Client-server API, "Redactions". The journal asks it about each event that it stores."""

    judge: Judge
    warden: Warden
    originals: Originals

    def target(self, txn: WriteTransaction, room: Room, draft: Draft) -> Event | None:
        """The event that a redaction is about, once it is certain that its sender may.

        None for any other event.

        Raises:
            BadJson: it does not say which event.
            NotFound: there is no such event in the room.
            Forbidden: the event is somebody else's, or the room cannot be without it.
        """
        if draft.type != _REDACTION:
            return None
        event_id = draft.target
        if not isinstance(event_id, str):
            raise BadJson("A redaction names the event that it is about in `redacts`")
        target = events.find(txn, room.room_id, event_id)
        if target is None:
            raise NotFound("There is no such event in this room to redact")
        auth_rules.check_redaction(room.version, draft.sender, target.sender, room.state)
        self.warden.check_redaction(draft.sender, target.sender)
        if target.type == "m.room.create" and not room.version.redaction.keeps_create_content:
            # Clients would take it for one of version 1 and not know its type.
            raise Forbidden("The event that made the room says what room it is: it has to stay")
        return target

    def carry_out(self, txn: WriteTransaction, room: Room, target: Event, redaction: Event) -> Room:
        """Take the content of ``target`` away; the room afterwards."""
        if not target.is_redacted:
            self.originals.keep(txn, target)
        left = pdus.redact(room.version, orjson.loads(target.json))
        redacted = evolve(
            target,
            json=orjson.dumps(left, option=orjson.OPT_SORT_KEYS).decode(),
            unsigned=_because(redaction, target),
            relates_to=None,
            rel_type=None,
            verdict=0,
        )
        self.judge.redacted(txn, target)
        changed = [redacted, *self._quoting(txn, target, redacted)]
        for event in changed:
            events.replace_text(txn, event)
            room = _with(room, event)
        txn.overlay[room.room_id] = room
        for event in changed:
            txn.announce(
                EventRedacted(
                    position=redaction.position, rooms=(room.room_id,), event=event, room=room
                )
            )
        return room

    def _quoting(self, txn: WriteTransaction, target: Event, redacted: Event) -> list[Event]:
        """What repeats the content of ``target`` has to repeat what is left of it."""
        found = []
        if target.state_key is not None:
            successor = events.next_state_event(txn, target)
            if successor is not None and not successor.is_redacted:
                found.append(evolve(successor, unsigned=replacing(redacted)))
        if target.type == _REDACTION:
            event_id = orjson.loads(target.json).get("redacts")
            quoting = events.find(txn, target.room_id, event_id) if event_id else None
            if quoting is not None and _quotes(quoting, target):
                found.append(evolve(quoting, unsigned=_because(redacted, quoting)))
        return found


def replacing(old: Event) -> str:
    """What ``unsigned`` of a state event says about the one that it replaces."""
    content = orjson.dumps(old.content).decode()
    return (
        f'"prev_content":{content},"prev_sender":{_text(old.sender)},'
        f'"replaces_state":{_text(old.event_id)}'
    )


def _with(room: Room, event: Event) -> Room:
    """The room, with an event that has changed in its current state if it is there."""
    if event.state_key is None:
        return room
    current = room.state.get(event.type, event.state_key)
    if current is None or current.seq != event.seq:
        return room
    return evolve(room, state=room.state.with_event(event))


def _because(redaction: Event, target: Event) -> str:
    """What ``unsigned`` of a redacted event says. It begins like that of no other event."""
    because = f'"redacted_because":{redaction.json[:-1]},"room_id":{_text(redaction.room_id)}}}'
    replaced = target.replaced
    return f'{because},"replaces_state":{_text(replaced)}' if replaced else because


def _quotes(event: Event, redaction: Event) -> bool:
    """Whether an event that was redacted names this redaction."""
    return event.redaction == redaction.event_id


def _text(value: str) -> str:
    return orjson.dumps(value).decode()
