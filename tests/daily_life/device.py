"""A phone or a laptop as its owner sees it: what it shows is put together from /sync alone."""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import define

from tests.following import FollowedRoom, Follower, Json
from tests.support import Person, Server, WireTest


@define(eq=False)
class Device(Follower):
    """One device: verbs for what its owner does, and what is on its screen."""

    @property
    def id(self) -> str:
        """The owner's user id."""
        return self.person.id

    @property
    def query(self) -> Json:
        """It wants the unread counts of threads on their own."""
        return {"filter": {"room": {"timeline": {"unread_thread_notifications": True}}}}

    # What the owner does

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Something that has to succeed."""
        return await self.person.ask(method, path, body, query=query)

    async def tries(self, method: str, path: str, body: Any = None) -> tuple[int, str | None]:
        """Something that may be refused: the status, and the error code if it was."""
        code, answer = await self.person.call(method, path, body)
        return code, answer.get("errcode")

    async def say(self, room: str, text: str, **more: Any) -> str:
        """Send a message as clients do, which say whom they mention; its id."""
        return await self.person.say(room, text, **{"m.mentions": {}, **more})

    async def mention(self, room: str, text: str, *others: "Device") -> str:
        """Say something to somebody by name; the id of the message."""
        return await self.say(room, text, **{"m.mentions": {"user_ids": [o.id for o in others]}})

    async def reply(self, room: str, event: str, text: str) -> str:
        """Reply to a message; the id of the reply."""
        return await self.say(
            room, text, **{"m.relates_to": {"m.in_reply_to": {"event_id": event}}}
        )

    async def edit(self, room: str, event: str, text: str) -> str:
        """Replace what a message says; the id of the edit."""
        new = {"msgtype": "m.text", "body": text, "m.mentions": {}}
        replaces = {"rel_type": "m.replace", "event_id": event}
        more = {"m.new_content": new, "m.relates_to": replaces}
        return await self.say(room, f"* {text}", **more)

    async def react(self, room: str, event: str, key: str) -> str:
        """Annotate a message; the id of the reaction."""
        content = {"rel_type": "m.annotation", "event_id": event, "key": key}
        return await self.person.send(room, "m.reaction", {"m.relates_to": content})

    async def redact(self, room: str, event: str) -> None:
        """Take something back."""
        await self.ask("PUT", f"/rooms/{room}/redact/{event}/{self.person.transaction()}")

    async def say_in_thread(self, room: str, root: str, text: str, **more: Any) -> str:
        """Answer in the thread that begins with ``root``; the id of the message."""
        thread = {"rel_type": "m.thread", "event_id": root}
        return await self.say(room, text, **{"m.relates_to": thread, **more})

    async def read(self, room: str, event: str, thread: str | None = None) -> None:
        """Read up to an event, of one thread or of all of them."""
        body = {} if thread is None else {"thread_id": thread}
        await self.ask("POST", f"/rooms/{room}/receipt/m.read/{event}", body)

    async def note(self, room: str, kind: str, content: Json) -> None:
        """Write down something about a room for all of the owner's devices."""
        await self.ask("PUT", f"/user/{self.id}/rooms/{room}/account_data/{kind}", content)

    # What is on the screen

    def room(self, room: str) -> FollowedRoom:
        """A joined room, as the device has it."""
        return self.joined[room]

    def shown(self, room: str) -> list[str]:
        """The messages outside of threads: edited as their senders wish, gone if taken back."""
        texts: dict[str, str] = {}
        senders = {event["event_id"]: event["sender"] for event in self.room(room).timeline}
        for event in self._standing(room):
            content = event["content"]
            relation = content.get("m.relates_to", {})
            if relation.get("rel_type") == "m.replace":
                edited = relation["event_id"]
                if edited in texts and senders[edited] == event["sender"]:
                    texts[edited] = content["m.new_content"]["body"]
            elif event["type"] == "m.room.message" and relation.get("rel_type") != "m.thread":
                texts[event["event_id"]] = content["body"]
        return list(texts.values())

    def reactions(self, room: str, event: str) -> Mapping[str, int]:
        """How often a message was annotated, by key."""
        relations = [e["content"].get("m.relates_to", {}) for e in self._standing(room)]
        return Counter(r["key"] for r in relations if r.get("event_id") == event and "key" in r)

    def badge(self, room: str) -> tuple[int, int]:
        """The unread messages outside of threads that notify, and those that highlight."""
        return _badge(self.room(room).counts["unread_notifications"])

    def thread_badges(self, room: str) -> dict[str, tuple[int, int]]:
        """The same for each thread with something unread, by its root."""
        threads = self.news["rooms"]["join"][room].get("unread_thread_notifications", {})
        return {root: _badge(counts) for root, counts in threads.items()}

    def receipts_of(self, room: str, reader: "Device") -> dict[str, str]:
        """How far somebody has read: the event, by thread ("" is a receipt for no thread)."""
        receipts = self.room(room).receipts
        return {thread: event for (who, _, thread), event in receipts.items() if who == reader.id}

    def membership(self, room: str, other: "Device") -> str | None:
        """How somebody stands with a room, as its state says."""
        event = self.room(room).state.get(("m.room.member", other.id))
        return None if event is None else event["content"]["membership"]

    def state(self, room: str, kind: str) -> Json:
        """What the room's state says."""
        content: Json = self.room(room).state[kind, ""]["content"]
        return content

    def _standing(self, room: str) -> list[Json]:
        """The events that nobody has taken back, oldest first."""
        events = self.room(room).timeline
        gone = {e["content"].get("redacts") for e in events if e["type"] == "m.room.redaction"}
        return [e for e in events if e["event_id"] not in gone and e["content"]]


def _badge(counts: Mapping[str, int]) -> tuple[int, int]:
    return counts["notification_count"], counts["highlight_count"]


class DailyLife(WireTest):
    """People with devices, who all look at their screens now and then."""

    async def setUp(self) -> None:
        self.hearth: Server = await self.server()
        self.devices: list[Device] = []

    async def people(self, *names: str) -> list[Device]:
        """New neighbours, each with one device."""
        return [self._hold(await self.hearth.person(name)) for name in names]

    async def another_device(self, device: Device, **more: str) -> Device:
        """The same person logs in once more."""
        return self._hold(await self.hearth.log_in(device.person, **more))

    async def everybody_looks(self) -> None:
        """Every device syncs."""
        for device in self.devices:
            await device.sync()

    async def room(self, host: Device, *guests: Device, **wish: Any) -> str:
        """A room with these people in it."""
        invite = [guest.id for guest in guests]
        room = await host.person.create_room(invite=invite, **wish)
        for guest in guests:
            await guest.person.join(room)
        return room

    def _hold(self, person: Person) -> Device:
        device = Device(person)
        self.devices.append(device)
        return device


def quoted(text: str) -> str:
    """A part of a path."""
    return quote(text, safe="")
