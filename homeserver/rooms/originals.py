"""What redacted events said: kept for some days, then gone."""

from homeserver.clock import Clock
from storage import originals
from storage.events import Event
from storage.store import Store
from storage.transaction import WriteTransaction

DAY_MS = 24 * 3600 * 1000

PORTION = 500
"""Events per run, so that nobody's message waits long behind them."""


class Originals:
    """Keeps what a redaction takes away, out of everybody's sight, so that whoever runs the server
    can look into a dispute; and forgets it in time."""

    def __init__(self, store: Store, clock: Clock, kept_days: int) -> None:
        """``kept_days`` is 0 when nothing is to be kept."""
        self._store = store
        self._clock = clock
        self._kept_days = kept_days

    def keep(self, txn: WriteTransaction, event: Event) -> None:
        """Inside the transaction that redacts ``event``: put its text aside."""
        if self._kept_days:
            originals.add(txn, event.position, event.json, self._clock())

    async def run(self) -> int:
        """Forget some of what has been kept long enough; how many events there were.

        To be called from time to time.
        """
        before = self._clock() - self._kept_days * DAY_MS
        if not await self._store.read(lambda txn: originals.any_before(txn, before)):
            return 0
        return await self._store.write(lambda txn: originals.forget(txn, before, PORTION))
