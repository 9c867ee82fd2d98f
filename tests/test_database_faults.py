"""When the database fails: quick refusals, nothing half done, and back to work by itself."""

import os
import resource
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from time import monotonic
from typing import Any
from unittest import SkipTest
from urllib.parse import quote

import orjson
import psycopg2
import treq
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from schema.errors import Unavailable
from tests.following import Follower
from tests.postgres_instance import PostgresInstance, binaries
from tests.processes import ServerProcess
from tests.support import V3, Person, Server, WireTest, bodies

FAILS_WITHIN = 10
RECOVERS_WITHIN = 15


async def attempt(person: Person, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """A request that may be answered by 503; its status and its JSON."""
    response = await treq.request(
        method,
        f"{person.server.base}{V3}{path}",
        headers={"Authorization": f"Bearer {person.token}"},
        data=None if method == "GET" else orjson.dumps(body or {}),
        persistent=False,
        timeout=60,
        reactor=default_reactor,
    )
    return response.code, orjson.loads(await response.content())


async def pause(seconds: float = 0.05) -> None:
    """Before asking again."""
    await deferLater(default_reactor, seconds)


class FaultTest(WireTest):
    """Somebody talks, somebody listens, and meanwhile the database does not work."""

    async def inhabit(self, hearth: Server) -> None:
        """Two people, one room, somebody who follows it."""
        self.alice, self.bob = await hearth.people("alice", "bob")
        self.room = await self.alice.create_room(invite=[self.bob.id])
        await self.bob.join(self.room)
        await self.alice.say(self.room, "at first")
        self.follower = Follower(self.bob)
        await self.follower.sync()

    async def send(self, text: str, txn_id: str) -> tuple[int, Any]:
        """Alice tries to send."""
        path = f"/rooms/{self.room}/send/m.room.message/{txn_id}"
        return await attempt(self.alice, "PUT", path, {"msgtype": "m.text", "body": text})

    async def check_refused(self, code: int, answer: Any, began: float) -> None:
        """Refused in time and in words."""
        self.assertEqual(code, 503, answer)
        self.assertEqual(answer["errcode"], "M_UNKNOWN")
        self.assertIn("try again", answer["error"])
        self.assertLess(monotonic() - began, FAILS_WITHIN)

    async def insist(self, text: str, txn_id: str) -> str:
        """What a client does: try again, with the same transaction id, until it is sent."""
        deadline = monotonic() + RECOVERS_WITHIN
        while True:
            code, answer = await self.send(text, txn_id)
            if code == 200:
                return str(answer["event_id"])
            self.assertEqual(code, 503, answer)
            self.assertLess(monotonic(), deadline, answer)
            await pause()

    async def check_all_is_well(self, expected: list[str]) -> None:
        """Each text is there once; who followed has seen the same as who looks now."""
        last = f"in the end {len(expected)}"
        await self.insist(last, last.replace(" ", ""))
        await self.follower.sync()
        seen = [event["event_id"] for event in self.follower.joined[self.room].timeline]
        page = await self.bob.messages(self.room, limit=1000)
        whole = [event["event_id"] for event in page["chunk"]][::-1]
        self.assertEqual(seen, whole[len(whole) - len(seen) :])
        self.assertEqual(Counter(bodies(page["chunk"])), Counter([*expected, last]))


class StoppedTest(WireTest):
    """A server that has stopped."""

    async def test_whoever_comes_too_late_is_refused_and_does_not_wait(self) -> None:
        server = await self.server()
        store = server.app.storage.store
        await server.stop()
        for ask in (store.read, store.write):
            with self.assertRaises(Unavailable):
                await ask(lambda txn: None)


class DoubtfulCommitTest(FaultTest):
    """The connection breaks while the database commits: nobody knows whether it did."""

    async def test_it_did(self) -> None:
        await self._break(commits=True)

    async def test_it_did_not(self) -> None:
        await self._break(commits=False)

    async def test_it_did_and_the_server_is_restarted(self) -> None:
        await self._break(commits=True, restart=True)

    async def _break(self, *, commits: bool, restart: bool = False) -> None:
        hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        await self.inhabit(hearth)
        for number in range(3):
            committer: Any = hearth.app.storage.store._committer
            committer._connection = Breaking(committer._connection, commits)
            text = f"doubtful {number}"
            began = monotonic()
            code, answer = await self.send(text, str(number))
            if code != 200:
                await self.check_refused(code, answer, began)
            if restart:
                await hearth.restart()
            event_id = await self.insist(text, str(number))
            self.assertEqual(await self.insist(text, str(number)), event_id)
            # Somebody else is not stuck either.
            await self.bob.say(self.room, f"Bob {number}")
        expected = [f"{who} {number}" for who in ("doubtful", "Bob") for number in range(3)]
        await self.check_all_is_well(["at first", *expected])


class Breaking:
    """A connection that is lost at its next commit, before or after the database has committed."""

    def __init__(self, connection: Any, commits: bool) -> None:
        self._connection = connection
        self._commits = commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """Break."""
        if self._commits:
            self._connection.commit()
        else:
            self._connection.rollback()
        if isinstance(self._connection, sqlite3.Connection):
            raise sqlite3.OperationalError("disk I/O error")
        raise psycopg2.OperationalError("server closed the connection unexpectedly")


class PostgresFaultTest(FaultTest):
    """PostgreSQL goes away under the running server, and comes back."""

    timeout = 180

    async def setUp(self) -> None:
        found = binaries()
        if found is None or "HEARTH_TEST_POSTGRES" not in os.environ:
            raise SkipTest("This needs a PostgreSQL of its own; it runs with those of PostgreSQL")
        self.postgres = await deferToThread(PostgresInstance, found)
        self.addCleanup(deferToThread, self.postgres.remove)
        await deferToThread(self.postgres.start)
        rooms = {"self_room": False, "encrypt": []}
        self.hearth = await self.server(database=self.postgres.url, rooms=rooms)
        self.addCleanup(self.hearth.stop)  # before the database goes
        await self.inhabit(self.hearth)

    async def test_away_and_back(self) -> None:
        await deferToThread(self.postgres.kill)
        for number in range(2):
            began = monotonic()
            code, answer = await self.send("while it is away", "away")
            await self.check_refused(code, answer, began)
            began = monotonic()
            path = f"/rooms/{self.room}/messages?dir=b"
            await self.check_refused(*await attempt(self.bob, "GET", path), began)
            began = monotonic()
            login = {"type": "m.login.password", "user": "alice", "password": f"x{number}"}
            await self.check_refused(*await attempt(self.bob, "POST", "/login", login), began)
        for _ in range(12):  # more often than there are connections
            began = monotonic()
            path = f"/rooms/{self.room}/event/{quote('$none')}"
            await self.check_refused(*await attempt(self.bob, "GET", path), began)
        # What is in memory is still served.
        self.assertEqual((await attempt(self.bob, "GET", "/account/whoami"))[0], 200)
        self.assertEqual((await attempt(self.bob, "GET", "/joined_rooms"))[0], 200)
        await deferToThread(self.postgres.start)
        await self.insist("while it is away", "away")
        await self.insist("afterwards", "afterwards")
        await self.check_all_is_well(["at first", "while it is away", "afterwards"])

    async def test_the_server_stops_in_time_also_without_its_database(self) -> None:
        hearth = ServerProcess(self, {"database": self.postgres.url})
        self.addCleanup(hearth.kill)
        await self.hearth.stop()
        await hearth.start()
        carol = await hearth.person("carol")
        await deferToThread(self.postgres.kill)
        self.assertEqual((await attempt(carol, "GET", "/devices"))[0], 503)
        await hearth.stop()

    async def test_killed_twice_while_people_talk(self) -> None:
        texts: list[str] = []
        running = True

        async def talk(name: str) -> None:
            while running:
                text = f"{name} {len(texts)}"
                texts.append(text)
                await self.insist(text, text.replace(" ", ""))

        talking = [Deferred.fromCoroutine(talk(name)) for name in ("a", "b", "c", "d")]
        for _ in range(2):
            count = len(texts)
            while len(texts) < count + 20:
                await pause()
            await deferToThread(self.postgres.kill)
            await deferToThread(self.postgres.start)
        running = False
        await gatherResults(talking)
        await self.check_all_is_well(["at first", *texts])

    async def test_connections_that_are_cut(self) -> None:
        def cut() -> None:
            with closing(psycopg2.connect(self.postgres.url)) as connection:
                connection.autocommit = True
                connection.cursor().execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'hearth'"
                )

        texts = []
        for number in range(5):
            await deferToThread(cut)
            # Reading has no effects: it is done again, and nobody notices.
            code, _ = await attempt(self.bob, "GET", f"/rooms/{self.room}/messages?dir=b")
            self.assertEqual(code, 200)
            texts.append(f"cut {number}")
            await self.insist(texts[-1], str(number))
        await self.check_all_is_well(["at first", *texts])


