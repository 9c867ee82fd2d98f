"""What people are told of a room before they are in it, and who is told."""

from typing import Any

from attrs import frozen

from homeserver.directory import describe
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.room import Room
from schema.errors import NotFound

MEGOLM = "m.megolm.v1.aes-sha2"


@frozen
class Summaries:
    """Client-server API, "Room Summaries"; spaces show their rooms to the same people."""

    rooms: RoomCache
    memberships: Memberships

    async def summary(self, room_id: str, user_id: str | None) -> dict[str, Any]:
        """A room in short, with the reader's membership; ``user_id`` is None for a stranger.

        Raises:
            NotFound: there is no such room, or it is not shown to the reader.
        """
        room = await self.rooms.find(room_id)
        if room is None or not self.may_show(room, user_id):
            raise NotFound("There is no such room, or it is not for you to see")
        summary = summarise(room)
        if user_id is not None:
            summary["membership"] = room.state.membership(user_id)
        return summary

    def may_show(self, room: Room, user_id: str | None) -> bool:
        """Whether somebody is in the room, may come in, may knock, or may read it all the same."""
        state = room.state
        if state.text("m.room.history_visibility", "history_visibility") == "world_readable":
            return True
        membership = "leave" if user_id is None else state.membership(user_id)
        if membership in ("join", "invite"):
            return True
        if membership == "ban":
            return False
        rule = state.text("m.room.join_rules", "join_rule")
        if rule == "public" or rule in room.version.knock_rules:
            return True
        if user_id is None or rule not in room.version.restricted_rules:
            return False
        return any(self._is_in(user_id, other) for other in allowed_rooms(room))

    def _is_in(self, user_id: str, room_id: str) -> bool:
        member = self.memberships.find(user_id, room_id)
        return member is not None and member.membership == "join"


def summarise(room: Room) -> dict[str, Any]:
    """A room as ``RoomSummary`` of the specification."""
    summary = {**describe(room), "room_version": room.version.id}
    if room.state.text("m.room.encryption", "algorithm") == MEGOLM:
        summary["encryption"] = MEGOLM
    allowed = allowed_rooms(room)
    if allowed:
        summary["allowed_room_ids"] = allowed
    return summary


def allowed_rooms(room: Room) -> list[str]:
    """The rooms whose members a restricted room admits; none if it is not restricted."""
    rules = room.state.content("m.room.join_rules")
    conditions = rules.get("allow")
    if rules.get("join_rule") not in room.version.restricted_rules:
        return []
    if not isinstance(conditions, list):
        return []
    named = [
        condition.get("room_id")
        for condition in conditions
        if isinstance(condition, dict) and condition.get("type") == "m.room_membership"
    ]
    return [room_id for room_id in named if isinstance(room_id, str) and room_id.startswith("!")]
