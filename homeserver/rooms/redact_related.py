"""Redacting what relates to an event together with it (MSC3912)."""

from collections.abc import Collection
from functools import partial

from attrs import frozen

from homeserver.requester import Requester
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.journal import Journal
from schema.errors import Forbidden, UserSuspended
from storage import events, relations
from storage.store import Store
from storage.transaction import WriteTransaction

MAX_REDACTED = 1000
AT_ONCE = 20
EVERY_TYPE = "*"


@frozen
class RedactRelated:
    """Redacts edits, reactions, threads in the name of who has redacted what they are about."""

    store: Store
    rooms: RoomCache
    journal: Journal

    async def redact(
        self, requester: Requester, room_id: str, event_id: str, rel_types: Collection[str]
    ) -> None:
        """Redact what relates to an event in one of these ways; ``*`` is any way.

        What the person must not redact stays, and so does an edit by somebody else, which is none.
        At most 1000 events, a few in each transaction: others can write meanwhile. Whoever asks
        again goes on where it ended.
        """
        wanted = None if EVERY_TYPE in rel_types else rel_types
        user_id = requester.user_id
        after = 0
        for _ in range(0, MAX_REDACTED, AT_ONCE):
            portion = partial(self._redact_some, user_id, room_id, event_id, wanted, after)
            last = await self.store.write(portion)
            if last is None:
                break
            after = last

    def _redact_some(
        self,
        user_id: str,
        room_id: str,
        event_id: str,
        rel_types: Collection[str] | None,
        after: int,
        txn: WriteTransaction,
    ) -> int | None:
        """Redact a few after event number ``after``; the last number, or None if that was all."""
        original = events.find(txn, room_id, event_id)
        found = relations.relatives(txn, room_id, event_id, rel_types, after, AT_ONCE)
        for relative in found:
            is_edit = relative.rel_type == "m.replace"
            if not is_edit or (original and original.sender == relative.sender):
                self._redact(txn, user_id, room_id, relative.event_id)
        return found[-1].seq if len(found) == AT_ONCE else None

    def _redact(self, txn: WriteTransaction, user_id: str, room_id: str, event_id: str) -> None:
        draft = Draft("m.room.redaction", user_id, room_id, {}, redacts=event_id)
        try:
            self.journal.append(txn, self.rooms.head(txn, room_id), draft)
        except (Forbidden, UserSuspended):
            return
