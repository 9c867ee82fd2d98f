"""Searching in the history: what was written before there was an index."""

import os
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from homeserver.search.backlog import PAUSE_SECONDS, STEP, SearchBacklog
from storage import search as search_texts
from tests.search_case import SearchCase


class BacklogTest(SearchCase):
    """A database from before there was an index."""

    async def test_what_was_there_before_is_indexed_step_by_step(self) -> None:
        first = await self.alice.say(self.street, "The oldest rhubarb")
        edited = await self.alice.say(self.street, "mistake")
        relation = {"rel_type": "m.replace", "event_id": edited}
        await self.alice.say(
            self.street,
            "* rhubarb",
            **{"m.new_content": {"body": "rhubarb"}, "m.relates_to": relation},
        )
        gone = await self.alice.say(self.street, "rhubarb, redacted")
        path = f"/rooms/{self.street}/redact/{gone}/{self.alice.transaction()}"
        await self.alice.ask("PUT", path)
        sealed = await self.alice.create_room()
        await self.alice.say(sealed, "rhubarb, encrypted")
        store = self.hearth.app.storage.store

        def before_the_index(txn: Any) -> int:
            txn.run("DELETE FROM search_texts")
            # Many transactions later.
            txn.leap(STEP * 2)
            txn.run("UPDATE search_backlog SET position = ?", txn.last_position)
            return txn.last_position

        position = await store.write(before_the_index)
        self.assertEqual(await self.found(self.bob, "rhubarb"), [])
        clock = Clock()
        backlog = SearchBacklog(clock, store)
        running = ensureDeferred(backlog.run())
        await store.write(lambda txn: None)
        self.assertEqual(await store.read(search_texts.backlog), position - STEP)
        newest = await self.alice.say(self.street, "rhubarb of today")
        self.assertEqual(await self.found(self.bob, "rhubarb"), [newest])
        # It is interrupted, and goes on after the restart.
        backlog.stop()
        clock.advance(PAUSE_SECONDS)
        await running
        await self.hearth.restart()
        store = self.hearth.app.storage.store
        await SearchBacklog(default_reactor, store).run()
        self.assertEqual(await store.read(search_texts.backlog), 0)
        self.assertEqual(await self.found(self.bob, "rhubarb"), [newest, edited, first])
        # Nothing of the encrypted room, nor of what was redacted.
        self.assertEqual(await self.kept("rhubarb"), 3)

    async def test_an_older_database_is_searched_soon_after_the_start(self) -> None:
        said = await self.alice.say(self.street, "elderberry")

        def as_of_an_older_version(txn: Any) -> None:
            is_sqlite = "HEARTH_TEST_POSTGRES" not in os.environ
            for table in (*["search_index"] * is_sqlite, "search_texts", "search_backlog"):
                txn.run(f"DROP TABLE {table}")
            txn.run("DELETE FROM schema_version WHERE number IN (80, 81)")

        await self.hearth.app.storage.store.write(as_of_an_older_version)
        await self.hearth.restart()
        await SearchBacklog(default_reactor, self.hearth.app.storage.store).run()
        self.assertEqual(await self.found(self.bob, "elderberry"), [said])
