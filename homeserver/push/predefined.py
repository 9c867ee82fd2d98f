"""The push rules that everybody has from the start ("Predefined Rules")."""

import enum
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

Json = dict[str, Any]


class Own(enum.Enum):
    """What stands in a predefined rule where a person's own id belongs."""

    USER_ID = enum.auto()


@frozen
class Rule:
    """One push rule. ``conditions`` belong to override and underride, ``pattern`` to content."""

    rule_id: str
    actions: list[str | Json]
    conditions: list[Json] | None = None
    pattern: str | None = None
    enabled: bool = True

    @property
    def is_predefined(self) -> bool:
        return self.rule_id.startswith(".")

    def as_json(self, user_id: str) -> Json:
        """The rule as ``user_id`` reads it (PushRule)."""
        rule: Json = {
            "rule_id": self.rule_id,
            "default": self.is_predefined,
            "enabled": self.enabled,
            "actions": self.actions,
        }
        if self.conditions is not None:
            rule["conditions"] = [_for_person(condition, user_id) for condition in self.conditions]
        if self.pattern is not None:
            rule["pattern"] = self.pattern
        return rule


def _for_person(condition: Json, user_id: str) -> Json:
    return {name: user_id if value is Own.USER_ID else value for name, value in condition.items()}


def _match(key: str, pattern: str | Own) -> Json:
    return {"kind": "event_match", "key": key, "pattern": pattern}


_SOUND: Json = {"set_tweak": "sound", "value": "default"}
_RING: Json = {"set_tweak": "sound", "value": "ring"}
_HIGHLIGHT: Json = {"set_tweak": "highlight"}
_TWO_MEMBERS: Json = {"kind": "room_member_count", "is": "2"}
_MENTIONS_ME: Json = {
    "kind": "event_property_contains",
    "key": r"content.m\.mentions.user_ids",
    "value": Own.USER_ID,
}
_MENTIONS_ROOM: Json = {
    "kind": "event_property_is",
    "key": r"content.m\.mentions.room",
    "value": True,
}
_MAY_NOTIFY_ROOM: Json = {"kind": "sender_notification_permission", "key": "room"}
_IS_EDIT: Json = {
    "kind": "event_property_is",
    "key": r"content.m\.relates_to.rel_type",
    "value": "m.replace",
}

# Polls are no part of the specification yet (MSC3381, MSC3930), and clients use them.
_POLL = "org.matrix.msc3381.poll"
_POLL_RULE = ".org.matrix.msc3930.rule.poll"

# Stands above a person's own rules, all others below them.
MASTER: Final = Rule(".m.rule.master", [], [], enabled=False)

PREDEFINED: Final[Mapping[str, tuple[Rule, ...]]] = {
    "override": (
        Rule(".m.rule.suppress_notices", [], [_match("content.msgtype", "m.notice")]),
        Rule(
            ".m.rule.invite_for_me",
            ["notify", _SOUND],
            [
                _match("type", "m.room.member"),
                _match("content.membership", "invite"),
                _match("state_key", Own.USER_ID),
            ],
        ),
        Rule(".m.rule.member_event", [], [_match("type", "m.room.member")]),
        Rule(".m.rule.is_user_mention", ["notify", _SOUND, _HIGHLIGHT], [_MENTIONS_ME]),
        Rule(".m.rule.is_room_mention", ["notify", _HIGHLIGHT], [_MENTIONS_ROOM, _MAY_NOTIFY_ROOM]),
        Rule(
            ".m.rule.tombstone",
            ["notify", _HIGHLIGHT],
            [_match("type", "m.room.tombstone"), _match("state_key", "")],
        ),
        Rule(".m.rule.reaction", [], [_match("type", "m.reaction")]),
        Rule(
            ".m.rule.room.server_acl",
            [],
            [_match("type", "m.room.server_acl"), _match("state_key", "")],
        ),
        Rule(".m.rule.suppress_edits", [], [_IS_EDIT]),
        Rule(f"{_POLL_RULE}_response", [], [_match("type", f"{_POLL}.response")]),
    ),
    "underride": (
        Rule(".m.rule.call", ["notify", _RING], [_match("type", "m.call.invite")]),
        Rule(
            ".m.rule.encrypted_room_one_to_one",
            ["notify", _SOUND],
            [_TWO_MEMBERS, _match("type", "m.room.encrypted")],
        ),
        Rule(
            ".m.rule.room_one_to_one",
            ["notify", _SOUND],
            [_TWO_MEMBERS, _match("type", "m.room.message")],
        ),
        Rule(".m.rule.message", ["notify"], [_match("type", "m.room.message")]),
        Rule(".m.rule.encrypted", ["notify"], [_match("type", "m.room.encrypted")]),
        Rule(
            f"{_POLL_RULE}_start_one_to_one",
            ["notify", _SOUND],
            [_TWO_MEMBERS, _match("type", f"{_POLL}.start")],
        ),
        Rule(f"{_POLL_RULE}_start", ["notify"], [_match("type", f"{_POLL}.start")]),
        Rule(
            f"{_POLL_RULE}_end_one_to_one",
            ["notify", _SOUND],
            [_TWO_MEMBERS, _match("type", f"{_POLL}.end")],
        ),
        Rule(f"{_POLL_RULE}_end", ["notify"], [_match("type", f"{_POLL}.end")]),
    ),
}
