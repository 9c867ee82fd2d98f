"""A client that follows /sync: what it has put together must be what a new device would see."""

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from tests.support import Person

Json = dict[str, Any]


@define
class FollowedRoom:
    """One joined room, as the client has it."""

    state: dict[tuple[str, str], Json] = field(factory=dict)
    timeline: list[Json] = field(factory=list)
    account_data: dict[str, Json] = field(factory=dict)
    receipts: dict[tuple[str, str, str], str] = field(factory=dict)
    """The event, by person, type and thread."""
    counts: Json = field(factory=dict)
    summary: Json = field(factory=dict)


@define
class Follower:
    """One device that syncs from time to time and merges as the specification says."""

    person: Person
    state_after: bool = False
    timeline_limit: int | None = None
    token: str | None = None
    joined: dict[str, FollowedRoom] = field(factory=dict)
    invited: set[str] = field(factory=set)
    account_data: dict[str, Json] = field(factory=dict)
    tracked: set[str] = field(factory=set)
    """Whose device lists the client keeps: everybody with whom the person shares a room."""
    changed: set[str] = field(factory=set)
    """Whose device lists the newest sync said to have changed."""
    news: Json = field(factory=dict)
    """The newest answer of /sync."""

    @property
    def query(self) -> Json:
        """How this client syncs."""
        query: Json = {}
        if self.state_after:
            query["use_state_after"] = "true"
        if self.timeline_limit is not None:
            query["filter"] = {"room": {"timeline": {"limit": self.timeline_limit}}}
        return query

    async def sync(self) -> None:
        """One /sync, merged."""
        answer = await self.person.sync(since=self.token, **self.query)
        self.news = answer
        rooms = answer.get("rooms", {})
        for room_id, section in rooms.get("join", {}).items():
            await self._merge_joined(room_id, section)
            self.invited.discard(room_id)
        for room_id in rooms.get("invite", {}):
            self.joined.pop(room_id, None)
            self.invited.add(room_id)
        for room_id in rooms.get("leave", {}):
            self.joined.pop(room_id, None)
            self.invited.discard(room_id)
        _merge_account_data(self.account_data, answer)
        lists = answer.get("device_lists", {})
        self.changed = set(lists.get("changed", []))
        self.tracked |= self.changed
        self.tracked -= set(lists.get("left", []))
        if self.token is None:
            self.tracked |= self.sharing()
        self.token = answer["next_batch"]

    def sharing(self) -> set[str]:
        """Everybody else in the rooms that the client knows, and who is invited to them."""
        return {
            key
            for room in self.joined.values()
            for (event_type, key), event in room.state.items()
            if event_type == "m.room.member"
            and event["content"].get("membership") in ("join", "invite")
        } - {self.person.id}

    async def _merge_joined(self, room_id: str, section: Mapping[str, Any]) -> None:
        known = self.joined.get(room_id)
        room = self.joined.setdefault(room_id, FollowedRoom())
        timeline = section.get("timeline", {"events": [], "limited": False})
        events = list(timeline["events"])
        if timeline["limited"] and known is not None:
            events = await self._gap(room_id, timeline["prev_batch"]) + events
        for event in section.get("state", section.get("state_after", {})).get("events", []):
            room.state[event["type"], event["state_key"]] = event
        for event in timeline["events"]:
            if "state_key" in event and "state_after" not in section:
                room.state[event["type"], event["state_key"]] = event
        room.timeline += events
        _merge_account_data(room.account_data, section)
        for event in section.get("ephemeral", {}).get("events", []):
            if event["type"] == "m.receipt":
                _merge_receipts(room, event["content"])
        for key in ("unread_notifications", "unread_thread_notifications"):
            if key in section:
                room.counts[key] = section[key]
        room.summary |= section.get("summary", {})

    async def _gap(self, room_id: str, prev_batch: str) -> list[Json]:
        """What lies between the last answer and a limited timeline, oldest first."""
        found: list[Json] = []
        query: Json = {"from": prev_batch, "to": self.token, "limit": 3}
        while True:
            page = await self.person.messages(room_id, **query)
            found += page["chunk"]
            if "end" not in page:
                return found[::-1]
            query["from"] = page["end"]


def _merge_account_data(kept: dict[str, Json], section: Mapping[str, Any]) -> None:
    """An empty object says that a piece has been deleted (MSC3391)."""
    for event in section.get("account_data", {}).get("events", []):
        if event["content"]:
            kept[event["type"]] = event["content"]
        else:
            kept.pop(event["type"], None)


def _merge_receipts(room: FollowedRoom, content: Json) -> None:
    for event_id, by_type in content.items():
        for receipt_type, people in by_type.items():
            for user_id, receipt in people.items():
                key = (user_id, receipt_type, receipt.get("thread_id", ""))
                room.receipts[key] = event_id
