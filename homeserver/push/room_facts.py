"""What push rules ask of a room, read from its state."""

from collections.abc import Mapping
from typing import Any

from homeserver.rooms.room import Room


def notification_levels(room: Room) -> Mapping[str, Any]:
    """Who may notify everybody: ``notifications`` of the power levels."""
    levels = room.power_levels.content.get("notifications")
    return levels if isinstance(levels, dict) else {}


def display_name(room: Room, user_id: str) -> str | None:
    """How a member is called in the room."""
    name = room.state.content("m.room.member", user_id).get("displayname")
    return name if isinstance(name, str) else None
