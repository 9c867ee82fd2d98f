"""What the content repository forgets by itself, every now and then."""

from attrs import frozen

from homeserver.clock import Clock
from homeserver.media.files import MediaFiles
from homeserver.media.quotas import Quotas
from storage import media, media_uses
from storage.media_uses import Removed
from storage.store import Store
from storage.transaction import WriteTransaction

REMOVED_AT_ONCE = 100


@frozen
class Housekeeping:
    """Removes what nobody can use any more."""

    store: Store
    files: MediaFiles
    quotas: Quotas
    keep_redacted_ms: int
    clock: Clock

    async def run(self) -> None:
        """One round. Whatever it leaves over, the next one finds."""
        await self._forget_announcements()
        await self._remove_taken_back()

    async def _forget_announcements(self) -> None:
        now = self.clock()

        def work(txn: WriteTransaction) -> None:
            media.forget_expired(txn, now)

        if await self.store.read(lambda txn: media.count_expired(txn, now)):
            await self.store.write(work)

    async def _remove_taken_back(self) -> None:
        """``MediaUses`` has the rule. What is in use after all has its time once more."""
        now = self.clock()
        until = now - self.keep_redacted_ms
        due = await self.store.read(lambda txn: media_uses.taken_back(txn, until, REMOVED_AT_ONCE))
        if not due:
            return

        def work(txn: WriteTransaction) -> list[Removed]:
            removed = media_uses.remove_unused(txn, due)
            media_uses.put_off(txn, due, now)
            self.quotas.give_back(txn, [(each.user_id, each.size) for each in removed])
            return removed

        for each in await self.store.write(work):
            await self.files.drop(each.file_id)
