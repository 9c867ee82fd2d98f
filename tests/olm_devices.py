"""Support for the tests of ``e2e``: devices with real Olm accounts, on a real server."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import olm
import orjson
from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults

from e2e.assembly import Encryption
from schema.canonical import encode
from storage.store import Store
from storage.stream import Follower, Stream
from storage.transaction import Transaction
from tests.support import Person, Server, WireTest

Json = dict[str, Any]


@define
class Device:
    """Somebody's device, with a real Olm account."""

    town: "Town"
    person: Person
    account: olm.Account = field(factory=olm.Account)

    @property
    def user_id(self) -> str:
        return self.person.id

    @property
    def device_id(self) -> str:
        return self.person.device_id

    @property
    def device(self) -> tuple[str, str]:
        return self.user_id, self.device_id

    def reinstalled(self) -> "Device":
        """The same device after it has lost all its keys."""
        return Device(self.town, self.person)

    def sign(self, value: Json) -> Json:
        """The value with this device's signature added."""
        return signed(value, self.user_id, f"ed25519:{self.device_id}", self.account.sign)

    def device_keys(self, **other: Any) -> Json:
        keys = {f"{a}:{self.device_id}": key for a, key in self.account.identity_keys.items()}
        algorithms = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]
        return self.sign(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": algorithms,
                "keys": keys,
                **other,
            }
        )

    def one_time_keys(self, count: int) -> Json:
        """So many new one-time keys, by their full names."""
        self.account.generate_one_time_keys(count)
        keys = self.account.one_time_keys["curve25519"]
        self.account.mark_keys_as_published()
        return {f"signed_curve25519:{id}": self.sign({"key": key}) for id, key in keys.items()}

    def fallback_key(self, key_id: str = "AAAFB1") -> Json:
        key = olm.Account().identity_keys["curve25519"]
        return {f"signed_curve25519:{key_id}": self.sign({"key": key, "fallback": True})}

    async def ok(self, method: str, path: str, body: Any = None) -> Json:
        """Ask for something that must succeed."""
        answer: Json = await self.person.ask(method, path, body)
        return answer

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Ask for something that must be refused; status and errcode."""
        code, answer = await self.person.call(method, path, body)
        self.town.test.assertGreaterEqual(code, 400, answer)
        return code, answer["errcode"]

    async def upload(self, one_time: int = 0, **body: Any) -> int:
        """Upload device keys and some one-time keys; how many there are now."""
        body = {
            "device_keys": self.device_keys(),
            "one_time_keys": self.one_time_keys(one_time) if one_time else {},
            **body,
        }
        answer = await self.ok("POST", "/keys/upload", body)
        return int(answer["one_time_key_counts"]["signed_curve25519"])

    async def claim(self, *devices: "Device") -> list[str]:
        """Claim a key of each device; the public keys that came."""
        wanted: Json = {}
        for device in devices:
            wanted.setdefault(device.user_id, {})[device.device_id] = "signed_curve25519"
        answer = await self.ok("POST", "/keys/claim", {"one_time_keys": wanted})
        return [
            key["key"]
            for by_device in answer["one_time_keys"].values()
            for keys in by_device.values()
            for key in keys.values()
        ]

    async def keys_of(self, *people: "Device") -> Json:
        wanted: Json = {each.user_id: [] for each in people}
        return await self.ok("POST", "/keys/query", {"device_keys": wanted})

    async def send(self, txn_id: str, messages: Json, event_type: str = "m.test") -> None:
        path = f"/sendToDevice/{quote(event_type)}/{quote(txn_id)}"
        await self.ok("PUT", path, {"messages": messages})

    async def sync(self, token: Json | None = None) -> Json:
        """What the parts of ``e2e`` put into an answer of /sync; ``news``, and ``next``."""
        encryption, token = self.town.encryption, token or {}
        since, upto = token.get("position"), self.town.stream.position
        lists, changed = await encryption.lists.since(*self.device, since, upto)
        counts, counted = await encryption.counts.since(*self.device, since, upto)
        acknowledged = token.get("to_device")
        queue = encryption.to_device_part
        events, delivered = await queue.since(*self.device, acknowledged, upto)
        parts = orjson.dumps({**lists, **counts, "to_device": events})
        return {
            **orjson.loads(parts),
            "news": changed or counted or bool(events),
            "next": {"position": upto, "to_device": delivered},
        }


class Meter:
    """Counts what the database is asked."""

    def __init__(self) -> None:
        self.queries = 0

    def database(self, kind: str, queries: int, seconds: float) -> None:
        self.queries += queries


class Town:
    """A server where everybody is in the same room, unless a test says otherwise."""

    def __init__(self, test: WireTest, server: Server) -> None:
        self.test = test
        self.server = server
        self.street: str | None = None
        self._known: dict[str, Person] = {}

    @property
    def encryption(self) -> Encryption:
        return self.server.app.encryption

    @property
    def stream(self) -> Stream:
        return self.server.app.storage.stream

    @property
    def store(self) -> Store:
        return self.server.app.storage.store

    async def person(self, name: str, device_id: str = "PHONE", *, alone: bool = False) -> Device:
        """Somebody on a device; whoever is new signs up and joins the others."""
        wish = {"device_id": device_id, "initial_device_display_name": f"{name}'s {device_id}"}
        if name in self._known:
            return Device(self, await self.server.log_in(self._known[name], **wish))
        person = self._known[name] = await self.server.person(name, **wish)
        if self.street is None and not alone:
            self.street = await person.create_room(preset="public_chat")
        elif self.street is not None and not alone:
            await person.join(self.street)
        return Device(self, person)

    async def people(self, *names: str) -> list[Device]:
        return [await self.person(name) for name in names]

    async def log_out(self, device: Device) -> None:
        await device.ok("POST", "/logout")

    async def settle(self) -> None:
        """Wait for everything that runs in the background."""
        await self.server.app.background.finish()

    async def rows(self, table: str) -> int:
        """How many rows a table has."""

        def work(txn: Transaction) -> int:
            return int(txn.value(f"SELECT COUNT(*) FROM {table}"))

        return await self.store.read(work)

    def metered(self) -> Meter:
        """Counts the queries from now on."""
        meter = Meter()
        self.test.patch(self.store, "_meter", meter)
        return meter

    def interrupted(self, follower: Follower) -> list[Any]:
        """Keep changes from a follower; they are put into the list that is returned."""
        kept: list[Any] = []
        followers = self.stream._followers
        followers[followers.index(follower)] = kept.extend
        return kept


class Stories(WireTest):
    """Stories in a town of their own."""

    async def setUp(self) -> None:
        self.town = Town(self, await self.server())

    def meanwhile(self, happening: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Have something happen right after the next read of the database, before its answer."""
        read = self.town.store.read

        async def slow_read(work: Any) -> Any:
            patched.restore()
            value = await read(work)
            await happening()
            return value

        patched = self.patch(self.town.store, "read", slow_read)

    async def at_once(self, *works: Coroutine[Any, Any, Any]) -> list[Any]:
        """The results of works that all run at the same time."""
        results: list[Any] = await gatherResults([Deferred.fromCoroutine(each) for each in works])
        return results


