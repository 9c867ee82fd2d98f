"""A backup is restored: what clients know of the lost time must not mislead them or the server."""

import shutil
from contextlib import closing
from pathlib import Path

import psycopg2
from twisted.internet import reactor as default_reactor

from homeserver.assembly.database import engine_for
from homeserver.config import load
from homeserver.metrics import Metrics
from storage.restore import GAP, make_safe
from storage.store import Store
from storage.stream import Stream
from tests.olm_devices import Stories
from tests.support import Server, timeline


class Backup:
    """A copy of a server's database, made while it is stopped, and put back in its place."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._name = server._database.name
        self._copy = f"{self._name}_copy"

    def make(self) -> None:
        """Copy the database."""
        self._put(self._name, self._copy)

    def put_back(self) -> None:
        """Put the copy in the place of the database."""
        self._put(self._copy, self._name)

    def drop(self) -> None:
        """Leave nothing behind."""
        if self._server._database._server is not None:
            self._run(f"DROP DATABASE IF EXISTS {self._copy} WITH (FORCE)")

    def _put(self, source: str, target: str) -> None:
        if self._server._database._server is not None:
            self._run(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
            self._run(f"CREATE DATABASE {target} TEMPLATE {source}")
            return
        for suffix in ("", "-wal", "-shm"):
            files = {
                name: self._server._folder / f"{file}{suffix}"
                for name, file in ((self._name, "hearth.db"), (self._copy, "copy.db"))
            }
            files[target].unlink(missing_ok=True)
            if files[source].exists():
                shutil.copy(files[source], files[target])

    def _run(self, sql: str) -> None:
        with closing(psycopg2.connect(self._server._database._server)) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql)


async def restore_safely(config_file: Path) -> int:
    """What has to be done before the server starts; how many one-time keys were withdrawn."""
    store = Store(default_reactor, engine_for(load(config_file)), Stream(), Metrics())
    store.open()
    try:
        return await store.write(make_safe)
    finally:
        store.close()


class RestoreStories(Stories):
    """A real server, stopped, with a database from before."""

    async def setUp(self) -> None:
        await super().setUp()
        self.backup = Backup(self.town.server)
        self.addCleanup(self.backup.drop)

    async def back_up(self) -> None:
        await self.town.server.stop()
        self.backup.make()
        await self.town.server.start()

    async def restore(self, *, safely: bool = True) -> int:
        """Put the backup in place and start again; how many one-time keys were withdrawn."""
        server = self.town.server
        await server.stop()
        self.backup.put_back()
        withdrawn = await restore_safely(server._folder / "hearth.yaml") if safely else 0
        await server.start()
        return withdrawn

    async def test_clients_of_the_lost_time_begin_anew(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        assert self.town.street is not None
        await bob.person.say(self.town.street, "before")
        before = (await alice.person.sync())["next_batch"]
        await self.back_up()
        for number in range(3):
            await bob.person.say(self.town.street, f"lost {number}")
        lost = (await alice.person.sync(before))["next_batch"]
        await self.restore()

        # So much happens that the stream would have reached the lost positions by now.
        for number in range(10):
            await bob.person.say(self.town.street, f"new {number}")
        for restart in (False, True):
            if restart:
                await self.town.server.restart()
            answer = await alice.person.sync(lost, timeout=60_000)
            room = answer["rooms"]["join"][self.town.street]
            self.assertTrue(room["timeline"]["limited"])
            self.assertIn("account_data", answer)
            texts = [event["content"].get("body") for event in timeline(answer, self.town.street)]
            self.assertEqual(texts, [f"new {number}" for number in range(10)])
            again = await alice.person.sync(answer["next_batch"])
            self.assertNotIn("rooms", again)
        # A token from before the backup is as good as ever: nothing is sent twice.
        answer = await alice.person.sync(before)
        events = timeline(answer, self.town.street)
        self.assertEqual(len(events), 10)

    async def test_a_token_of_the_lost_time_stays_lost_when_only_its_messages_lie_there(
        self,
    ) -> None:
        alice = await self.town.person("alice")
        position = self.town.stream.position
        await self.back_up()
        await self.restore()
        for lost in (f"s{position + 5}_0_{position}", f"s{position}_0_{position + GAP}"):
            answer = await alice.person.sync(lost)
            self.assertIn("rooms", answer, lost)
        for known in (f"s{position}_0_{position}", f"s{position + GAP + 1}_0_{position}"):
            if self.town.stream.position >= int(known[1:].partition("_")[0]):
                self.assertNotIn("rooms", await alice.person.sync(known), known)

    async def test_every_gap_is_remembered(self) -> None:
        alice = await self.town.person("alice")
        await self.back_up()
        gaps = []
        for _ in range(2):
            gaps.append(self.town.stream.position + 7)
            await self.restore()
            await self.back_up()
        self.assertEqual(await self.town.rows("stream_gaps"), 2)
        for position in gaps:
            self.assertFalse(self.town.stream.has_been_at(position))
            self.assertIn("rooms", await alice.person.sync(f"s{position}_0_{position}"))
        self.assertTrue(self.town.stream.has_been_at(gaps[0] - 7))
        self.assertTrue(self.town.stream.has_been_at(self.town.stream.position))

    async def test_no_one_time_key_is_handed_out_again(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(3, fallback_keys=alice.fallback_key())
        await self.back_up()
        first = await bob.claim(alice)
        self.assertEqual(await self.restore(), 3)

        answer = await alice.person.sync()
        self.assertEqual(answer["device_one_time_keys_count"], {"signed_curve25519": 0})
        self.assertEqual(answer["device_unused_fallback_key_types"], ["signed_curve25519"])
        (fallback,) = await bob.claim(alice)
        self.assertNotEqual([fallback], first)
        new = alice.one_time_keys(2)
        answer = await alice.ok("POST", "/keys/upload", {"one_time_keys": new})
        self.assertEqual(answer["one_time_key_counts"], {"signed_curve25519": 2})
        (key,) = await bob.claim(alice)
        self.assertIn(key, [each["key"] for each in new.values()])

    async def test_messages_to_devices_are_not_lost(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        token = (await alice.person.sync())["next_batch"]
        for number in range(3):
            content = {alice.user_id: {"PHONE": {"body": number}}}
            await bob.send(str(number), content)
        await self.back_up()
        # In the lost time the device gets them with another one, and says so.
        await bob.send("lost", {alice.user_id: {"PHONE": {"body": "lost"}}})
        lost = (await alice.person.sync(token))["next_batch"]
        lost = (await alice.person.sync(lost))["next_batch"]
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)
        await self.restore()

        await bob.send("3", {alice.user_id: {"PHONE": {"body": 3}}})
        answer = await alice.person.sync(lost)
        found = [event["content"]["body"] for event in answer["to_device"]["events"]]
        self.assertEqual(found, [0, 1, 2, 3])
        self.assertEqual(await self.town.rows("to_device_messages"), 4)
        after = await alice.person.sync(answer["next_batch"])
        self.assertNotIn("to_device", after)
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_who_is_lost_asks_again_for_everybodys_devices(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        carol = await self.town.person("carol", alone=True)
        for each in (alice, bob, carol):
            await each.upload()
        await self.back_up()
        await bob.reinstalled().upload()
        lost = (await alice.person.sync())["next_batch"]
        await self.restore()
        # Bob's device was changed in the lost time, and again before alice comes back.
        await bob.reinstalled().upload()
        answer = await alice.person.sync(lost)
        everybody = [alice.user_id, bob.user_id]
        self.assertEqual(answer["device_lists"]["changed"], everybody)
        self.assertNotIn("device_lists", await alice.person.sync(answer["next_batch"]))
        self.assertNotIn("device_lists", await alice.person.sync())
        query = f"/keys/changes?from={lost}&to={answer['next_batch']}"
        self.assertEqual((await alice.ok("GET", query))["changed"], everybody)
