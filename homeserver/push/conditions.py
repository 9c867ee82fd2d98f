"""What a push rule asks of an event ("Conditions")."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from homeserver.push.patterns import fold, has_wildcard, property_path, whole, words
from homeserver.push.predefined import Json, Own, Rule
from homeserver.push.rules import MEMBER_COUNT

BODY: Final = ("content", "body")
USER_IDS: Final = ("content", "m.mentions", "user_ids")
STATE_KEY: Final = ("state_key",)

_ABSENT: Final = object()
_DEFAULT_NOTIFICATION_LEVEL: Final = 50
_COMPARISONS: Final[Mapping[str | None, Callable[[int, int], bool]]] = {
    None: operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class PushEvent:
    """An event as clients receive it (with event_id and room_id), prepared for push rules.

    Leave ``unsigned`` out where it differs by receiver: a rule may look at any property.
    """

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.sender: str = event["sender"]
        self.room_id: str = event["room_id"]
        self._event = event
        self._folded: dict[tuple[str, ...], str | None] = {}

    def value(self, path: tuple[str, ...]) -> Any:
        value: Any = self._event
        for name in path:
            if not isinstance(value, Mapping) or name not in value:
                return _ABSENT
            value = value[name]
        return value

    def folded(self, path: tuple[str, ...]) -> str | None:
        """The text at ``path`` without differences of case, None when there is no text."""
        if path in self._folded:
            return self._folded[path]
        value = self.value(path)
        folded = self._folded[path] = fold(value) if isinstance(value, str) else None
        return folded


@frozen
class RoomFacts:
    """What push rules ask about the room, as it is when the event is sent."""

    member_count: int
    sender_power_level: float
    # "notifications" in the content of m.room.power_levels.
    notifications: Mapping[str, Any] = field(factory=dict)

    def sender_may_notify(self, key: str) -> bool:
        level = self.notifications.get(key)
        if not isinstance(level, int):
            level = _DEFAULT_NOTIFICATION_LEVEL
        return self.sender_power_level >= level


@frozen
class Addressed:
    """In which ways an event is about a person: in ``m.mentions``, by state_key, by name."""

    mentioned: bool = False
    subject: bool = False
    named: bool = False


Condition = Callable[[PushEvent, RoomFacts, Addressed], bool]


def compiled_conditions(rule: Rule) -> tuple[Condition, ...]:
    """The conditions of an override or underride rule; all of them have to hold."""
    return tuple(map(_compiled_condition, rule.conditions or ()))


def _compiled_condition(condition: Json) -> Condition:
    match condition["kind"]:
        case "event_match":
            return _event_match(property_path(condition["key"]), condition["pattern"])
        case "event_property_is":
            return _event_property_is(property_path(condition["key"]), condition["value"])
        case "event_property_contains":
            return _event_property_contains(property_path(condition["key"]), condition["value"])
        case "room_member_count":
            return _room_member_count(condition["is"])
        case "sender_notification_permission":
            return lambda event, room, addressed: room.sender_may_notify(condition["key"])
        case "contains_display_name":
            return lambda event, room, addressed: addressed.named
        case _:
            # "Unrecognised conditions MUST NOT match any events."
            return lambda event, room, addressed: False


def _event_match(path: tuple[str, ...], pattern: str | Own) -> Condition:
    if isinstance(pattern, Own):
        return lambda event, room, addressed: addressed.subject
    if path != BODY and not has_wildcard(pattern):
        expected = fold(pattern)
        return lambda event, room, addressed: event.folded(path) == expected
    glob = words(pattern) if path == BODY else whole(pattern)

    def matches(event: PushEvent, room: RoomFacts, addressed: Addressed) -> bool:
        text = event.folded(path)
        return text is not None and glob.matches(text)

    return matches


def _event_property_is(path: tuple[str, ...], expected: Any) -> Condition:
    return lambda event, room, addressed: _is_same(event.value(path), expected)


def _event_property_contains(path: tuple[str, ...], expected: Any) -> Condition:
    if isinstance(expected, Own):
        return lambda event, room, addressed: addressed.mentioned

    def contains(event: PushEvent, room: RoomFacts, addressed: Addressed) -> bool:
        values = event.value(path)
        return isinstance(values, list) and any(_is_same(value, expected) for value in values)

    return contains


def _room_member_count(text: str) -> Condition:
    found = MEMBER_COUNT.fullmatch(text)
    if found is None:
        raise ValueError("not a member count")
    compare, number = _COMPARISONS[found[1]], int(found[2])
    return lambda event, room, addressed: compare(room.member_count, number)


def _is_same(value: Any, expected: Any) -> bool:
    # true is not 1, as it would be in Python.
    return type(value) is type(expected) and value == expected
