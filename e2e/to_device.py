"""To-device messages: kept until their device has acknowledged them.

Client-server API, "Send-to-Device messaging". A message is in the queue of its device when the
sender gets the answer, and leaves it when the device syncs with a token that came after it.
"""

from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from attrs import define
from orjson import Fragment

from schema.errors import InvalidParam, TooLarge
from storage import to_device
from storage.device_lists import DeviceListChanged
from storage.store import Store
from storage.stream import Change
from storage.to_device import Device, ToDeviceSent
from storage.transaction import Transaction, WriteTransaction

LARGEST_MESSAGE = 65_536
LONGEST_EVENT_TYPE = 255
LONGEST_TXN_ID = 512
MOST_AT_ONCE = 100
"""Messages in one answer of /sync, as the specification recommends."""

MOST_KEPT = 20
LARGEST_KEPT = 4_096
"""A queue that is longer, or holds a larger message, is left to the database."""

REMEMBERED_MS = 7 * 24 * 3600 * 1000
"""How long a repeated request is recognised."""

Background = Callable[[str, Coroutine[Any, Any, None]], object]
"""Runs a coroutine that nobody waits for; logs when it fails."""


class ToDevice:
    """Puts messages into the queues of devices."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock

    async def send(
        self,
        sender: Device,
        event_type: str,
        txn_id: str,
        messages: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Send each device its message; ``*`` stands for those that are not named.

        Devices and people who are not here get nothing, and nobody is told. The same transaction
        id of the same device sends nothing again.

        Raises:
            TooLarge: a message is larger than an event may be.
            InvalidParam: the type or the transaction id is too long.
        """
        if len(event_type.encode()) > LONGEST_EVENT_TYPE:
            raise InvalidParam(f"The event type is longer than {LONGEST_EVENT_TYPE} bytes")
        if len(txn_id.encode()) > LONGEST_TXN_ID:
            raise InvalidParam(f"The transaction id is longer than {LONGEST_TXN_ID} bytes")
        head = orjson.dumps({"sender": sender[0], "type": event_type})[:-1] + b',"content":'
        ready = {
            user_id: {device_id: _message(head, content) for device_id, content in devices.items()}
            for user_id, devices in messages.items()
        }
        now = self._clock()

        def work(txn: WriteTransaction) -> None:
            if not to_device.is_new(txn, sender, event_type, txn_id, now):
                return
            queued = {}
            for user_id, device_id in to_device.devices_of(txn, ready):
                theirs = ready[user_id]
                message = theirs.get(device_id) or theirs.get("*")
                if message is not None:
                    queued[user_id, device_id] = message
            if queued:
                position = txn.position()
                to_device.add(txn, position, queued)
                people = tuple({user_id for user_id, _ in queued})
                txn.announce(ToDeviceSent(position=position, users=people, messages=queued))

        await self._store.write(work)

    async def forget_old_transactions(self) -> int:
        """Forget requests that nobody will repeat any more; how many there were."""
        before = self._clock() - REMEMBERED_MS
        return await self._store.write(lambda txn: to_device.forget_transactions(txn, before))


def _message(head: bytes, content: Any) -> str:
    json = head + orjson.dumps(content) + b"}"
    if len(json) > LARGEST_MESSAGE:
        raise TooLarge(f"A message to a device must not be larger than {LARGEST_MESSAGE} bytes")
    return json.decode()


@define
class _Queue:
    """What is known of a device's queue."""

    newest: int = 0
    """The position of the last message that is known to have come."""
    waiting: deque[tuple[int, str]] | None = None
    """Every message that has not been acknowledged; None: the database has to be asked."""

    def add(self, position: int, json: str) -> None:
        """One more has come, unless it is known already."""
        if position > self.newest:
            self.newest = position
            if self.waiting is not None:
                if len(self.waiting) < MOST_KEPT and len(json) <= LARGEST_KEPT:
                    self.waiting.append((position, json))
                else:
                    self.waiting = None


