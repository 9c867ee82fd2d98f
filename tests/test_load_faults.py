"""When it is all too much: what waits is kept, what cannot wait is told when to come again."""

import resource
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest import SkipTest
from urllib.parse import urlsplit

import orjson
import psycopg2
import treq
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from homeserver import passwords
from rest.connection import LONG_PATIENCE
from storage import committer, sqlite, store
from tests.following import Follower
from tests.processes import ServerProcess
from tests.support import PASSWORD, V3, Person, Server, WireTest, bodies

SOFT_LIMIT = 1024
SILENT = 1100


class LoadTest(WireTest):
    """Alice and Bob in one room; Bob follows it."""

    async def inhabit(self, hearth: Server) -> None:
        """They come, and begin to talk."""
        self.alice, self.bob = await hearth.people("alice", "bob")
        self.room = await self.alice.create_room(invite=[self.bob.id])
        await self.bob.join(self.room)
        self.follower = Follower(self.bob, timeline_limit=100)
        await self.follower.sync()

    async def ask(self, person: Person, method: str, path: str, body: Any = None) -> Any:
        """A request that may be refused: its status, its JSON, and when to try again."""
        response = await treq.request(
            method,
            f"{person.server.base}{V3}{path}",
            headers={"Authorization": f"Bearer {person.token}"},
            data=None if body is None else orjson.dumps(body),
            persistent=False,
            timeout=60,
            reactor=default_reactor,
        )
        answer = orjson.loads(await response.content())
        return response.code, answer, response.headers.getRawHeaders("retry-after")

    def send(self, number: int) -> "Deferred[Any]":
        """Alice sends a message; its number is also its transaction id."""
        path = f"/rooms/{self.room}/send/m.room.message/{number}"
        content = {"msgtype": "m.text", "body": str(number)}
        return Deferred.fromCoroutine(self.ask(self.alice, "PUT", path, content))

    def check_told_to_come_again(
        self, answered: Any, errcode: str, seconds: int, status: int = 503
    ) -> None:
        """Refused, and told when to try again."""
        code, answer, retry_after = answered
        self.assertEqual((code, answer["errcode"]), (status, errcode))
        self.assertEqual(answer["retry_after_ms"], 1000 * seconds)
        self.assertEqual(retry_after, [str(seconds)])
        self.assertIn("try again", answer["error"])

    async def until(self, is_so: Any) -> None:
        """Wait for it; the test itself has a time limit."""
        while not is_so():
            await deferLater(default_reactor, 0.005)

    async def check_each_is_there_once(self, count: int) -> None:
        """In the room, and with who follows it."""
        await self.follower.sync()
        page = await self.bob.messages(self.room, limit=1000)
        expected = Counter(map(str, range(count)))
        self.assertEqual(Counter(bodies(page["chunk"])), expected)
        seen = bodies(self.follower.joined[self.room].timeline)
        self.assertEqual(Counter(seen), expected)


class BusyDatabaseTest(LoadTest):
    """Somebody else holds the lock that every write needs, as a backup or a repair does."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.store = self.hearth.app.storage.store

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else can write meanwhile."""
        setting = self.hearth.app.config.database
        connection: Any
        if setting.startswith("sqlite:"):
            file = self.hearth.app.config.data / setting.removeprefix("sqlite:")
            connection = sqlite3.connect(file, isolation_level=None)
            lock = "BEGIN IMMEDIATE"
        else:
            connection = psycopg2.connect(setting)
            lock = "SELECT position FROM stream FOR UPDATE"
        with closing(connection):
            connection.cursor().execute(lock)
            yield
            connection.rollback()

    async def test_what_is_sent_meanwhile_waits_and_nothing_is_lost(self) -> None:
        await self.inhabit(self.hearth)
        with self.locked():
            sending = [self.send(number) for number in range(30)]
            await self.until(lambda: self.store.waiting == 29)  # and one is under way
            # Reading goes on.
            self.assertEqual((await self.ask(self.bob, "GET", "/sync"))[0], 200)
            path = f"/rooms/{self.room}/messages?dir=b"
            self.assertEqual((await self.ask(self.bob, "GET", path))[0], 200)
            self.assertFalse(any(each.called for each in sending))
        self.assertEqual({code for code, _, _ in await gatherResults(sending)}, {200})
        await self.check_each_is_there_once(30)

    async def test_who_finds_too_many_waiting_is_told_when_to_come_again(self) -> None:
        await self.inhabit(self.hearth)
        self.patch(committer, "MAX_WAITING", 10)
        with self.locked():
            sending = [self.send(0)]
            await self.until(lambda: self.store.waiting == 0 and self.store._committer._busy)
            sending += [self.send(number) for number in range(1, 11)]
            await self.until(lambda: self.store.waiting == 10)
            for number in (11, 12):
                self.check_told_to_come_again(await self.send(number), "M_LIMIT_EXCEEDED", 2)
        self.assertEqual({code for code, _, _ in await gatherResults(sending)}, {200})
        for number in (11, 12):
            self.assertEqual((await self.send(number))[0], 200)
        await self.check_each_is_there_once(13)

    async def test_a_lock_that_lasts_too_long_is_an_answer_and_not_a_mistake(self) -> None:
        if not self.hearth.app.config.database.startswith("sqlite:"):
            raise SkipTest("PostgreSQL waits as long as it takes")
        self.patch(sqlite, "BUSY_SECONDS", 0.1)
        await self.hearth.restart()
        await self.inhabit(self.hearth)
        with self.locked():
            self.check_told_to_come_again(await self.send(0), "M_UNKNOWN", 1)
        self.assertEqual((await self.send(0))[0], 200)
        await self.check_each_is_there_once(1)


