"""A bot on mautrix's application service: what bridges are made of, and no more of a bridge.

It joins wherever it is invited, and repeats what it can read. All that it knows, keys included, it
has from transactions: it never syncs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

from mautrix.appservice import AppService
from mautrix.appservice.state_store import ASStateStore
from mautrix.client import Client
from mautrix.client.state_store import MemoryStateStore
from mautrix.crypto import OlmMachine
from mautrix.crypto.store import MemoryCryptoStore
from mautrix.types import EventType, Membership, MessageType, TextMessageEventContent

SERVICE, DEVICE = "echo", "ECHO"
USER_ID = "@_echo_bot:localhost"


class Registration:
    """The bot's registration file, as its author would write it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.as_token, self.hs_token = secrets.token_hex(16), secrets.token_hex(16)
        self.file = folder / "echo.yaml"

    def write(self) -> None:
        content = {
            "id": SERVICE,
            "url": f"http://127.0.0.1:{self.port}",
            "as_token": self.as_token,
            "hs_token": self.hs_token,
            "sender_localpart": "_echo_bot",
            "namespaces": {"users": [{"exclusive": True, "regex": "@_echo_.*:localhost"}]},
            "rate_limited": False,
            "receive_ephemeral": True,
            "de.sorunome.msc2409.push_ephemeral": True,
            "org.matrix.msc3202": True,
            "io.element.msc4190": True,
        }
        self.file.write_text(json.dumps(content))


class Rooms(ASStateStore, MemoryStateStore):
    """What the bot knows of rooms."""

    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)

    async def find_shared_rooms(self, user_id: str) -> list[str]:
        return [room for room, members in self.members.items() if user_id in members]


class EchoBot:
    """Keeps its keys over ``stop`` and ``start``."""

    def __init__(self, url: str, registration: Registration) -> None:
        self._registration = registration
        self._url = url
        self._rooms = Rooms()
        self._keys = MemoryCryptoStore("", "echo")
        self._transactions: set[str] = set()
        self._speaking = asyncio.Lock()
        self.heard: list[str] = []
        self.problems: list[str] = []

    async def start(self) -> None:
        """Come up, or come back."""
        registration = self._registration
        service = self._service = AppService(
            server=self._url,
            domain="localhost",
            as_token=registration.as_token,
            hs_token=registration.hs_token,
            bot_localpart="_echo_bot",
            id=SERVICE,
            state_store=self._rooms,
            ephemeral_events=True,
            encryption_events=True,
        )
        service.synchronous_handlers = True
        service.transactions = self._transactions
        service.matrix_event_handler(self._took)
        await service.start("127.0.0.1", registration.port)
        self._client = Client(
            mxid=USER_ID,
            base_url=self._url,
            token=registration.as_token,
            state_store=self._rooms,
            sync_store=self._keys,
        )
        machine = OlmMachine(self._client, self._keys, self._rooms)
        service.otk_handler = machine.handle_as_otk_counts
        service.device_list_handler = machine.handle_as_device_lists
        service.to_device_handler = machine.handle_as_to_device_event
        self._client.crypto = machine
        await self._client.create_device_msc4190(DEVICE, "Echo")
        await machine.load()
        await machine.share_keys()
        await service.ping_self()

    async def stop(self) -> None:
        await self._service.stop()
        await self._client.api.session.close()

    async def _took(self, event: Any) -> None:
        """Join, or repeat. mautrix gives every event, also its own and the ephemeral ones."""
        if event.type == EventType.ROOM_MEMBER and event.state_key == USER_ID:
            if event.content.membership == Membership.INVITE:
                await self._client.join_room(event.room_id)
        elif event.type == EventType.ROOM_ENCRYPTED and event.sender != USER_ID:
            try:
                read = await self._client.crypto.decrypt_megolm_event(event)
            except Exception as error:
                self.problems.append(f"{type(error).__name__}: {error}")
                return
            self.heard.append(read.content.body)
            asyncio.get_running_loop().create_task(
                self._say(event.room_id, f"echo of {read.content.body}")
            )

    async def _say(self, room_id: str, text: str) -> None:
        content = TextMessageEventContent(msgtype=MessageType.TEXT, body=text)
        async with self._speaking:
            await self._client.send_message_event(room_id, EventType.ROOM_MESSAGE, content)
