"""What operations copy and keep: bytes and objects, which no machine's speed changes.

The budgets stand in ``benchmarks/budgets.json``, a tenth above what was measured; how often JSON is
read or made is exact.
"""

import gc
import os
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import SkipTest

import orjson
from twisted.trial.unittest import TestCase

from benchmarks.replay import RECEIVERS, Replay
from tests.test_query_budgets import BUDGETS

TIMES = 20
ROUNDS = 5
JSON = (orjson.loads, orjson.dumps)
Operation = Callable[[], Awaitable[Any]]


class AllocationBudgets(TestCase):
    """The neighbours of the replay."""

    timeout = 120

    async def setUp(self) -> None:
        if "HEARTH_TEST_POSTGRES" in os.environ:
            raise SkipTest("The replay is on SQLite, and what it counts here is Python's")
        folder = Path(self.mktemp())
        folder.mkdir()
        self.replay = Replay(folder)
        self.addCleanup(self.replay.app.stop)
        await self.replay.start()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def check(self, name: str, spent: float) -> None:
        """Hold a budget."""
        budget = BUDGETS[name]
        self.assertLessEqual(spent, budget, f"{name}: {spent:,.1f}, the budget is {budget}")
        self.assertGreaterEqual(spent, budget / 2, f"{name}: lower the budget to what was gained")

    async def json(self, operation: Operation) -> float:
        """How often the server reads or makes JSON on the reactor's thread."""
        used = 0
        await operation()  # that the one before has left nothing to be done

        def count(frame: FrameType, what: str, function: Any) -> None:
            nonlocal used
            is_ours = "benchmarks" not in frame.f_code.co_filename
            used += what == "c_call" and function in JSON and is_ours

        sys.setprofile(count)
        try:
            for _ in range(TIMES):
                await operation()
        finally:
            sys.setprofile(None)
        return used / TIMES

    async def test_each_receiver_gets_the_stored_text(self) -> None:
        alone = await self.json(self.replay.send)
        together = await self.json(self.replay.deliver)
        self.check("delivery, JSON", (together - alone) / RECEIVERS)

    async def test_bytes_that_each_receiver_is_sent(self) -> None:
        before = sum(line.received for line in self.replay.others)
        for _ in range(TIMES):
            await self.replay.deliver()
        sent = sum(line.received for line in self.replay.others) - before
        self.check("delivery, bytes sent", sent / TIMES / RECEIVERS)

    async def test_bytes_that_a_message_writes(self) -> None:
        """To the log that SQLite writes ahead, which grows as long as nobody empties it."""
        store = self.replay.app.storage.store

        def let_grow(txn: Any) -> None:
            txn._cursor.connection.execute("PRAGMA wal_autocheckpoint = 0")

        await store.write(let_grow)
        await self.replay.send()
        before = self.replay.write_ahead_log.stat().st_size
        for _ in range(TIMES):
            await self.replay.send()
        grown = self.replay.write_ahead_log.stat().st_size - before
        self.check("send, bytes written", grown / TIMES)

    async def test_objects_that_a_message_leaves_in_memory(self) -> None:
        await self.delivered()
        before = sys.getallocatedblocks()
        await self.delivered()
        kept = (sys.getallocatedblocks() - before) / TIMES
        self.assertLess(kept, RECEIVERS / 2, "Something is kept for each who receives it")

    async def delivered(self) -> None:
        for _ in range(TIMES):
            await self.replay.deliver()
        gc.collect()

    async def test_bytes_that_operations_need_at_once(self) -> None:
        for name in ("send", "delivery", "first sync", "a page of messages", "key claim"):
            self.check(f"{name}, bytes at once", await self.peak(self.replay.operations[name]))

    async def peak(self, operation: Operation) -> int:
        """The most bytes that Python has allocated for an operation at one moment."""
        tracemalloc.start()
        try:
            peaks = []
            for _ in range(ROUNDS):
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                await operation()
                peaks.append(tracemalloc.get_traced_memory()[1] - before)
            return min(peaks)  # what happens once beside the requests is not theirs
        finally:
            tracemalloc.stop()
