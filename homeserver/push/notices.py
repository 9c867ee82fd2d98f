"""What a push gateway is told (push gateway API, ``/_matrix/push/v1/notify``)."""

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from homeserver.ignored_people import IgnoredPeople
from homeserver.invite_permission import InvitePermission
from homeserver.push.actions import Actions
from homeserver.push.counts import PushCountsPart
from homeserver.push.room_facts import display_name
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.room import Room
from storage.events import Event

Json = dict[str, Any]


@frozen
class Due:
    """An event of which somebody is to be notified."""

    event: Event
    thread_id: str
    highlight: bool


@frozen
class Notices:
    """Puts together what one pusher is told."""

    rooms: RoomCache
    memberships: Memberships
    counts: PushCountsPart
    actions: Actions
    ignored: IgnoredPeople
    invites: InvitePermission

    async def unread(self, user_id: str) -> int:
        """How many notifications somebody has not read, invitations among them."""
        standing = list(self.memberships.of(user_id).values())
        joined = [each.room_id for each in standing if each.membership == "join"]
        counts = await self.counts.counts(user_id, joined)
        unread = sum(each["unread_notifications"]["notification_count"] for each in counts.values())
        invited = [each.room_id for each in standing if each.membership == "invite"]
        rooms = [await self.rooms.get(room_id) for room_id in invited]
        return unread + sum(self._shows_invite(user_id, room) for room in rooms)

    def ignores(self, user_id: str, sender: str) -> bool:
        """Whether nothing of ``sender`` is to be told to somebody."""
        return sender in self.ignored.of(user_id)

    async def is_read(self, user_id: str, due: Due) -> bool:
        """Whether it is too late to tell somebody.

        They have read the room, or are out of it, or have come to ignore the sender.
        """
        room_id = due.event.room_id
        if self.ignores(user_id, due.event.sender):
            return True
        member = self.memberships.find(user_id, room_id)
        if member is None or member.membership != "join":
            return member is None or member.event_id != due.event.event_id
        return await self.counts.has_read(user_id, room_id, due.thread_id, due.event.seq)

    async def about(self, user_id: str, pusher: Mapping[str, Any], due: Due, unread: int) -> Json:
        """The notice of an event, for one pusher of a person's."""
        event = due.event
        room = await self.rooms.get(event.room_id)
        actions = self.actions.of(user_id, room, event, highlight=due.highlight)
        tweaks = {
            each["set_tweak"]: each.get("value", True)
            for each in actions
            if isinstance(each, dict) and "set_tweak" in each
        }
        is_urgent = tweaks.keys() & {"sound", "highlight"} or event.type == "m.room.encrypted"
        notification = {
            "event_id": event.event_id,
            "room_id": event.room_id,
            "prio": "high" if is_urgent else "low",
            **_device(pusher, unread, tweaks),
        }
        if pusher["data"].get("format") != "event_id_only":
            notification |= _shown(user_id, room, event)
        return {"notification": notification}

    def _shows_invite(self, user_id: str, room: Room) -> bool:
        own = room.state.get("m.room.member", user_id)
        return own is not None and self.invites.shows(user_id, own.sender)

    def badge(self, pusher: Mapping[str, Any], unread: int) -> Json:
        """The notice of nothing but how much is unread."""
        return {"notification": _device(pusher, unread, {})}


def _device(pusher: Mapping[str, Any], unread: int, tweaks: Json) -> Json:
    device: Json = {
        "app_id": pusher["app_id"],
        "pushkey": pusher["pushkey"],
        "pushkey_ts": pusher["pushkey_ts"] // 1000,
        "data": {name: value for name, value in pusher["data"].items() if name != "url"},
    }
    if tweaks:
        device["tweaks"] = tweaks
    return {"counts": {"unread": unread}, "devices": [device]}


def _shown(user_id: str, room: Room, event: Event) -> Json:
    shown = {
        "type": event.type,
        "sender": event.sender,
        "sender_display_name": display_name(room, event.sender),
        "room_name": room.state.text("m.room.name", "name"),
        "room_alias": room.state.text("m.room.canonical_alias", "alias"),
        "content": orjson.loads(event.json)["content"],
    }
    if event.type == "m.room.member":
        shown["user_is_target"] = event.state_key == user_id
    return {name: value for name, value in shown.items() if value is not None}
