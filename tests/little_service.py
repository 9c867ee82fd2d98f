"""A little application service: a web server that remembers what the homeserver tells it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import yaml
from attrs import define, field, frozen
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.processes import free_port
from tests.support import Server, WireTest

PATIENCE = 20


@frozen
class Asked:
    """One request of the homeserver."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str | None
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@define(eq=False)
class LittleService(Resource):
    """Answers 200 to everything, unless ``answers`` knows better; may be down for a while."""

    case: WireTest
    id: str = "irc"
    more: dict[str, Any] = field(factory=dict)
    """More of the registration."""
    asked: list[Asked] = field(factory=list)
    answers: list[Callable[[Asked], Any]] = field(factory=list)
    """Asked in turn: a status, a pair of status and JSON, a Deferred of these, or None."""
    listening: IListeningPort | None = None
    _doors: WrappingFactory | None = None
    port: int = field(factory=free_port)
    _waiting: list[tuple[Callable[[], bool], Deferred[None]]] = field(factory=list)

    isLeaf = True

    def __attrs_post_init__(self) -> None:
        Resource.__init__(self)
        self.case.addCleanup(self.stop)

    @property
    def as_token(self) -> str:
        return f"as-token-of-{self.id}-0123456789"

    @property
    def hs_token(self) -> str:
        return f"hs-token-of-{self.id}-0123456789"

    def registration(self) -> str:
        """The path of its registration file, written anew."""
        folder = Path(self.case.mktemp())
        folder.mkdir(parents=True)
        file = folder.resolve() / f"{self.id}.yaml"
        content = {
            "id": self.id,
            "url": f"http://127.0.0.1:{self.port}",
            "as_token": self.as_token,
            "hs_token": self.hs_token,
            "sender_localpart": f"_{self.id}_bot",
            "namespaces": {
                "users": [{"exclusive": True, "regex": f"@_{self.id}_.*:localhost"}],
                "aliases": [{"exclusive": True, "regex": f"#_{self.id}_.*:localhost"}],
                "rooms": [],
            },
            **self.more,
        }
        file.write_text(yaml.safe_dump(content))
        return str(file)

    def start(self) -> None:
        """Come up, or come back."""
        site = Site(self)
        site.displayTracebacks = False
        self._doors = WrappingFactory(site)
        self.listening = default_reactor.listenTCP(  # type: ignore[attr-defined]
            self.port, self._doors, interface="127.0.0.1"
        )

    async def stop(self) -> None:
        """Go down."""
        listening, self.listening = self.listening, None
        if listening is not None:
            await listening.stopListening()  # type: ignore[misc]
            assert self._doors is not None
            for connection in list(self._doors.protocols):
                connection.transport.abortConnection()

    def render(self, request: Any) -> Any:
        path, _, _ = request.uri.decode().partition("?")
        asked = Asked(
            request.method.decode(),
            path,
            {name.decode(): values[0].decode() for name, values in request.args.items()},
            request.getHeader("authorization"),
            request.content.read(),
        )
        self.asked.append(asked)
        answering = Deferred.fromCoroutine(self._answer(asked))
        answering.addCallback(lambda answer: self._write(request, answer))
        self._look()
        return NOT_DONE_YET

    async def _answer(self, asked: Asked) -> Any:
        for answer in self.answers:
            given = answer(asked)
            if isinstance(given, Deferred):
                given = await given
            if given is not None:
                return given
        return 200

    def _write(self, request: Any, answer: Any) -> None:
        status, body = answer if isinstance(answer, tuple) else (answer, {})
        if request._disconnected:
            return
        request.setResponseCode(status)
        request.setHeader("content-type", "application/json")
        request.write(orjson.dumps(body))
        request.finish()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of what was asked."""
        if not condition():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((condition, waiting))
            waiting.addTimeout(PATIENCE, default_reactor)
            await waiting

    def _look(self) -> None:
        due = [each for each in self._waiting if each[0]()]
        self._waiting = [each for each in self._waiting if each not in due]
        for _, waiting in due:
            if not waiting.called:
                waiting.callback(None)

    @property
    def transactions(self) -> list[Asked]:
        """Every transaction, also the repeated ones."""
        return [asked for asked in self.asked if "/transactions/" in asked.path]

    def pushed(self, key: str = "events") -> list[Any]:
        """What the transactions brought, each transaction once."""
        unique = {asked.path: asked for asked in self.transactions}
        return [each for asked in unique.values() for each in asked.json.get(key, [])]

    def texts(self) -> list[str]:
        """The texts of the messages it was told of."""
        return [e["content"]["body"] for e in self.pushed() if "body" in e["content"]]

    # As a client of the homeserver.

    async def call(
        self,
        server: Server,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = None,
        **query: Any,
    ) -> tuple[int, Any]:
        """A request with its token, perhaps as one of its users."""
        if user is not None:
            query["user_id"] = user
        return await server.call(method, path, body, token=self.as_token, query=query)

    async def ask(
        self, server: Server, method: str, path: str, body: Any = None, **more: Any
    ) -> Any:
        """A request that has to succeed; its JSON."""
        code, answer = await self.call(server, method, path, body, **more)
        self.case.assertIn(code, (200, 201), (method, path, answer))
        return answer

    async def make_user(self, server: Server, localpart: str) -> str:
        """One more of its users; the id."""
        body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
        answer = await self.ask(server, "POST", "/register", body)
        return str(answer["user_id"])
