"""What operations may ask of the database: queries, which no machine's speed changes.

The budgets stand in ``benchmarks/budgets.json``. Whoever raises one says why in the commit; whoever
gets below one lowers it there, so that what was gained is kept.
"""

import json
from collections.abc import Awaitable
from pathlib import Path
from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from homeserver.rooms.cache import TAIL
from tests.support import Person, Server, WireTest, timeline
from tests.test_accounts import own_password

BUDGETS: dict[str, Any] = json.loads(
    Path(__file__).parents[1].joinpath("benchmarks/budgets.json").read_text("utf-8")
)
IN_ROOM = "v3/rooms/{room_id}"
SEND = f"PUT {IN_ROOM}/send/{{event_type}}/{{txn_id}}"
SYNC = "GET v3/sync"
QUERIES = "hearth_database_queries_total"
ANSWERS = "hearth_answers_total"


class Spent:
    """What one kind of request has cost between entering and leaving the context."""

    def __init__(self, server: Server, operation: str) -> None:
        self._registry = server.app.metrics.registry
        self._operation = operation
        self.queries = self.answers = 0.0

    def __enter__(self) -> "Spent":
        self.queries, self.answers = -self._queries(), -self._count(ANSWERS, status="200")
        return self

    def __exit__(self, *_: object) -> None:
        self.queries += self._queries()
        self.answers += self._count(ANSWERS, status="200")

    def _queries(self) -> float:
        return self._count(QUERIES, kind="read") + self._count(QUERIES, kind="write")

    def _count(self, name: str, **labels: str) -> float:
        labels["operation"] = self._operation
        return self._registry.get_sample_value(name, labels) or 0.0