class ToDevicePart:
    """Hands the queues to /sync, oldest message first.

    Short queues of devices that sync are kept in memory, so a message usually reaches its device
    without a query. The memory is bounded by the number of devices.
    """

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._background = background
        self._queues: dict[Device, _Queue] = {}
        self._acknowledged: dict[Device, int] = {}
        self._is_deleting = False

    def load(self) -> None:
        """Begin with an empty memory: after changes have been missed."""
        self._queues.clear()

    def __len__(self) -> int:
        return len(self._queues)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, ToDeviceSent):
                for device, json in change.messages.items():
                    queue = self._queues.get(device)
                    if queue is not None:
                        queue.add(change.position, json)
            elif isinstance(change, DeviceListChanged):
                for device_id in change.removed:
                    self._queues.pop((change.user_id, device_id), None)

    async def since(
        self, user_id: str, device_id: str, acknowledged: int | None, upto: int
    ) -> tuple[list[Fragment], int]:
        """The next messages for a device, and the position up to which that was all.

        The position goes into the next token, and comes back as ``acknowledged`` when the client
        has got the answer. Then what lies up to it is deleted, soon; until then the same request
        gives the same messages again. If more is waiting than fits into one answer, the position
        is that of the last message in it, and the next request has news at once.

        ``acknowledged`` is None when there is no token, or one from before a restored backup.
        Any message is news.
        """
        device, start = (user_id, device_id), acknowledged or 0
        queue = self._queues.get(device)
        if queue is None:
            queue = self._queues[device] = _Queue()
        if queue.waiting is None:
            messages = await self._look_up(device, queue, start)
        else:
            if queue.waiting and queue.waiting[0][0] <= start:
                self._delete(device, start)
            while queue.waiting and queue.waiting[0][0] <= start:
                queue.waiting.popleft()
            messages = list(queue.waiting)
        if not messages:
            return [], max(upto, start)
        due = [(position, json) for position, json in messages if position <= upto]
        if len(due) > MOST_AT_ONCE:
            due = due[:MOST_AT_ONCE]
            upto = due[-1][0]
        return [Fragment(json) for _, json in due], max(upto, start)

    def handed_over(self, positions: Mapping[Device, int]) -> None:
        """Queues have been emptied up to these positions by who hands them over otherwise."""
        for device, position in positions.items():
            queue = self._queues.get(device)
            if queue is not None and queue.waiting is not None:
                while queue.waiting and queue.waiting[0][0] <= position:
                    queue.waiting.popleft()

    async def _look_up(self, device: Device, queue: _Queue, start: int) -> list[tuple[int, str]]:
        """The first messages after a position, from the database; more than one answer holds."""

        def work(txn: Transaction) -> tuple[list[tuple[int, str]], bool]:
            found = to_device.after(txn, device, start, MOST_AT_ONCE + 1)
            return found, to_device.has_any_upto(txn, device, start)

        messages, has_acknowledged = await self._store.read(work)
        if has_acknowledged:
            self._delete(device, start)
        last = messages[-1][0] if messages else start
        # What has come while the database was asked may be missing in its answer.
        if queue.newest <= last and _is_small(messages):
            queue.newest, queue.waiting = last, deque(messages)
        return messages

    def _delete(self, device: Device, position: int) -> None:
        """Have acknowledged messages deleted, without making anybody wait for it."""
        self._acknowledged[device] = max(position, self._acknowledged.get(device, 0))
        if not self._is_deleting:
            self._is_deleting = True
            self._background("to-device clean-up", self._delete_acknowledged())

    async def _delete_acknowledged(self) -> None:
        try:
            while self._acknowledged:
                done, self._acknowledged = self._acknowledged, {}
                await self._store.write(partial(to_device.delete_upto, positions=done))
        finally:
            self._is_deleting = False


def _is_small(messages: Collection[tuple[int, str]]) -> bool:
    return len(messages) <= MOST_KEPT and all(len(json) <= LARGEST_KEPT for _, json in messages)
