"""Design promises 1 and 3 where it hurts: the server is killed while people talk."""

import random
import sqlite3
from contextlib import closing
from typing import Any

import psycopg2
from attrs import define, field
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.processes import ServerProcess
from tests.support import Person, WireTest, timeline

ROUNDS = 4
SENDERS = 6
WITH_ALL = {"room": {"timeline": {"limit": 100}}}


@define
class Attempt:
    """One request to send something, and what its sender knows of it."""

    sender: Person
    room: str
    path: str
    text: str
    event_id: str | None = None


@define
class Sender:
    """Somebody who sends one message after the other, on one device, until the server is gone."""

    person: Person
    rooms: list[str]
    attempts: list[Attempt] = field(factory=list)

    async def talk(self) -> None:
        """Until a request fails."""
        while True:
            number = len(self.attempts)
            room = self.rooms[number % len(self.rooms)]
            txn_id = self.person.transaction()
            path = f"/rooms/{room}/send/m.room.message/{txn_id}"
            text = f"{self.person.device_id} {txn_id}"
            attempt = Attempt(self.person, room, path, text)
            self.attempts.append(attempt)
            body = {"msgtype": "m.text", "body": text}
            try:
                code, answer = await self.person.call("PUT", path, body)
            except Exception as error:
                if isinstance(error, AssertionError):
                    raise
                return
            if code != 200:
                return
            attempt.event_id = answer["event_id"]


def rows(server: ServerProcess, sql: str) -> list[tuple[Any, ...]]:
    """What the database itself says."""
    url = server.database_url
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(server.data / "hearth.db")) as connection:
            return list(connection.execute(sql))
    with closing(psycopg2.connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        return list(cursor.fetchall())


async def history(person: Person, room: str) -> list[dict[str, Any]]:
    """Every event of a room, oldest first."""
    events: list[dict[str, Any]] = []
    query: dict[str, Any] = {"dir": "f", "limit": 500}
    while True:
        page = await person.messages(room, **query)
        events += page["chunk"]
        if "end" not in page:
            return events
        query["from"] = page["end"]


class CrashTest(WireTest):
    """SIGKILL at any moment."""

    async def setUp(self) -> None:
        self.dice = random.Random(1)
        self.hearth = await ServerProcess(self, {}).start()
        self.addCleanup(self.hearth.kill)
        self.alice, self.bob, self.watcher = await self.hearth.people("alice", "bob", "watcher")
        self.rooms = [
            await self.alice.create_room(invite=[self.bob.id, self.watcher.id]) for _ in range(2)
        ]
        for person in (self.bob, self.watcher):
            for room in self.rooms:
                await person.join(room)
        devices = [self.alice, self.bob]
        for _ in range(SENDERS - 2):
            devices.append(await self.hearth.log_in(self.dice.choice((self.alice, self.bob))))
        self.senders = [Sender(device, self.rooms) for device in devices]

    async def test_what_was_acknowledged_is_there_and_nothing_is_there_twice(self) -> None:
        token = (await self.watcher.sync())["next_batch"]
        seen: dict[str, list[str]] = {room: [] for room in self.rooms}
        for room in self.rooms:
            seen[room] += [event["event_id"] for event in await history(self.watcher, room)]
        for _ in range(ROUNDS):
            await self._kill_while_they_talk()
            await self.hearth.start()
            for room in self.rooms:
                await self._check_history(room)
            token = await self._watch(token, seen)
            await self._check_retries()
        self._check_database()
        await self.hearth.stop()
        self.assertNotIn("Traceback", self.hearth.log)

    async def _kill_while_they_talk(self) -> None:
        talking = gatherResults(
            [Deferred.fromCoroutine(sender.talk()) for sender in self.senders], consumeErrors=True
        )
        await deferLater(default_reactor, self.dice.uniform(0.2, 0.8))
        await self.hearth.kill()
        await talking

    async def _check_history(self, room: str) -> None:
        """Acknowledged is there; each text is there at most once; each sender's are in order."""
        events = await history(self.watcher, room)
        ids = [event["event_id"] for event in events]
        self.assertEqual(len(ids), len(set(ids)))
        texts = [event["content"].get("body") for event in events if event["content"].get("body")]
        self.assertEqual(len(texts), len(set(texts)))
        place = {text: index for index, text in enumerate(texts)}
        by_id = {event["event_id"]: event["content"].get("body") for event in events}
        for sender in self.senders:
            attempts = [attempt for attempt in sender.attempts if attempt.room == room]
            for attempt in attempts:
                if attempt.event_id is not None:
                    self.assertEqual(by_id.get(attempt.event_id), attempt.text)
            order = [place[attempt.text] for attempt in attempts if attempt.text in place]
            self.assertEqual(order, sorted(order))

    async def _check_retries(self) -> None:
        """Asking again gives the same event where there is one, and makes one where there is not.

        A transaction id that was answered is answered alike; one that was not becomes one event.
        """
        for sender in self.senders:
            for attempt in sender.attempts[-2:]:
                before = await history(self.watcher, attempt.room)
                there = [e["event_id"] for e in before if e["content"].get("body") == attempt.text]
                body = {"msgtype": "m.text", "body": attempt.text}
                answer = await attempt.sender.ask("PUT", attempt.path, body)
                if attempt.event_id is not None:
                    self.assertEqual(answer["event_id"], attempt.event_id)
                if there:
                    self.assertEqual([answer["event_id"]], there)
                attempt.event_id = answer["event_id"]

    async def _watch(self, token: str, seen: dict[str, list[str]]) -> str:
        """The watcher's stream goes on with the token from before, and misses nothing."""
        answer = await self.watcher.sync(since=token, filter=WITH_ALL)
        for room in self.rooms:
            new = timeline(answer, room)
            joined = answer.get("rooms", {}).get("join", {}).get(room)
            if joined is not None and joined["timeline"]["limited"]:
                new = await self._fill(room, joined["timeline"]["prev_batch"], token) + new
            seen[room] += [event["event_id"] for event in new]
            whole = [event["event_id"] for event in await history(self.watcher, room)]
            self.assertEqual(seen[room], whole)
        return str(answer["next_batch"])

    async def _fill(self, room: str, prev_batch: str, token: str) -> list[dict[str, Any]]:
        """The gap between what the watcher had and a limited timeline, oldest first."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"from": prev_batch, "to": token, "limit": 100}
        while True:
            page = await self.watcher.messages(room, **query)
            found += page["chunk"]
            if "end" not in page:
                return found[::-1]
            query["from"] = page["end"]

    def _check_database(self) -> None:
        numbers = rows(
            self.hearth, "SELECT room_id, COUNT(*), MIN(seq), MAX(seq) FROM events GROUP BY room_id"
        )
        self.assertEqual(len(numbers), len(self.rooms))
        for _, count, first, last in numbers:
            self.assertEqual((first, last), (1, count))
        [(position,)] = rows(self.hearth, "SELECT position FROM stream")
        [(newest,)] = rows(self.hearth, "SELECT MAX(position) FROM events")
        self.assertGreaterEqual(position, newest)
        self.assertGreater(sum(count for _, count, _, _ in numbers), SENDERS * ROUNDS)
        if self.hearth.database_url.startswith("sqlite:"):
            self.assertEqual(rows(self.hearth, "PRAGMA integrity_check"), [("ok",)])
