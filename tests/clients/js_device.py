"""A device that runs matrix-js-sdk with its Rust crypto, inside a Node process it shares."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from pathlib import Path
from typing import Any

from device import ENCRYPTED, Device, Received
from waiting import PATIENCE

PROGRAM = Path(__file__).parent / "js" / "devices.mjs"
LINE_LIMIT = 16 * 1024 * 1024


class Node:
    """The process that holds the devices: JSON lines in, JSON lines out."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._devices: dict[str, JsDevice] = {}

    async def __aenter__(self) -> Node:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "node",
                str(PROGRAM),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=LINE_LIMIT,
            )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    def add(self, device: JsDevice) -> None:
        self._devices[device.name] = device

    async def ask(self, device: JsDevice, command: str, options: dict[str, Any]) -> Any:
        if self._reading.done():
            raise AssertionError(self._end())
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        line = {"id": number, "device": device.name, "url": device.server_url}
        line |= {"command": command, "options": options}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()
        try:
            return await asyncio.wait_for(answer, PATIENCE)
        except TimeoutError:
            sentence = f"Waited {PATIENCE:g} s in vain: {device.name} does {command!r}"
            raise AssertionError(sentence) from None

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._take(json.loads(line))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(AssertionError(self._end()))

    def _end(self) -> str:
        return f"The Node process ended:\n{self._log.read_text(errors='replace')[-2000:]}"

    def _take(self, line: dict[str, Any]) -> None:
        if "id" not in line:
            self._devices[line["device"]].hear(line)
            return
        answer = self._waiting.pop(line["id"])
        if answer.done():  # nobody waits any more
            return
        if "error" in line:
            answer.set_exception(AssertionError(line["error"]))
        else:
            answer.set_result(line["result"])


class JsDevice(Device):
    kind = "js-sdk"

    def __init__(self, owner: str, label: str, server_url: str, node: Node) -> None:
        super().__init__(owner, label)
        self.server_url = server_url
        self._node = node
        node.add(self)

    async def register(self, password: str) -> None:
        await self._begin("register", password)

    async def sign_in(self, password: str) -> None:
        await self._begin("signIn", password)

    async def sign_in_on_page(self, password: str, **query: str) -> dict[str, Any]:
        """Sign in on the server's own page, opened with this query; what the page hands over, and
        what it shows."""
        done = await self.ask("signInOnPage", user=self.owner, password=password, query=query)
        if done["handedOver"]:
            self.user_id, self.device_id = done["userId"], done["deviceId"]
        return dict(done)

    async def own_devices(self) -> dict[str, str]:
        """The names of the person's devices, by their ids."""
        devices = await self.ask("ownDevices")
        return {each["device_id"]: each.get("display_name", "") for each in devices}

    async def _begin(self, command: str, password: str) -> None:
        answer = await self.ask(command, user=self.owner, password=password)
        self.user_id, self.device_id = answer["userId"], answer["deviceId"]

    def hear(self, line: dict[str, Any]) -> None:
        """Take in what the process tells about this device."""
        if "refusal" in line:
            self.refusals.append(line["refusal"])
        elif "arrived" in line:
            self.arrivals[line["arrived"]] += 1
        else:
            self.took(Received(**line["event"]))

    async def ask(self, command: str, **options: Any) -> Any:
        """Let the device run a command of devices.mjs; returns its result."""
        return await self._node.ask(self, command, options)

    async def create_room(self, invite: list[str], direct: bool = False) -> str:
        preset = "trusted_private_chat" if direct else "private_chat"
        named: dict[str, Any] = {} if direct else {"name": "Our room"}
        return str(
            await self.ask(
                "createRoom",
                is_direct=direct,
                preset=preset,
                invite=invite,
                initial_state=[ENCRYPTED],
                **named,
            )
        )

    async def join(self, room_id: str) -> None:
        await self.ask("join", room=room_id)

    async def invite(self, room_id: str, user_id: str) -> None:
        await self.ask("invite", room=room_id, user=user_id)

    async def leave(self, room_id: str) -> None:
        await self.ask("leave", room=room_id)

    async def is_invited(self, room_id: str) -> bool:
        return bool(await self.ask("isInvited", room=room_id))

    async def joined_members(self, room_id: str) -> set[str]:
        return set(await self.ask("joinedMembers", room=room_id))

    async def knows(self, other: Device) -> bool:
        return bool(await self.ask("knows", user=other.user_id, device=other.device_id))

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        return str(await self.ask("send", room=room_id, type=event_type, content=content))

    async def renew_keys(self, room_id: str) -> None:
        await self.ask("renewKeys", room=room_id)

    async def redact(self, room_id: str, event_id: str) -> None:
        await self.ask("redact", room=room_id, event=event_id)

    async def set_typing(self, room_id: str, typing: bool) -> None:
        await self.ask("setTyping", room=room_id, typing=typing)

    async def typing(self, room_id: str) -> set[str]:
        return set(await self.ask("typing", room=room_id))

    async def mark_read(self, room_id: str, event_id: str) -> None:
        await self.ask("markRead", room=room_id, event=event_id)

    async def readers(self, room_id: str, event_id: str) -> set[str]:
        return set(await self.ask("readers", room=room_id, event=event_id))

    async def look(self, room_id: str, event_id: str) -> dict[str, Any]:
        """How the event is drawn: body, redacted, reactions, thread."""
        return dict(await self.ask("look", room=room_id, event=event_id))

    async def upload(self, plain: bytes) -> dict[str, Any]:
        return dict(await self.ask("upload", base64=base64.b64encode(plain).decode()))

    async def download(self, file: dict[str, Any]) -> bytes:
        return base64.b64decode(await self.ask("download", file=file))

    async def wake(self) -> None:
        await self.ask("wake")

    async def sign_out(self) -> None:
        await self.ask("signOut")

    async def close(self) -> None:
        await self.ask("close")
