"""Devices that nobody uses any more: removed after some time, if the organizer wants that."""

from itertools import groupby
from operator import itemgetter

from twisted.logger import Logger

from homeserver.clock import Clock
from homeserver.devices import Devices
from storage.devices import unseen_since
from storage.store import Store
from storage.transaction import WriteTransaction

DAY_MS = 24 * 3600 * 1000
GRACE_MS = 12 * 3600 * 1000
"""After a start nothing expires for so long: who could not reach a server that was switched off, or
whose backup has been restored, gets the time to come back."""

PORTION = 50
"""Devices per run, so that nobody's message waits long behind them."""


class DeviceExpiry:
    """Removes devices like their owner would: others hear of it, and the identity log says why."""

    _log = Logger()

    def __init__(self, store: Store, clock: Clock, devices: Devices, after_days: int) -> None:
        """``after_days`` is 0 when devices stay for ever."""
        self._store = store
        self._clock = clock
        self._devices = devices
        self._after_days = after_days
        self._began = clock()

    async def run(self) -> int:
        """Remove some of the devices that have not been used for so long; how many there were.

        To be called from time to time, after what was seen has been written down.
        """
        now = self._clock()
        if not self._after_days or now - self._began < GRACE_MS:
            return 0
        before = now - self._after_days * DAY_MS
        if not await self._store.read(lambda txn: unseen_since(txn, before, 1)):
            return 0

        def work(txn: WriteTransaction) -> int:
            found = unseen_since(txn, before, PORTION)
            for user_id, devices in groupby(found, itemgetter(0)):
                ids = [device_id for _, device_id in devices]
                self._devices.remove(txn, user_id, ids, expired=True)
            return len(found)

        count = await self._store.write(work)
        self._log.info(
            "Removed {count} devices that had not been used for {days} days",
            count=count,
            days=self._after_days,
        )
        return count