class FullDiskTest(FaultTest):
    """The disk is full: here, no file of the server may grow."""

    async def test_full_and_then_there_is_room_again(self) -> None:
        hearth = ServerProcess(self, {"database": "sqlite:hearth.db"})
        self.addCleanup(hearth.kill)
        await hearth.start()
        await self.inhabit(hearth)
        texts = ["at first"]
        for number in range(2):
            self._limit(hearth, 100_000)
            while True:
                text = f"{number} {len(texts)} " + "x" * 20_000
                began = monotonic()
                code, answer = await self.send(text, f"full{len(texts)}")
                if code != 200:
                    break
                texts.append(text)
                self.assertLess(len(texts), 100)
            await self.check_refused(code, answer, began)
            for _ in range(3):
                began = monotonic()
                await self.check_refused(*await self.send(text, f"full{len(texts)}"), began)
            # Reading goes on.
            self.assertEqual((await attempt(self.bob, "GET", "/sync"))[0], 200)
            self._limit(hearth, None)
            await self.insist(text, f"full{len(texts)}")
            texts.append(text)
        await self.check_all_is_well(texts)
        await hearth.kill()
        await hearth.start()
        page = await self.bob.messages(self.room, limit=1000)
        self.assertLessEqual(Counter(texts), Counter(bodies(page["chunk"])))
        await hearth.stop()
        with closing(sqlite3.connect(hearth.data / "hearth.db")) as connection:
            self.assertEqual(list(connection.execute("PRAGMA integrity_check")), [("ok",)])

    def _limit(self, hearth: ServerProcess, room: int | None) -> None:
        """Let the files of the database grow by so much and no more."""
        assert hearth.process is not None
        files = [*hearth.data.glob("hearth.db*"), hearth.data / "log"]
        largest = max(file.stat().st_size for file in files)
        most = resource.RLIM_INFINITY if room is None else largest + room
        set_limit: Callable[..., Any] = resource.prlimit
        set_limit(hearth.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
