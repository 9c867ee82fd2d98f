"""What the content repository forgets by itself, every now and then."""

from attrs import frozen

from homeserver.clock import Clock
from storage import media
from storage.store import Store
from storage.transaction import WriteTransaction


@frozen
class Housekeeping:
    """Removes what nobody can use any more."""

    store: Store
    clock: Clock

    async def run(self) -> None:
        """One round. Whatever it leaves over, the next one finds."""
        await self._forget_announcements()

    async def _forget_announcements(self) -> None:
        now = self.clock()

        def work(txn: WriteTransaction) -> None:
            media.forget_expired(txn, now)

        if await self.store.read(lambda txn: media.count_expired(txn, now)):
            await self.store.write(work)
