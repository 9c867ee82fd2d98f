"""What a rule wants to be done about an event for one person: ``notify``, sounds, highlights."""

from typing import Any

import orjson
from attrs import frozen

from homeserver.push.conditions import PushEvent, RoomFacts
from homeserver.push.evaluate import Audience, Member, evaluate
from homeserver.push.room_facts import display_name, notification_levels
from homeserver.push.spans import Spans
from homeserver.rooms.room import Room
from storage.events import Event


@frozen
class Actions:
    """Asks the rules that somebody has today."""

    spans: Spans

    def of(
        self, user_id: str, room: Room, event: Event, *, highlight: bool
    ) -> list[str | dict[str, Any]]:
        """Those of the rule that matches, if it still comes to what was decided at the time."""
        span = self.spans.find(user_id, room.room_id)
        person = Member(user_id, display_name(room, user_id), self.spans.variant(span).rules)
        facts = RoomFacts(
            room.state.count("join"),
            room.power_levels.level_of(event.sender),
            notification_levels(room),
        )
        pushed = PushEvent({**orjson.loads(event.json), "room_id": event.room_id})
        verdict = evaluate(pushed, facts, Audience([person])).verdict(person)
        if verdict.notify and verdict.highlight == highlight:
            return verdict.actions
        return ["notify", {"set_tweak": "highlight"}] if highlight else ["notify"]
