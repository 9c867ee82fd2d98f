"""What a transaction consists of: each part knows one kind of news for one service."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from attrs import field, frozen

from storage.stream import Change
from storage.to_device import Device


@frozen
class Share:
    """What a part contributes to the next transaction."""

    upto: int
    """The part has told everything up to this position of the stream."""
    fields: Mapping[str, Sequence[Any] | Mapping[str, Any]] = field(factory=dict)
    """Keys of the transaction; the lists of several parts are put together."""
    is_kept: bool = False
    """It must not get lost in a restart."""
    has_more: bool = False
    """What did not fit into this transaction waits for the next one."""
    to_device: Mapping[Device, int] = field(factory=dict)
    """Up to which position it empties the queues of devices."""


class Part(Protocol):
    """One kind of news for one service."""

    def concerns(self, change: Change) -> bool:
        """Whether there may be news because of a change. False is certain."""

    async def gather(self, after: int, upto: int) -> Share:
        """The news after one position and up to another, or to an earlier one if it is too much."""
