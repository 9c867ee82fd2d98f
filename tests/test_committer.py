"""One transaction for all that waits, and a refusal that costs nobody else theirs."""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from schema.errors import Forbidden
from storage import account_data
from storage.account_data import Datum
from storage.transaction import WriteTransaction
from tests.support import WireTest


class CommitterTest(WireTest):
    """Work that is handed in while the writer is busy."""

    async def setUp(self) -> None:
        self.store = (await self.server()).app.storage.store
        self.transactions: list[int] = []

    def write(self, number: int, *, refused: str = "") -> "Deferred[Any]":
        """Keep a number; or be refused, before anything is written or after it."""

        def work(txn: WriteTransaction) -> int:
            self.transactions.append(id(txn))
            if refused == "before":
                raise Forbidden("no")
            account_data.put(txn, "@a:b", Datum("", str(number), "{}", txn.position()))
            if refused == "after":
                raise Forbidden("no")
            return number

        async def attempt() -> Any:
            try:
                return await self.store.write(work)
            except Forbidden:
                return "refused"

        return Deferred.fromCoroutine(attempt())

    async def kept(self) -> set[int]:
        """The numbers that are stored."""
        data = await self.store.read(lambda txn: account_data.since(txn, "@a:b", 0, 2**60))
        return {int(datum.type) for datum in data}

    async def test_who_is_refused_before_writing_splits_no_batch(self) -> None:
        works = [self.write(number, refused="before" * (number % 3 == 1)) for number in range(30)]
        results = await gatherResults(works)
        passed = {number for number in range(30) if number % 3 != 1}
        self.assertEqual(results, [n if n in passed else "refused" for n in range(30)])
        self.assertEqual(await self.kept(), passed)
        # The first begins at once, the others are one batch.
        self.assertEqual(len(self.transactions), 30)
        self.assertEqual(len(set(self.transactions[1:])), 1)

    async def test_what_was_written_before_a_refusal_is_gone(self) -> None:
        works = [self.write(number, refused="after" * (number == 5)) for number in range(10)]
        results = await gatherResults(works)
        self.assertEqual(results[5], "refused")
        self.assertEqual(await self.kept(), set(range(10)) - {5})

    async def test_a_refusal_alone_moves_nothing(self) -> None:
        before = await self.store.read(lambda txn: txn.value("SELECT position FROM stream"))
        self.assertEqual(await self.write(1, refused="before"), "refused")
        after = await self.store.read(lambda txn: txn.value("SELECT position FROM stream"))
        self.assertEqual((before, await self.kept()), (after, set()))
