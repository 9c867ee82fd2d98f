"""When and where each device was last seen: noted in memory, written down once a minute."""

from functools import partial

from homeserver.clock import Clock
from storage.devices import note_last_seen
from storage.store import Store

PORTION = 100
"""Devices per write, so that nobody's message waits long behind them."""


class LastSeen:
    """Remembers every request's device at no cost; a restart loses at most what was not flushed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, user_id: str, device_id: str, address: str) -> None:
        """The device has sent a request."""
        self._seen[user_id, device_id] = (self._clock(), address)

    def of(self, user_id: str, device_id: str) -> tuple[int, str] | None:
        """Time and address, if the device was seen since the last flush."""
        return self._seen.get((user_id, device_id))

    async def flush(self) -> None:
        """Write down what was noted. Called each minute, and before the end."""
        noted = list(self._seen.items())
        for start in range(0, len(noted), PORTION):
            portion = noted[start : start + PORTION]
            rows = [(*device, *seen) for device, seen in portion]
            await self._store.write(partial(note_last_seen, seen=rows))
            for device, seen in portion:
                if self._seen.get(device) is seen:
                    del self._seen[device]
