"""What a service gets next, put together from the stream and the tables."""

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.bridges.parts import Part, Share
from homeserver.clock import Clock, TokenSource
from storage.bridges import Letter
from storage.stream import Change


@frozen
class Composed:
    """What there is to send."""

    letter: Letter | None
    """None: nothing."""
    upto: int
    """Up to where that is all."""
    is_kept: bool = False
    """It must not get lost in a restart."""
    has_more: bool = False
    """There is something for another transaction."""


@frozen
class Composer:
    """Puts the transactions of one service together."""

    durable: Sequence[Part]
    """What is read along the stream, none of it left out."""
    momentary: Sequence[Part]
    """What is told as it is now."""
    clock: Clock
    random_token: TokenSource

    def concerns(self, change: Change) -> bool:
        """Whether there may be something to send because of a change. False is certain."""
        # Each part gets to see it: some remember what they have seen.
        return sum(part.concerns(change) for part in (*self.durable, *self.momentary)) > 0

    async def compose(self, after: int, upto: int) -> Composed:
        """The next transaction for a service that has everything up to ``after``."""
        shares: list[Share] = []
        lowest = now = upto
        while not shares or lowest < upto:
            upto = lowest
            shares = [await part.gather(after, upto) for part in self.durable]
            lowest = min(share.upto for share in shares)
        shares += [await part.gather(after, upto) for part in self.momentary]
        fields: dict[str, Any] = {}
        for share in shares:
            for key, value in share.fields.items():
                fields[key] = [*fields[key], *value] if key in fields else value
        has_more = upto < now or any(share.has_more for share in shares)
        if not fields:
            return Composed(None, upto, has_more=has_more)
        body = orjson.dumps({"events": [], **fields}).decode()
        queues = {device: at for share in shares for device, at in share.to_device.items()}
        # Random, so that no two are ever alike, also when a backup has been restored in between.
        txn_id = f"{upto}-{self.random_token()[:12]}"
        letter = Letter(txn_id, body, upto, self.clock(), queues)
        is_kept = any(share.is_kept and share.fields for share in shares)
        return Composed(letter, upto, is_kept, has_more)
