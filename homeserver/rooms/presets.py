"""What a new room begins with: presets, default power levels, default encryption."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from homeserver.rooms.versions import RoomVersion

State = tuple[str, str, dict[str, Any]]


class Preset(Enum):
    """Client-server API, ``createRoom``: join rules, history visibility, guest access."""

    PRIVATE = "private_chat"
    TRUSTED = "trusted_private_chat"
    PUBLIC = "public_chat"

    @classmethod
    def of(cls, name: str | None, visibility: str | None) -> "Preset":
        """The preset of that name; without one, the visibility decides."""
        if name is None:
            return cls.PUBLIC if visibility == "public" else cls.PRIVATE
        return cls(name)


def first_state(preset: Preset) -> list[State]:
    """The state that the preset sets."""
    public = preset is Preset.PUBLIC
    return [
        ("m.room.join_rules", "", {"join_rule": "public" if public else "invite"}),
        ("m.room.history_visibility", "", {"history_visibility": "shared"}),
        ("m.room.guest_access", "", {"guest_access": "forbidden" if public else "can_join"}),
    ]


def encryption_event() -> Mapping[str, Any]:
    """What switches encryption on."""
    return {
        "type": "m.room.encryption",
        "state_key": "",
        "content": {"algorithm": "m.megolm.v1.aes-sha2"},
    }


def power_levels(
    version: RoomVersion, kind: str, preset: Preset, creator: str, invite: Sequence[str]
) -> dict[str, Any]:
    """Administrators have 100, moderators 50, members 0."""
    users = {creator: 100}
    if preset is Preset.TRUSTED or kind == "direct":
        users |= dict.fromkeys(invite, 100)
    if version.creators_privileged:
        trusted = invite if preset is Preset.TRUSTED else ()
        users = {user: level for user, level in users.items() if user not in (creator, *trusted)}
    return {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.tombstone": 150 if version.creators_privileged else 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
            # Everybody may take part in calls.
            "org.matrix.msc3401.call.member": 0,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if preset is Preset.PUBLIC else 0,
    }
