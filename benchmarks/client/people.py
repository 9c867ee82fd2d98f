"""The homeserver as its clients see it, and the people who use it."""

import asyncio
import itertools
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote as quote_url

import orjson
from attrs import frozen

from benchmarks.client.connection import Connection, Heedful, Origin, Response
from benchmarks.client.crowds import pool, spread

AnyConnection = TypeVar("AnyConnection", bound=Connection)

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple 7"
# With its mark, about 100 bytes: the length of an ordinary message.
TEXT = (
    "The quick brown fox jumps over the lazy dog near the riverbank, then rests under the old oak"
)
INVITED_AT_CREATION = 100


class Refused(Exception):
    """The server answered with another status than the scenario can go on with."""

    def __init__(self, method: str, path: str, response: Response) -> None:
        super().__init__(f"{method} {path[:120]} -> {response.status} {response.body[:300]!r}")
        self.status = response.status


def quote(text: str) -> str:
    """For one part of a path, or one value of a query."""
    return quote_url(text, safe="")


@frozen
class Customs:
    """What all scenarios of a run have in common."""

    preset: str = "private_chat"
    create_extra: Mapping[str, Any] = {}
    set_presence: str = ""
    seconds_per_scenario: float = 1500.0
    calm_seconds: float = 2.0


class Homeserver:
    """A homeserver under test. Names and transaction ids are fresh in every instance."""

    def __init__(self, base: str, customs: Customs) -> None:
        self.base = base
        self.customs = customs
        self.nonce = os.urandom(4).hex()
        self.rate_limited = 0
        self._origin = Origin(base)
        self._numbers = itertools.count()
        self._connections: list[Connection] = []

    def connection(self) -> Connection:
        """A connection of one's own, closed at the end."""
        return self._keep(Connection(self._origin))

    def heedful(self) -> Heedful:
        """The same, which also knows when it is to come again."""
        return self._keep(Heedful(self._origin))

    def _keep(self, connection: AnyConnection) -> AnyConnection:
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Drop every connection."""
        for connection in self._connections:
            connection.close()

    def transaction(self) -> str:
        """A transaction id that nobody has used."""
        return f"{self.nonce}.{next(self._numbers)}"

    def name(self, kind: str = "u") -> str:
        """A name that nobody has."""
        return f"{kind}{self.nonce}{next(self._numbers)}"

    async def call(
        self,
        connection: Connection,
        method: str,
        path: str,
        body: Any = None,
        auth: bytes = b"",
        timeout: float = 120.0,
    ) -> tuple[Any, Response]:
        """A JSON call that waits out 429: the parsed answer, and the response.

        Raises:
            Refused: the status is not 200.
        """
        raw = None
        if body is not None or method in ("POST", "PUT"):
            raw = orjson.dumps({} if body is None else body)
        for _ in range(60):
            response = await connection.request(
                method.encode(), path.encode(), raw, auth, timeout=timeout
            )
            if response.status != 429:
                break
            self.rate_limited += 1
            wait = response.json().get("retry_after_ms", 500) / 1000
            await asyncio.sleep(min(max(wait, 0.05), 10))
        if response.status != 200:
            raise Refused(method, path, response)
        return (response.json() if response.body else {}), response

    async def register(self, connection: Connection, name: str) -> tuple["Person", Response]:
        """Sign up with m.login.dummy."""
        request = {
            "username": name,
            "password": PASSWORD,
            "initial_device_display_name": "bench",
            "auth": {"type": "m.login.dummy"},
        }
        answer, response = await self.call(connection, "POST", f"{V3}/register", request)
        return Person(self, answer), response

    async def log_in(self, connection: Connection, user_id: str) -> tuple[Any, Response]:
        """Log in with the password, on a new device."""
        return await self.call(
            connection,
            "POST",
            f"{V3}/login",
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user_id},
                "password": PASSWORD,
            },
        )

    async def people(self, count: int, width: int = 8) -> list["Person"]:
        """So many new accounts."""
        connections = [self.connection() for _ in range(width)]

        async def sign_up(_: int, connection: Connection) -> Person:
            return (await self.register(connection, self.name()))[0]

        people = await spread(count, connections, sign_up)
        for connection in connections:
            connection.close()
        return people

    async def room(self, creator: "Person", members: Iterable["Person"], width: int = 8) -> str:
        """A room that all members have joined: by invitation, or freely if the preset is public."""
        preset = self.customs.preset
        body: dict[str, Any] = {"preset": preset, "name": self.name("r")}
        body |= self.customs.create_extra
        others = [member for member in members if member is not creator]
        invited = [member.user_id for member in others] if preset != "public_chat" else []
        if invited:
            body["invite"] = invited[:INVITED_AT_CREATION]
        room_id: str = (await creator.call("POST", f"{V3}/createRoom", body))["room_id"]
        path = f"{V3}/rooms/{quote(room_id)}"
        for user_id in invited[INVITED_AT_CREATION:]:
            await creator.call("POST", f"{path}/invite", {"user_id": user_id})
        await pool(others, width, lambda member: member.call("POST", f"{path}/join", {}))
        return room_id


class Person:
    """Somebody with one device; requests go one after the other over one connection."""

    def __init__(self, homeserver: Homeserver, login: Mapping[str, Any]) -> None:
        self.homeserver = homeserver
        self.user_id: str = login["user_id"]
        self.device_id: str = login["device_id"]
        self.auth = f"Authorization: Bearer {login['access_token']}\r\n".encode()
        self.connection = homeserver.connection()
        self._turn = asyncio.Lock()

    async def timed(
        self, method: str, path: str, body: Any = None, timeout: float = 120.0
    ) -> tuple[Any, Response]:
        """One request: the parsed answer, and the response with its times."""
        async with self._turn:
            return await self.homeserver.call(
                self.connection, method, path, body, self.auth, timeout
            )

    async def call(self, method: str, path: str, body: Any = None, timeout: float = 120.0) -> Any:
        """One request; the parsed answer."""
        return (await self.timed(method, path, body, timeout))[0]

    async def say(
        self, room_id: str, mark: str = "", timeout: float = 120.0
    ) -> tuple[Any, Response]:
        """Send one m.room.message of about 100 bytes."""
        path = f"{V3}/rooms/{quote(room_id)}/send/m.room.message/{self.homeserver.transaction()}"
        content = {"msgtype": "m.text", "body": f"{mark} {TEXT}"}
        return await self.timed("PUT", path, content, timeout)

    async def filter_id(self, limit: int, lazy: bool = True) -> str:
        """A saved filter for /sync, as clients use it."""
        wanted = {"room": {"timeline": {"limit": limit}, "state": {"lazy_load_members": lazy}}}
        path = f"{V3}/user/{quote(self.user_id)}/filter"
        return str((await self.call("POST", path, wanted))["filter_id"])


class Marks:
    """Marks in message texts by which a later answer of /sync is recognised."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._pattern = re.compile(rb"#%b-(\d+)#" % nonce.encode())

    def mark(self, number: int) -> str:
        """The mark of message ``number``."""
        return f"#{self._nonce}-{number}#"

    def found_in(self, body: bytes) -> set[int]:
        """The numbers of the messages that ``body`` carries."""
        return {int(number) for number in self._pattern.findall(body)}
