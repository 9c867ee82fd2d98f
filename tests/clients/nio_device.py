"""A device that runs matrix-nio."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import nio
from device import ENCRYPTED, Device, Received
from nio.crypto.attachments import decrypt_attachment
from nio.store.database import SqliteMemoryStore
from waiting import until

LONG_POLL_MS = 10_000
TIMELINE = {"room": {"timeline": {"limit": 200}}}


class WatchedClient(nio.AsyncClient):
    """nio's client; every refused request goes into ``refusals``."""

    refusals: list[str]
    changed_meanwhile: set[str]

    async def keys_query(self) -> Any:
        """COMPAT(nio 0.26): its answer wipes out changes that /sync told of after the question."""
        self.changed_meanwhile = set()
        answer = await super().keys_query()
        self.olm.add_changed_users(self.changed_meanwhile)
        return answer

    async def receive_response(self, response: Any) -> None:
        """COMPAT(nio 0.26): without a room it heeds no changes, not even of its own person."""
        await super().receive_response(response)
        if isinstance(response, nio.SyncResponse):
            changed = self.olm.tracked_users.intersection(response.device_list.changed)
            self.olm.add_changed_users(changed)
            self.changed_meanwhile |= changed

    async def send(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        answer = await super().send(method, path, *args, **kwargs)
        if answer.status >= 400:
            said = (await answer.text())[:200]
            self.refusals.append(f"{method} {path.partition('?')[0]} -> {answer.status} {said}")
        return answer


class NioDevice(Device):
    kind = "nio"

    def __init__(self, owner: str, label: str, server_url: str) -> None:
        super().__init__(owner, label)
        config = nio.AsyncClientConfig(
            store=SqliteMemoryStore, encryption_enabled=True, max_timeout_retry_wait_time=0.5
        )
        self.client = WatchedClient(server_url, owner, config=config)
        self.client.refusals = self.refusals
        self.client.changed_meanwhile = set()
        self._typing: dict[str, set[str]] = {}
        self._receipts: dict[str, set[str]] = {}
        self._syncing: asyncio.Task[None] | None = None

    async def register(self, password: str) -> None:
        good(await self.client.register(self.owner, password, self.name))
        await self._begin()

    async def sign_in(self, password: str) -> None:
        good(await self.client.login(password, self.name))
        await self._begin()

    async def _begin(self) -> None:
        client = self.client
        self.user_id, self.device_id = client.user_id, client.device_id or ""
        client.add_event_callback(self._on_event, nio.Event)
        client.add_ephemeral_callback(self._on_typing, nio.TypingNoticeEvent)
        client.add_ephemeral_callback(self._on_receipts, nio.ReceiptEvent)
        client.add_to_device_callback(self._on_verification, nio.KeyVerificationEvent)
        client.add_response_callback(self._on_sync, nio.SyncResponse)
        self._syncing = asyncio.create_task(
            client.sync_forever(LONG_POLL_MS, sync_filter=TIMELINE, full_state=True)
        )
        await until(f"{self.name} has uploaded its keys", lambda: client.olm_account_shared)

    def _on_event(self, room: nio.MatrixRoom, event: nio.Event) -> None:
        source = event.source
        if "state_key" in source or "event_id" not in source:
            return
        unreadable = isinstance(event, nio.MegolmEvent)
        self.arrivals[event.event_id] += 1
        self.took(
            Received(
                room.room_id,
                event.event_id,
                event.sender,
                source["type"],
                source["content"] | ({"redacts": source["redacts"]} if "redacts" in source else {}),
                encrypted=unreadable or event.decrypted,
                readable=not unreadable,
            )
        )

    def _on_typing(self, room: nio.MatrixRoom, event: nio.TypingNoticeEvent) -> None:
        self._typing[room.room_id] = set(event.users)

    def _on_receipts(self, _: nio.MatrixRoom, event: nio.ReceiptEvent) -> None:
        for receipt in event.receipts:
            self._receipts.setdefault(receipt.event_id, set()).add(receipt.user_id)

    def _on_sync(self, answer: nio.SyncResponse) -> None:
        """Forget the rooms that were left: nio keeps them as they were."""
        for room_id in answer.rooms.leave:
            if self.client.rooms.pop(room_id, None):
                self.client.invalidate_outbound_session(room_id)

    async def create_room(
        self, invite: list[str], direct: bool = False, version: str | None = None
    ) -> str:
        answer = await self.client.room_create(
            room_version=version,
            name=None if direct else "Our room",
            is_direct=direct,
            preset=nio.RoomPreset.trusted_private_chat if direct else nio.RoomPreset.private_chat,
            invite=invite,
            initial_state=[ENCRYPTED],
        )
        return str(good(answer).room_id)

    async def join(self, room_id: str) -> None:
        good(await self.client.join(room_id))

    async def invite(self, room_id: str, user_id: str) -> None:
        good(await self.client.room_invite(room_id, user_id))

    async def leave(self, room_id: str) -> None:
        good(await self.client.room_leave(room_id))

    async def is_invited(self, room_id: str) -> bool:
        return room_id in self.client.invited_rooms

    async def joined_members(self, room_id: str) -> set[str]:
        room = self.client.rooms.get(room_id)
        if room is None or not room.encrypted:
            return set()
        return set(room.users) - set(room.invited_users)

    async def knows(self, other: Device) -> bool:
        known = self.client.device_store[other.user_id]
        return other.device_id in known and not known[other.device_id].deleted

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        while True:
            try:
                answer = await self.client.room_send(
                    room_id, event_type, content, ignore_unverified_devices=True
                )
            except (KeyError, nio.EncryptionError):
                continue  # COMPAT(nio 0.26): /sync invalidated the session amid its sharing
            return str(good(answer).event_id)

    async def renew_keys(self, room_id: str) -> None:
        self.client.invalidate_outbound_session(room_id)

    async def redact(self, room_id: str, event_id: str) -> None:
        good(await self.client.room_redact(room_id, event_id))

    async def set_typing(self, room_id: str, typing: bool) -> None:
        good(await self.client.room_typing(room_id, typing))

    async def typing(self, room_id: str) -> set[str]:
        return self._typing.get(room_id, set())

    async def mark_read(self, room_id: str, event_id: str) -> None:
        good(await self.client.room_read_markers(room_id, event_id, event_id))

    async def readers(self, room_id: str, event_id: str) -> set[str]:
        return self._receipts.get(event_id, set())

    async def upload(self, plain: bytes) -> dict[str, Any]:
        answer, keys = await self.client.upload(
            io.BytesIO(plain), filename="photo", encrypt=True, filesize=len(plain)
        )
        return {"url": good(answer).content_uri, **keys}

    async def download(self, file: dict[str, Any]) -> bytes:
        answer = good(await self.client.download(file["url"]))
        return bytes(
            decrypt_attachment(answer.body, file["key"]["k"], file["hashes"]["sha256"], file["iv"])
        )

    async def history(self, room_id: str) -> list[str]:
        """The ids of the encrypted events in the server's history of the room."""
        ids: list[str] = []
        start: str | None = ""
        while start is not None:
            page = good(await self.client.room_messages(room_id, start, limit=50))
            ids += [e.event_id for e in page.chunk if e.decrypted or isinstance(e, nio.MegolmEvent)]
            start = page.end
        return ids

    async def thread_roots(self, room_id: str) -> list[str]:
        return [event.event_id async for event in self.client.room_get_threads(room_id)]

    async def thread(self, room_id: str, root: str) -> list[str]:
        answers = self.client.room_get_event_relations(
            room_id, root, nio.api.RelationshipType.thread
        )
        return [event.event_id async for event in answers]

    async def start_verification(self, other: Device) -> None:
        good(await self.client.start_key_verification(self._device_of(other)))

    def emoji(self) -> list[str]:
        """The short authentication string, once both sides have exchanged keys."""
        for sas in self.client.key_verifications.values():
            if sas.established_sas:
                return [name for _, name in sas.get_emoji()]
        return []

    async def confirm_emoji(self) -> None:
        (transaction,) = self.client.key_verifications
        good(await self.client.confirm_short_auth_string(transaction))

    def has_verified(self, other: Device) -> bool:
        return bool(self._device_of(other).verified)

    def _device_of(self, other: Device) -> nio.crypto.OlmDevice:
        return self.client.device_store[other.user_id][other.device_id]

    async def _on_verification(self, event: nio.KeyVerificationEvent) -> None:
        if isinstance(event, nio.KeyVerificationStart):
            good(await self.client.accept_key_verification(event.transaction_id))

    async def sign_out(self) -> None:
        await self._stop_syncing()
        good(await self.client.logout())

    async def close(self) -> None:
        await self._stop_syncing()
        await self.client.close()

    async def _stop_syncing(self) -> None:
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)


def good(answer: Any) -> Any:
    """The answer itself, unless the server refused."""
    if isinstance(answer, nio.ErrorResponse):
        raise AssertionError(f"Refused: {answer}")
    return answer
