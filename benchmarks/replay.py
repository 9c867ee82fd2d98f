"""A fixed piece of work for the server, always the same, to count what its operations cost.

Requests go straight into the server's connections, in this process and without a network, so that
nothing but the server is counted. Time stands still for its timers. Who counts and what is theirs:
``benchmarks.instructions``, ``tests.test_allocation_budgets``.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import yaml
from twisted.internet import reactor as default_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from benchmarks.client.device_keys import DeviceKeys
from homeserver.app import build
from homeserver.config import load
from homeserver.sessions import Login, NewDevice
from rest.connection import Site

V3 = "/_matrix/client/v3"
RECEIVERS = 10
PAGE = 30
ONE_TIME_KEYS = 100
WARM_UP = 3
"""How often an operation is done before it counts; who has come online is looked at then."""


class StandingClock:
    """The reactor, but what is for later never happens: no timer is among what is counted."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._clock = Clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """Only what is for the next round."""
        later = self._clock if delay else self._reactor
        return later.callLater(delay, call, *args, **more)

    def seconds(self) -> float:
        """Always the same."""
        return self._clock.seconds()


class Refused(Exception):
    """A request that had to succeed did not; the message is the answer."""


class Line(StringTransport):
    """A connection of one person, without a network."""

    def __init__(self, site: Site, token: str) -> None:
        super().__init__()
        self.received = 0
        """How many bytes the server has answered."""
        self._auth = f"Authorization: Bearer {token}\r\n"
        self._answer: Deferred[Any] | None = None
        self._server: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        self._server.makeConnection(self)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As a real one."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """As a real one."""

    def writeSomeData(self, data: memoryview) -> int:
        """The server answers in one piece."""
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        self.received += len(data)
        answer, self._answer = self._answer, None
        assert answer is not None
        is_good = head.startswith(b"HTTP/1.1 200")
        result = orjson.loads(body) if is_good else Failure(Refused(body.decode()))
        reactor: Any = default_reactor
        reactor.callLater(0, answer.callback, result)  # after the server is done
        return len(data)

    @property
    def is_waiting(self) -> bool:
        """Whether the server has not answered yet."""
        return self._answer is not None

    def ask(self, method: str, path: str, body: bytes = b"") -> "Deferred[Any]":
        """One request; its JSON."""
        answer: Deferred[Any] = Deferred()
        self._answer = answer
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {V3}{path} HTTP/1.1\r\nHost: x\r\n{self._auth}{length}\r\n"
        self._server.dataReceived(head.encode() + body)
        return answer


class Replay:
    """Neighbours in one room, and what they do: the operations, by the names of their budgets."""

    def __init__(self, folder: Path) -> None:
        """Build a server with its data in ``folder``."""
        settings = {
            "server_name": "localhost",
            "data_dir": ".",
            "database": "sqlite:hearth.db",
            "rate_limits": {"enabled": False},
            "rooms": {"self_room": False, "encrypt": []},
            "metrics": {"listen": None},
        }
        file = folder / "hearth.yaml"
        file.write_text(yaml.safe_dump(settings))
        self.app = build(load(file), StandingClock(default_reactor))
        self.write_ahead_log = folder / "hearth.db-wal"
        self.others: list[Line] = []
        self._people: list[Login] = []
        self._tokens: list[str] = []
        self._number = 0
        self.operations: dict[str, Callable[[], Awaitable[Any]]] = {
            "send": self.send,
            "delivery": self.deliver,
            "sync with nothing new": self.sync,
            "first sync": self.first_sync,
            "a page of messages": self.page,
            "key query": self.query,
            "key claim": self.claim,
        }

    async def start(self) -> None:
        """Everybody moves in, and each operation has been done a few times."""
        await self.app.start()
        self.app.schemas.prepare()
        for number in range(RECEIVERS + 1):
            # Without a password, whose hash would be the greater part of all that is done here.
            user_id = f"@neighbour{number}:localhost"
            device = NewDevice(f"DEVICE{number}", "Phone", "127.0.0.1")
            login = await self.app.people.accounts.create(user_id, None, device)
            assert login is not None
            self._people.append(login)
        self.alice, *self.others = [
            Line(self.app.site, login.tokens.access_token) for login in self._people
        ]
        created = await self.alice.ask("POST", "/createRoom", b'{"preset":"public_chat"}')
        self._room = quote(created["room_id"], safe="")
        for line in self.others:
            await line.ask("POST", f"/rooms/{self._room}/join", b"{}")
        for login, line in zip(self._people[1:], self.others, strict=True):
            keys = DeviceKeys(login.user_id, login.device_id).upload(ONE_TIME_KEYS)
            await line.ask("POST", "/keys/upload", orjson.dumps(keys))
        for _ in range(PAGE):
            await self.send()
        self._since = (await self.alice.ask("GET", "/sync"))["next_batch"]
        self._tokens = [(await line.ask("GET", "/sync"))["next_batch"] for line in self.others]
        for operation in self.operations.values():
            for _ in range(WARM_UP):
                await operation()

    async def send(self) -> None:
        """A message, for which nobody waits."""
        self._number += 1
        path = f"/rooms/{self._room}/send/m.room.message/{self._number:06}"
        await self.alice.ask("PUT", path, b'{"msgtype":"m.text","body":"hello"}')

    async def deliver(self) -> None:
        """A message, for which ten people wait."""
        waiting = [await self._wait(place) for place in range(RECEIVERS)]
        await self.send()
        self._tokens = [(await answer)["next_batch"] for answer in waiting]

    async def _wait(self, place: int) -> "Deferred[Any]":
        """/sync, again if the answer comes at once, because something was missed."""
        line = self.others[place]
        while True:
            answer = line.ask("GET", f"/sync?timeout=30000&since={self._tokens[place]}")
            if line.is_waiting:
                return answer
            self._tokens[place] = (await answer)["next_batch"]

    async def sync(self) -> None:
        """A /sync that has nothing to say."""
        answer = await self.alice.ask("GET", f"/sync?since={self._since}")
        self._since = answer["next_batch"]

    async def first_sync(self) -> None:
        """Everything that somebody should know."""
        self._since = (await self.alice.ask("GET", "/sync"))["next_batch"]

    async def page(self) -> None:
        """The newest messages of the room."""
        await self.alice.ask("GET", f"/rooms/{self._room}/messages?dir=b&limit={PAGE}")

    async def query(self) -> None:
        """The keys of everybody."""
        wanted: Any = {"device_keys": {login.user_id: [] for login in self._people[1:]}}
        answer = await self.alice.ask("POST", "/keys/query", orjson.dumps(wanted))
        assert len(answer["device_keys"]) == RECEIVERS

    async def claim(self) -> None:
        """A one-time key of each."""
        wanted = {
            login.user_id: {login.device_id: "signed_curve25519"} for login in self._people[1:]
        }
        body = orjson.dumps({"one_time_keys": wanted})
        answer = await self.alice.ask("POST", "/keys/claim", body)
        assert len(answer["one_time_keys"]) == RECEIVERS
