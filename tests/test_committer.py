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


class LaterTest(WireTest):
    """Statements that nobody waits for go together with the next one."""

    async def setUp(self) -> None:
        self.store = (await self.server()).app.storage.store
        await self.store.write(
            lambda txn: txn.run("CREATE TABLE numbers (number BIGINT NOT NULL UNIQUE)")
        )

    def keep(self, *numbers: int) -> "Deferred[Any]":
        """Store numbers, each of which can be stored only once; whether that was possible."""

        def work(txn: WriteTransaction) -> None:
            txn.value("SELECT position FROM stream")
            for number in numbers:
                txn.later("INSERT INTO numbers (number) VALUES (?)", number)

        async def attempt() -> bool:
            try:
                await self.store.write(work)
            except (self.store._engine.errors, OverflowError):
                return False
            return True

        return Deferred.fromCoroutine(attempt())

    async def kept(self) -> list[int]:
        """What is stored."""
        rows = await self.store.read(
            lambda txn: txn.all("SELECT number FROM numbers ORDER BY number")
        )
        return [number for (number,) in rows]

    async def test_they_are_stored_although_nothing_follows(self) -> None:
        self.assertTrue(await self.keep(1, 2))
        self.assertEqual(await self.kept(), [1, 2])

    async def test_whatever_follows_finds_them_done(self) -> None:
        def work(txn: WriteTransaction) -> tuple[Any, int]:
            txn.later("INSERT INTO numbers (number) VALUES (?)", 1)
            found = txn.value("SELECT number FROM numbers WHERE number = ?", 1)
            txn.later("UPDATE numbers SET number = ?", 2)
            return found, txn.run("UPDATE numbers SET number = 3 WHERE number = ?", 2)

        self.assertEqual(await self.store.write(work), (1, 1))

        def many(txn: WriteTransaction) -> None:
            txn.later("DELETE FROM numbers")
            txn.many("INSERT INTO numbers (number) VALUES (?)", [(4,), (5,)])

        await self.store.write(many)
        self.assertEqual(await self.kept(), [4, 5])

    async def test_one_that_fails_costs_nobody_else_theirs(self) -> None:
        works = [self.keep(number, 100 + number % 7) for number in range(8)]
        self.assertEqual(await gatherResults(works), [True] * 7 + [False])
        self.assertEqual(await self.kept(), [*range(7), *range(100, 107)])

    async def test_one_that_cannot_even_be_sent_costs_nobody_else_theirs(self) -> None:
        works = [self.keep(number) for number in (1, 2, 2**70, 3, 4)]
        self.assertEqual(await gatherResults(works), [True, True, False, True, True])
        self.assertEqual(await self.kept(), [1, 2, 3, 4])

    async def test_whoever_is_refused_after_one_leaves_nothing(self) -> None:
        def work(txn: WriteTransaction) -> None:
            txn.later("INSERT INTO numbers (number) VALUES (?)", 1)
            raise Forbidden("no")

        others = [self.keep(number) for number in (2, 3)]
        with self.assertRaises(Forbidden):
            await self.store.write(work)
        self.assertEqual(await gatherResults(others), [True, True])
        self.assertEqual(await self.kept(), [2, 3])