@define
class Identity:
    """Somebody's cross-signing keys."""

    owner: Device
    master: olm.PkSigning = field(init=False)
    self_signing: olm.PkSigning = field(init=False)
    user_signing: olm.PkSigning = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.master, self.self_signing, self.user_signing = (
            olm.PkSigning(olm.PkSigning.generate_seed()) for _ in range(3)
        )

    def sign(self, usage: str, value: Json) -> Json:
        """The value with the signature of one of the keys added."""
        key = getattr(self, usage)
        return signed(value, self.owner.user_id, f"ed25519:{key.public_key}", key.sign)

    def key(self, usage: str) -> Json:
        public_key = getattr(self, usage).public_key
        value = {
            "user_id": self.owner.user_id,
            "usage": [usage],
            "keys": {f"ed25519:{public_key}": public_key},
        }
        return value if usage == "master" else self.sign("master", value)

    def upload(self, *usages: str) -> Json:
        """The body that publishes the keys, or some of them."""
        names = usages or ("master", "self_signing", "user_signing")
        return {f"{usage}_key": self.key(usage) for usage in names}


def signed(value: Json, user_id: str, key_id: str, sign: Any) -> Json:
    """A copy of the value with one more signature."""
    bare = {k: v for k, v in value.items() if k not in ("signatures", "unsigned")}
    signatures = {who: dict(keys) for who, keys in value.get("signatures", {}).items()}
    signatures.setdefault(user_id, {})[key_id] = sign(encode(bare).decode())
    return {**value, "signatures": signatures}


def bare(value: Json) -> Json:
    """The value without its signatures."""
    return {k: v for k, v in value.items() if k != "signatures"}
