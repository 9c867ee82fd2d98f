"""Erasure: what somebody has sent is shown as if it had been redacted, to whoever comes later.

Client-server API, "Account deactivation", ``erase``: whoever joins a room after the erasure gets
redacted copies; whoever could see the events by then still sees them whole. No redaction is sent
and the database stays as it is, so that nobody hears of it.

What a room is - its name, that it is encrypted, the rooms of a space - is nobody's words, whoever
set it, and stays whole: a newcomer whose client does not know of the encryption would write in
plain text. State about people is theirs: memberships, and what has its sender's id as its key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve, frozen

from homeserver.events import redact
from homeserver.rooms.stretches import EVER, Stretches, gaps, within
from homeserver.rooms.versions import RoomVersion
from storage.events import Event

_MEMBER = "m.room.member"


@frozen
class Erased:
    """Whose events in a room one reader gets as redacted copies, and which of them."""

    reader: str
    version: RoomVersion
    kept: Mapping[str, Stretches]
    """By the person who is erased, what the reader had been shown of the room by then. State from
    before the time that they were shown is a copy: when it was replaced nobody looks up."""

    def copy(self, event: Event) -> Event:
        """The event as the reader gets it, mostly the same.

        People are told of their own memberships as they were, as always.
        """
        if event.type == _MEMBER and event.state_key == self.reader:
            return event
        if self._covers(event.sender, event.type, event.state_key, event.seq):
            left = redact(self.version, orjson.loads(event.json))
            json = orjson.dumps(left, option=orjson.OPT_SORT_KEYS).decode()
            event = evolve(event, json=json, relates_to=None, rel_type=None)
        if event.quotes_past or event.is_redacted:
            return evolve(event, unsigned=self._unsigned(event))
        return event

    @property
    def unsaid(self) -> Sequence[tuple[str, int, int]]:
        """Whose messages the reader has only copies of, with first and last numbers of events."""
        return [(who, *gap) for who, kept in self.kept.items() for gap in gaps(kept)]

    def _covers(self, sender: str, type: str, state_key: str | None, seq: int) -> bool:
        if sender not in self.kept or within(self.kept[sender], seq):
            return False
        return state_key is None or type == _MEMBER or sender in state_key

    def _unsigned(self, event: Event) -> str:
        """What the event quotes, with copies of what is covered.

        When that was sent it does not say. A state event quotes what was there until it came; a
        redaction may have come at any time, so only whoever was there to the end heard of it.
        """
        stored: dict[str, Any] = orjson.loads(f"{{{event.unsigned}}}")
        sender = stored.get("prev_sender", "")
        if self._covers(sender, event.type, event.state_key, event.seq - 1):
            quoted = {"type": event.type, "content": stored["prev_content"]}
            stored["prev_content"] = redact(self.version, quoted)["content"]
        because = stored.get("redacted_because")
        if because is not None and self._covers(because["sender"], because["type"], None, EVER):
            stored["redacted_because"] = redact(self.version, because)
        return orjson.dumps(stored).decode()[1:-1]
