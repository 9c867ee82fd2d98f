"""What every test over the wire needs: a real server on a free port, and people who use it.

Each answer of the server is checked against the response schemas of the specification, where its
files are at hand (``tests.spec``).
"""

import atexit
import os
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import orjson
import psycopg2
import treq
import yaml
from twisted.internet import reactor as default_reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.trial.unittest import TestCase

from homeserver.app import App, build
from homeserver.config import load
from storage.migrate import migrate
from storage.postgres import PostgresEngine
from tests.spec import find_spec
from tests.spec.validate import ResponseValidator

V3 = "/_matrix/client/v3"
SERVER_TO_SERVER = ("/_matrix/federation", "/_matrix/key", "/.well-known/matrix/server")
PASSWORD = "correct horse battery staple"


@cache
def validator() -> ResponseValidator | None:
    """The specification's schemas; None where they are not at hand."""
    spec = find_spec()
    return None if spec is None else ResponseValidator(spec)


def seed() -> int:
    """Always the same one in continuous integration; otherwise a new one, or HEARTH_TEST_SEED."""
    named = os.environ.get("HEARTH_TEST_SEED")
    if named is not None:
        return int(named)
    return 1 if os.environ.get("CI") else Random().randrange(10**6)


def _run(server: str, sql: str) -> None:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    connection.cursor().execute(sql)
    connection.close()


def _on(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@cache
def _template(server: str) -> str:
    """A database with all tables, for this process: a copy takes less time than to migrate."""
    name = f"hearth_{uuid4().hex}"
    _run(server, f"CREATE DATABASE {name}")
    atexit.register(_run, server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    engine = PostgresEngine(_on(server, name))
    with closing(engine.connect(writing=True)) as connection:
        migrate(engine, connection)
    return name


class Database:
    """A fresh database: an SQLite file, or one on the PostgreSQL server of HEARTH_TEST_POSTGRES.

    ``empty``: without tables, as somebody has it who starts the server for the first time.
    """

    def __init__(self, *, empty: bool = False) -> None:
        self._server = os.environ.get("HEARTH_TEST_POSTGRES")
        self.name = f"hearth_{uuid4().hex}"
        self.setting = "sqlite:hearth.db"
        if self._server is not None:
            template = "template1" if empty else _template(self._server)
            _run(self._server, f"CREATE DATABASE {self.name} TEMPLATE {template}")
            self.setting = _on(self._server, self.name)

    def drop(self) -> None:
        """Leave nothing behind."""
        if self._server is not None:
            _run(self._server, f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


class Server:
    """One server of its own, in this process, on a free port of the loopback interface."""

    def __init__(self, case: "WireTest", settings: Mapping[str, Any]) -> None:
        self._case = case
        self._folder = Path(case.mktemp())
        self._folder.mkdir(parents=True)
        self._database = Database()
        self._settings = settings
        self._app: App | None = None
        self._port: IListeningPort | None = None
        self._transactions = count(1)
        self.base = ""
        case.addCleanup(self._database.drop)
        case.addCleanup(self.stop)

    @property
    def app(self) -> App:
        """The objects of the running server."""
        assert self._app is not None
        return self._app

    async def start(self) -> "Server":
        """Start, or start again on the same data."""
        settings = {
            "server_name": "localhost",
            "data_dir": ".",
            "database": self._database.setting,
            "registration": {"mode": "open"},
            "rate_limits": {"enabled": False},
            "rooms": {"self_room": False},
            "metrics": {"listen": None},
            **self._settings,
        }
        file = self._folder / "hearth.yaml"
        file.write_text(yaml.safe_dump(settings))
        self._app = build(load(file), default_reactor)
        await self._app.start()
        endpoint = TCP4ServerEndpoint(default_reactor, 0, interface="127.0.0.1")
        self._port = await endpoint.listen(self._app.site)
        self.base = f"http://127.0.0.1:{self._port.getHost().port}"
        await self._app.opened()
        return self

    async def stop(self) -> None:
        """Stop cleanly; nothing happens twice."""
        app, self._app = self._app, None
        if app is not None:
            assert self._port is not None
            await self._port.stopListening()
            await app.stop()

    async def restart(self, **settings: Any) -> None:
        """Stop and start on the same data; ``settings`` go over those of before."""
        await self.stop()
        self._settings = {**self._settings, **settings}
        await self.start()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        query: Mapping[str, Any] | None = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        has_schema: bool = True,
    ) -> tuple[int, Any]:
        """One request; its status and its JSON. Paths that begin with / and no _ are under v3.

        ``has_schema`` is False where a filter asks for events in another format than that of
        clients, the only one for which there are schemas.
        """
        if not path.startswith(("/_", "/.")):
            path = V3 + path
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = raw
        if data is None and method not in ("GET", "DELETE"):
            data = orjson.dumps({} if body is None else body)
        elif data is None and body is not None:
            data = orjson.dumps(body)
        url = self.base + path + (f"?{urlencode(query)}" if query else "")
        response = await treq.request(
            method, url, headers=sent, data=data, persistent=False, reactor=default_reactor
        )
        content = await response.content()
        kind = response.headers.getRawHeaders("content-type", [""])[0]
        answer = orjson.loads(content) if kind.startswith("application/json") else content
        self._check(method, path, response, answer, has_schema)
        return response.code, answer

    def _check(self, method: str, path: str, response: Any, answer: Any, has_schema: bool) -> None:
        case = self._case
        case.assertLess(response.code, 500, answer)
        case.assertEqual(response.headers.getRawHeaders("access-control-allow-origin"), ["*"])
        schemas = validator() if has_schema else None
        is_for_clients = not path.startswith(SERVER_TO_SERVER)
        if schemas is not None and is_for_clients and not isinstance(answer, bytes):
            case.assertEqual(schemas.check(method, path, response.code, answer), [], answer)

    async def person(self, name: str, **more: Any) -> "Person":
        """Somebody with a new account, logged in on their first device."""
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}, **more}
        code, answer = await self.call("POST", "/register", body)
        self._case.assertEqual(code, 200, answer)
        return Person(self, answer, self._transactions)

    async def people(self, *names: str) -> list["Person"]:
        """Several of them."""
        return [await self.person(name) for name in names]

    async def log_in(self, person: "Person", **more: Any) -> "Person":
        """The same person on another device."""
        identifier = {"type": "m.id.user", "user": person.id}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, **more}
        code, answer = await self.call("POST", "/login", body)
        self._case.assertEqual(code, 200, answer)
        return Person(self, answer, self._transactions)


