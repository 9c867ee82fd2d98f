"""What operations cost in calls of Python functions, which no machine's speed changes.

Requests go straight into the server's connection, so nothing but the server is counted: on the
reactor thread, and on the writer's. Twisted's reactor is left out, whose calls depend on the time.
The budgets stand in ``benchmarks/budgets.json``, a tenth above what was measured.
"""

import gc
import sys
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import SkipTest
from urllib.parse import quote

import twisted

from benchmarks.replay import Line
from storage import push
from tests.support import WireTest
from tests.test_query_budgets import BUDGETS

ROOT = Path(__file__).parents[1]
_REACTOR = ("abstract", "base", "epollreactor", "posixbase", "tcp", "threads")
UNCOUNTED = (
    str(ROOT / "benchmarks"),
    str(ROOT / "tests"),
    *(str(Path(twisted.__file__).parent / "internet" / name) for name in _REACTOR),
)
TIMES = 20


class Calls:
    """Counts calls of Python functions of the server on the threads that it is told to watch."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, what: str, _: Any) -> None:
        if what == "call" and not frame.f_code.co_filename.startswith(UNCOUNTED):
            self.count += 1


class CallBudgets(WireTest):
    """Neighbours in one room."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        names = [f"neighbour{number}" for number in range(11)]
        self.alice, *self.others = await self.hearth.people(*names)
        self.room = await self.alice.create_room(preset="public_chat")
        for person in self.others:
            await person.join(self.room)
        self.line = Line(self.hearth.app.site, self.alice.token)
        self.number = 0

    async def spent(self, operation: Any, times: int = TIMES) -> float:
        """The calls of one ``operation``; the first few warm up and do not count."""
        store = self.hearth.app.storage.store
        for _ in range(3):
            await operation()
        calls = Calls()
        await store.write(lambda txn: sys.setprofile(calls))
        sys.setprofile(calls)
        try:
            for _ in range(times):
                await operation()
        finally:
            sys.setprofile(None)
            await store.write(lambda txn: sys.setprofile(None))
        return calls.count / times

    def check(self, name: str, spent: float) -> None:
        """Hold a budget."""
        budget = BUDGETS[f"{name}, calls"]
        self.assertLessEqual(spent, budget, f"{name}: {spent:.0f} calls, the budget is {budget}")
        self.assertGreater(spent, budget / 2, f"{name}: lower the budget to what was gained")

    async def say(self) -> None:
        self.number += 1
        path = f"/rooms/{quote(self.room)}/send/m.room.message/{self.number}"
        await self.line.ask("PUT", path, b'{"msgtype":"m.text","body":"hello"}')

    async def test_send(self) -> None:
        self.check("send", await self.spent(self.say))

    async def test_each_delivery(self) -> None:
        """A message to ten who wait, without the message itself: what each of them costs."""
        alone = await self.spent(self.say)
        lines = [Line(self.hearth.app.site, person.token) for person in self.others]
        tokens = [(await line.ask("GET", "/sync"))["next_batch"] for line in lines]
        for index, line in enumerate(lines):  # who has come online meanwhile
            answer = await line.ask("GET", f"/sync?since={tokens[index]}")
            tokens[index] = answer["next_batch"]

        async def deliver() -> None:
            waiting = [
                line.ask("GET", f"/sync?timeout=30000&since={token}")
                for line, token in zip(lines, tokens, strict=True)
            ]
            await self.say()
            tokens[:] = [(await answer)["next_batch"] for answer in waiting]

        together = await self.spent(deliver)
        self.check("delivery", (together - alone) / len(lines))

    async def test_sync_with_nothing_new(self) -> None:
        since = (await self.line.ask("GET", "/sync"))["next_batch"]
        operation = lambda: self.line.ask("GET", f"/sync?since={since}")  # noqa: E731
        self.check("sync with nothing new", await self.spent(operation))

    async def test_the_database_does_as_much_for_a_long_room_as_for_a_short_one(self) -> None:
        """Statements that look through a whole room are few, and easily overlooked."""
        if self.hearth.app.storage.store._engine.name != "sqlite":
            raise SkipTest("Only SQLite counts its steps")
        short = await self.steps(self.say)
        for _ in range(300):
            await self.say()
        self.assertLess(await self.steps(self.say), short + 10)

    async def test_nobody_pays_for_what_they_were_told_of_long_ago(self) -> None:
        if self.hearth.app.storage.store._engine.name != "sqlite":
            raise SkipTest("Only SQLite counts its steps")
        store, bob = self.hearth.app.storage.store, self.others[0]
        await self.say()

        async def found() -> None:
            def work(txn: Any) -> None:
                now = push.stream_position(txn)
                told = push.notified(txn, bob.id, [], now - 1, now + 1, 5, highlights=False)
                self.assertEqual(len(told), 1)

            await store.write(work)

        short = await self.steps(found)
        for _ in range(300):
            await self.say()
        self.assertLess(await self.steps(found), short + 30)

    async def steps(self, operation: Any) -> float:
        """How many steps SQLite takes for the writes of one ``operation``, in tens."""
        store = self.hearth.app.storage.store
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        def watch(txn: Any, handler: Any) -> None:
            txn._cursor.connection.set_progress_handler(handler, 10)

        await store.write(lambda txn: watch(txn, count))
        for _ in range(TIMES):
            await operation()
        await store.write(lambda txn: watch(txn, None))
        return steps / TIMES

    async def test_requests_leave_next_to_nothing_for_the_garbage_collector(self) -> None:
        """Then it may be asked seldom: see ``homeserver.cli.serve``."""
        since = (await self.line.ask("GET", "/sync"))["next_batch"]
        await self.say()
        # What happens once beside the requests, such as preparing the schemas, is in one of them.
        self.assertLess(min([await self.garbage(since) for _ in range(3)]), 20)

    async def garbage(self, since: str) -> float:
        """How many objects a /sync and a message leave in cycles."""
        gc.collect()
        gc.disable()
        try:
            for _ in range(TIMES):
                await self.line.ask("GET", f"/sync?since={since}")
                await self.say()
            return gc.collect() / TIMES
        finally:
            gc.enable()
