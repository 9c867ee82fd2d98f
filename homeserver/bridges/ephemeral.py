"""What lasts for a moment only (Application Service API, "Pushing ephemeral data").

Receipts lie in a table and are told along the stream, of several moves of one receipt the last.
Typing notices and presence live in memory: a service that is down does not miss them.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from attrs import define

from homeserver.bridges.interest import Interest
from homeserver.bridges.parts import Share
from homeserver.presence import Presence
from homeserver.receipts import READ, receipt_events
from homeserver.sync.ephemeral import Ephemeral
from homeserver.typing_notices import TypingNotices
from storage import receipts
from storage.receipts import Receipt, ReceiptMoved
from storage.stream import Change

MOST_RECEIPTS = 200
NEW, OLD = "ephemeral", "de.sorunome.msc2409.ephemeral"


def _fields(interest: Interest, events: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """A service that was registered by the old name reads the old name."""
    if not events:
        return {}
    return {NEW: events, OLD: events} if interest.service.knows_old_name else {NEW: events}


@define
class ReceiptsPart:
    """Receipts in rooms that concern the service; private ones only of its own users."""

    interest: Interest

    def concerns(self, change: Change) -> bool:
        """As a part."""
        return isinstance(change, ReceiptMoved) and self._may_tell(change.receipt)

    async def gather(self, after: int, upto: int) -> Share:
        """As a part."""
        moved = await self.interest.store.read(
            lambda txn: receipts.moved(txn, after, upto, MOST_RECEIPTS)
        )
        if len(moved) == MOST_RECEIPTS:
            upto = moved[-1].position
        moved = [receipt for receipt in moved if self._may_tell(receipt)]
        concern = await self.interest.among({receipt.room_id for receipt in moved})
        by_room: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in moved:
            if receipt.room_id in concern:
                by_room[receipt.room_id].append(receipt)
        events = [
            {**event, "room_id": room_id}
            for room_id, of_room in by_room.items()
            for event in receipt_events(of_room)
        ]
        return Share(upto, _fields(self.interest, events), is_kept=True)

    def _may_tell(self, receipt: Receipt) -> bool:
        return (
            receipt.receipt_type == READ or self.interest.service.covers_user(receipt.user_id)
        ) and self.interest.in_room(receipt.room_id)


@define
class MomentsPart:
    """Who is typing in rooms that concern the service, and how people are who share them."""

    interest: Interest
    ephemeral: Ephemeral
    typing: TypingNotices
    presence: Presence
    _told: int = 0

    def __attrs_post_init__(self) -> None:
        self._told = self.ephemeral.position

    def concerns(self, change: Change) -> bool:
        """As a part. What happens here is not on the stream: ``Ephemeral`` tells of it."""
        return False

    async def gather(self, after: int, upto: int) -> Share:
        """As a part."""
        told, self._told = self._told, self.ephemeral.position
        typing, people = self.typing.changed(told), self.presence.changed(told)
        rooms_of = self.interest.memberships.rooms_of
        places = {event["sender"]: set(rooms_of(event["sender"])) for event in people}
        concern = await self.interest.among(set(typing).union(*places.values()))
        events = [
            {**typing[room_id], "room_id": room_id} for room_id in sorted(concern & typing.keys())
        ]
        events += [
            event
            for event in people
            if self.interest.service.covers_user(event["sender"])
            or places[event["sender"]] & concern
        ]
        return Share(upto, _fields(self.interest, events))
