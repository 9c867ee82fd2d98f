"""What every device of a story can do, whichever client software it runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from waiting import until

ENCRYPTED = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


@dataclass(frozen=True)
class Received:
    """An event as the device shows it: decrypted, or not ``readable``."""

    room_id: str
    event_id: str
    sender: str
    type: str
    content: dict[str, Any]
    encrypted: bool
    readable: bool


class Device:
    """A signed-in client. Subclasses drive one client library each.

    ``arrivals`` counts how often /sync brought an event, so that a doubled one shows; its order is
    that of the first arrivals.
    """

    kind = ""

    def __init__(self, owner: str, label: str) -> None:
        self.owner = owner
        self.name = f"{owner}'s {label} ({self.kind})"
        self.user_id = ""
        self.device_id = ""
        self.received: dict[str, Received] = {}
        self.arrivals: Counter[str] = Counter()
        self.refusals: list[str] = []

    def took(self, received: Received) -> None:
        self.received[received.event_id] = received

    async def reads(self, event_id: str, text: str) -> Received:
        """Wait until the event is here, was sent encrypted, and says ``text``."""
        await until(f"{self.name} receives {text!r}", lambda: event_id in self.received)
        await until(f"{self.name} decrypts {text!r}", lambda: self.received[event_id].readable)
        seen = self.received[event_id]
        if not seen.encrypted:
            raise AssertionError(f"{text!r} travelled in the clear to {self.name}")
        if seen.content.get("body") != text:
            raise AssertionError(f"{self.name} reads {seen.content!r} instead of {text!r}")
        return seen

    async def say(self, room_id: str, text: str) -> str:
        return await self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})

    async def create_room(self, invite: list[str], direct: bool = False) -> str:
        """An encrypted room: direct, or a private group with a name."""
        raise NotImplementedError

    async def join(self, room_id: str) -> None:
        raise NotImplementedError

    async def invite(self, room_id: str, user_id: str) -> None:
        raise NotImplementedError

    async def leave(self, room_id: str) -> None:
        raise NotImplementedError

    async def is_invited(self, room_id: str) -> bool:
        raise NotImplementedError

    async def joined_members(self, room_id: str) -> set[str]:
        """Who is in the room, as far as this device's own /sync has told it.

        Nobody, if this device's person has left it.
        """
        raise NotImplementedError

    async def knows(self, other: Device) -> bool:
        """Would a message sent now be encrypted for ``other``?"""
        raise NotImplementedError

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        """Send, encrypted by the client; returns the event id once the server has it."""
        raise NotImplementedError

    async def renew_keys(self, room_id: str) -> None:
        """Encrypt from now on with a new session, whose key must reach every device first."""
        raise NotImplementedError

    async def redact(self, room_id: str, event_id: str) -> None:
        raise NotImplementedError

    async def set_typing(self, room_id: str, typing: bool) -> None:
        raise NotImplementedError

    async def typing(self, room_id: str) -> set[str]:
        """Who types in the room, as this device shows it."""
        raise NotImplementedError

    async def mark_read(self, room_id: str, event_id: str) -> None:
        raise NotImplementedError

    async def readers(self, room_id: str, event_id: str) -> set[str]:
        """Who has read up to the event or further, as this device shows it."""
        raise NotImplementedError

    async def upload(self, plain: bytes) -> dict[str, Any]:
        """Encrypt and upload; returns the ``file`` object of a message content."""
        raise NotImplementedError

    async def download(self, file: dict[str, Any]) -> bytes:
        """Download and decrypt what a ``file`` object names."""
        raise NotImplementedError

    async def wake(self) -> None:
        """The network is back: connect again without waiting for a back-off to end."""

    async def sign_out(self) -> None:
        """The server forgets the device; the client keeps still."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