class ManyReadsTest(LoadTest):
    """All readers are busy for long."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        await self.inhabit(self.hearth)
        self.store = self.hearth.app.storage.store
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.done: list[int] = []
        self.reading = [self.read(number, wait=True) for number in range(4)]

    def read(self, number: int, *, wait: bool = False) -> "Deferred[None]":
        """Something that is read from the database."""

        def work(txn: Any) -> None:
            if wait:
                self.gate.wait(60)
            self.done.append(number)

        return Deferred.fromCoroutine(self.store.read(work))

    async def test_who_finds_too_many_waiting_is_told_when_to_come_again(self) -> None:
        self.patch(store, "MAX_READING", 6)
        self.reading += [self.read(number) for number in (4, 5)]
        path = f"/rooms/{self.room}/messages?dir=b"
        self.check_told_to_come_again(await self.ask(self.bob, "GET", path), "M_LIMIT_EXCEEDED", 2)
        self.gate.set()
        await gatherResults(self.reading)
        self.assertEqual((await self.ask(self.bob, "GET", path))[0], 200)

    async def test_what_nobody_waits_for_is_not_read_but_counts_until_its_turn(self) -> None:
        left = [self.read(number) for number in range(10, 20)]
        self.reading.append(self.read(4))
        for each in left:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.store.reading, 15)
        self.gate.set()
        await gatherResults(self.reading)
        self.assertEqual((sorted(self.done), self.store.reading), ([0, 1, 2, 3, 4], 0))


class ManyLoginsTest(LoadTest):
    """Passwords take long to check, on purpose."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice = await self.hearth.person("alice")

    async def test_too_many_at_once_are_told_when_to_come_again(self) -> None:
        login = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        self.patch(passwords, "MAX_WAITING", 0)
        answered = await self.ask(self.alice, "POST", "/login", login)
        self.check_told_to_come_again(answered, "M_LIMIT_EXCEEDED", 5, status=429)


class DeafClient(Protocol):
    """Asks and asks, and takes no answer."""

    def connectionMade(self) -> None:
        """Deaf from the beginning."""
        self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.transport.pauseProducing()


class ConnectionsTest(LoadTest):
    """Clients that do not do their part."""

    async def test_a_client_that_never_reads_holds_one_answer_and_not_for_ever(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        path = f"/user/{alice.id}/account_data/org.example.large"
        await alice.ask("PUT", path, {"text": "x" * 60_000})
        site: Any = hearth.app.site
        known = set(site.connections)
        host = urlsplit(hearth.base)
        endpoint = TCP4ClientEndpoint(default_reactor, host.hostname, host.port)
        client: Any = await connectProtocol(endpoint, DeafClient())
        request = f"GET {V3}{path} HTTP/1.1\r\nAuthorization: Bearer {alice.token}\r\n\r\n"
        client.transport.write(request.encode() * 1000)
        await self.until(lambda: site.connections - known)
        [connection] = site.connections - known
        unmoved, unanswered = 0, 0
        while unmoved < 20:  # the buffers on the way are not full yet
            await deferLater(default_reactor, 0.005)
            unmoved = unmoved + 1 if len(connection._waiting) == unanswered else 0
            unanswered = len(connection._waiting)
            transport = connection.transport
            held = len(transport.dataBuffer) + transport._tempDataLen
            self.assertLess(held, 4 * 65_536)
        self.assertGreater(unanswered, 0)
        self.assertEqual((await self.ask(bob, "GET", "/account/whoami"))[0], 200)
        self.assertLessEqual(connection.deadline, site.now() + LONG_PATIENCE)
        connection.deadline = site.now() - 1
        site._sweep()
        await self.until(lambda: connection not in site.connections)
        client.transport.abortConnection()

    async def test_a_thousand_silent_connections_do_not_use_up_what_others_need(self) -> None:
        own, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2 * SILENT:
            raise SkipTest("So many files cannot be open here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(own, 2 * SILENT), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (own, hard))
        hearth = ServerProcess(self, {})
        hearth.open_files_limit = SOFT_LIMIT  # as systemd and many shells start it
        self.addCleanup(hearth.kill)
        await hearth.start()
        address = urlsplit(hearth.base)
        silent = []
        for _ in range(SILENT):
            silent.append(socket.create_connection((address.hostname, address.port)))
            self.addCleanup(silent[-1].close)
        await self.inhabit(hearth)
        self.assertEqual((await self.send(0))[0], 200)
        await self.check_each_is_there_once(1)
        self.assertNotIn("Traceback", hearth.log)
        self.assertNotIn("Too many open files", hearth.log)
        for each in silent:
            each.setblocking(False)
            with self.assertRaises(BlockingIOError):  # still open
                each.recv(1)
        await hearth.stop()