class Refused(AssertionError):
    """A request that had to succeed did not."""


class Person:
    """Somebody with one device, who uses the server as a client does."""

    def __init__(self, server: Server, login: Mapping[str, Any], transactions: Any) -> None:
        self.server = server
        self.id: str = login["user_id"]
        self.device_id: str = login["device_id"]
        self.token: str = login["access_token"]
        self.login = login
        self._transactions = transactions

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """One request with this person's token; its status and its JSON."""
        return await self.server.call(method, path, body, token=self.token, **more)

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A request that has to succeed; its JSON."""
        code, answer = await self.call(method, path, body, **more)
        if code != 200:
            raise Refused(f"{method} {path}: {code} {answer}")
        return answer

    def transaction(self) -> str:
        """A transaction id that nobody has used."""
        return f"m{next(self._transactions)}"

    async def create_room(self, **wish: Any) -> str:
        """Create a room; its id."""
        answer = await self.ask("POST", "/createRoom", wish)
        return str(answer["room_id"])

    async def join(self, room: str) -> None:
        """Join by id or alias."""
        await self.ask("POST", f"/join/{quote(room, safe='')}")

    async def send(
        self, room: str, event_type: str, content: Any, txn_id: str | None = None
    ) -> str:
        """Send a message event; its id."""
        answer = await self.ask(
            "PUT", f"/rooms/{room}/send/{event_type}/{txn_id or self.transaction()}", content
        )
        return str(answer["event_id"])

    async def say(self, room: str, text: str, **more: Any) -> str:
        """Send a text message; its id."""
        content = {"msgtype": "m.text", "body": text, **more}
        return await self.send(room, "m.room.message", content)

    async def set_state(self, room: str, event_type: str, content: Any, key: str = "") -> str:
        """Set a piece of state; the id of the event."""
        path = f"/rooms/{room}/state/{event_type}/{quote(key, safe='')}"
        answer = await self.ask("PUT", path, content)
        return str(answer["event_id"])

    async def sync(
        self, since: str | None = None, timeout: int = 0, **query: Any
    ) -> dict[str, Any]:
        """One /sync."""
        query["timeout"] = timeout
        if since is not None:
            query["since"] = since
        if isinstance(query.get("filter"), dict):
            query["filter"] = orjson.dumps(query["filter"]).decode()
        answer: dict[str, Any] = await self.ask("GET", "/sync", query=query)
        return answer

    async def messages(self, room: str, **query: Any) -> dict[str, Any]:
        """A page of /messages, newest first unless asked otherwise."""
        query = {"dir": "b", **query}
        answer: dict[str, Any] = await self.ask("GET", f"/rooms/{room}/messages", query=query)
        return answer


def timeline(sync: Mapping[str, Any], room: str) -> list[dict[str, Any]]:
    """The timeline of a joined room in an answer of /sync."""
    joined = sync.get("rooms", {}).get("join", {})
    return list(joined.get(room, {}).get("timeline", {}).get("events", []))


def bodies(events: list[dict[str, Any]]) -> list[str]:
    """The texts among some events."""
    return [event["content"]["body"] for event in events if "body" in event["content"]]


class WireTest(TestCase):
    """A test that talks to servers of its own."""

    timeout = 120

    async def server(self, **settings: Any) -> Server:
        """A running server; ``settings`` go over those of the configuration."""
        return await Server(self, settings).start()