class QueryBudgets(WireTest):
    """Neighbours who share a street's room; everybody has been in /sync once."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        names = [f"neighbour{number}" for number in range(6)]
        self.alice, *self.others = await self.hearth.people(*names)
        self.room = await self.alice.create_room(preset="public_chat")
        for person in self.others:
            await person.join(self.room)
        await self.alice.say(self.room, "Good morning")

    async def spent(self, operation: str, acting: Awaitable[Any]) -> float:
        """The queries of ``acting``, which is one request of this kind."""
        with Spent(self.hearth, operation) as spent:
            await acting
        self.assertEqual(spent.answers, 1, operation)
        return spent.queries

    def check(self, name: str, spent: float) -> None:
        """Hold a budget."""
        budget = BUDGETS[name]
        self.assertLessEqual(spent, budget, f"{name}: {spent} queries, the budget is {budget}")

    async def test_send(self) -> None:
        self.check("send", await self.spent(SEND, self.alice.say(self.room, "Hello")))

    async def test_send_in_an_encrypted_room(self) -> None:
        room = await self.alice.create_room()
        await self.alice.say(room, "Good morning")
        sealed = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEn"}
        sending = self.alice.send(room, "m.room.encrypted", sealed)
        self.check("send in an encrypted room", await self.spent(SEND, sending))

    async def test_send_costs_the_same_in_a_larger_room(self) -> None:
        in_a_small_room = await self.spent(SEND, self.alice.say(self.room, "Hello"))
        for person in await self.hearth.people(*[f"newcomer{number}" for number in range(10)]):
            await person.join(self.room)
        in_a_larger_room = await self.spent(SEND, self.alice.say(self.room, "Hello again"))
        self.assertEqual(in_a_small_room, in_a_larger_room)

    async def test_messages_at_once_are_looked_up_together(self) -> None:
        """Whether each was sent before is one question of all that share a transaction."""
        alone = await self.spent(SEND, self.alice.say(self.room, "Hello"))
        store, gate = self.hearth.app.storage.store, Event()
        busy = ensureDeferred(store.write(lambda txn: gate.wait(10)))
        with Spent(self.hearth, SEND) as spent:
            each = [
                ensureDeferred(person.say(self.room, f"Hello {number}"))
                for number, person in enumerate([self.alice, *self.others] * 3)
            ]
            while store.waiting < len(each):
                await deferLater(reactor, 0.005)
            gate.set()
            await gatherResults([busy, *each])
        self.assertEqual(spent.queries, 1 + len(each) * (alone - 1))

    async def test_sync_at_the_live_edge(self) -> None:
        bob = self.others[0]
        since = (await bob.sync())["next_batch"]
        waiting: Deferred[dict[str, Any]] = ensureDeferred(bob.sync(since, timeout=30_000))
        with Spent(self.hearth, SYNC) as spent:
            event_id = await self.alice.say(self.room, "Hello")
            answer = await waiting
        self.assertEqual([event["event_id"] for event in timeline(answer, self.room)], [event_id])
        self.assertEqual(spent.answers, 1)
        self.check("sync at the live edge", spent.queries)

    async def test_sync_at_the_live_edge_of_who_ignores_somebody(self) -> None:
        bob, mallory = self.others[:2]
        path = f"/user/{bob.id}/account_data/m.ignored_user_list"
        await bob.ask("PUT", path, {"ignored_users": {mallory.id: {}}})
        since = (await bob.sync())["next_batch"]
        waiting: Deferred[dict[str, Any]] = ensureDeferred(bob.sync(since, timeout=30_000))
        with Spent(self.hearth, SYNC) as spent:
            await mallory.say(self.room, "boo")
            event_id = await self.alice.say(self.room, "Hello")
            answer = await waiting
        self.assertEqual([event["event_id"] for event in timeline(answer, self.room)], [event_id])
        self.check("sync at the live edge", spent.queries)

    async def test_sync_at_the_live_edge_where_somebody_is_erased(self) -> None:
        bob, mallory = self.others[:2]
        await mallory.say(self.room, "boo")
        body = {"erase": True, "auth": own_password(mallory)}
        await mallory.ask("POST", "/account/deactivate", body)
        [carol] = await self.hearth.people("carol")
        await carol.join(self.room)
        for person in (bob, carol):
            since = (await person.sync())["next_batch"]
            waiting: Deferred[dict[str, Any]] = ensureDeferred(person.sync(since, timeout=30_000))
            with Spent(self.hearth, SYNC) as spent:
                event_id = await self.alice.say(self.room, "Hello")
                answer = await waiting
            told = [event["event_id"] for event in timeline(answer, self.room)]
            self.assertEqual(told, [event_id])
            self.check("sync at the live edge", spent.queries)

    async def test_sync_that_has_nothing_new(self) -> None:
        since = (await self.alice.sync())["next_batch"]
        self.check("sync with nothing new", await self.spent(SYNC, self.alice.sync(since)))

    async def test_catching_up_on_more_than_is_in_memory(self) -> None:
        bob = self.others[0]
        since = (await bob.sync())["next_batch"]
        for number in range(TAIL + 10):
            await self.alice.say(self.room, str(number))
        self.check("catching up after a gap", await self.spent(SYNC, bob.sync(since)))

    async def test_initial_sync(self) -> None:
        bob = self.others[0]
        self.check("initial sync, 1 room", await self.first_sync(bob))

    async def test_initial_sync_of_many_rooms(self) -> None:
        bob = self.others[0]
        for _ in range(9):
            await bob.join(await self.alice.create_room(preset="public_chat"))
        self.check("initial sync, 10 rooms", await self.first_sync(bob))

    async def first_sync(self, person: Person) -> float:
        """The queries of a new device's first /sync after a restart: nothing is in memory."""
        await self.hearth.restart()
        device = await self.hearth.log_in(person)
        return await self.spent(SYNC, device.sync())

    async def test_join(self) -> None:
        [carol] = await self.hearth.people("carol")
        self.check("join", await self.spent(f"POST {IN_ROOM}/join", self.join(carol)))

    async def join(self, person: Person) -> None:
        await person.ask("POST", f"/rooms/{self.room}/join")

    async def test_invitations_at_creation(self) -> None:
        plain = await self.spent("POST v3/createRoom", self.alice.create_room())
        invited = [person.id for person in self.others]
        full = await self.spent("POST v3/createRoom", self.alice.create_room(invite=invited))
        self.check("create a room", plain)
        self.check("each invitation at its creation", (full - plain) / len(invited))

    async def test_a_page_of_messages(self) -> None:
        for number in range(60):
            await self.alice.say(self.room, str(number))
        reading = self.alice.messages(self.room, limit=50)
        self.check("a page of messages", await self.spent(f"GET {IN_ROOM}/messages", reading))

    async def test_read_receipt(self) -> None:
        event_id = await self.alice.say(self.room, "Hello")
        operation = f"POST {IN_ROOM}/receipt/{{receipt_type}}/{{event_id}}"
        path = f"/rooms/{self.room}/receipt/m.read/{event_id}"
        self.check("read receipt", await self.spent(operation, self.others[0].ask("POST", path)))

    async def test_to_device_message_to_everybody(self) -> None:
        messages = {person.id: {person.device_id: {"a": 1}} for person in self.others}
        path = f"/sendToDevice/m.test/{self.alice.transaction()}"
        sending = self.alice.ask("PUT", path, {"messages": messages})
        operation = "PUT v3/sendToDevice/{event_type}/{txn_id}"
        self.check("to-device to everybody", await self.spent(operation, sending))

    async def test_keys_of_everybody(self) -> None:
        wanted = {"device_keys": {person.id: [] for person in self.others}}
        asking = self.alice.ask("POST", "/keys/query", wanted)
        self.check("key query", await self.spent("POST v3/keys/query", asking))
