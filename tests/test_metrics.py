"""What the server says about its cost, and to whom; and that the live edge costs nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import treq
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor as default_reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.test.requesthelper import DummyRequest

from homeserver.metrics import Metrics
from rest.metrics_page import MetricsPage, metrics_site
from tests.support import Person, Server, WireTest, bodies, timeline

TOKEN = "what-prometheus-knows"


class PageTest(WireTest):
    """/metrics on its own port."""

    async def test_what_prometheus_reads(self) -> None:
        hearth = await self.server()
        alice = await hearth.person("alice")
        room = await alice.create_room()
        for _ in range(3):
            await alice.sync()
        await alice.call("GET", f"/rooms/{room}/state/m.room.nothing")
        samples = await self._read(metrics_site(hearth.app.metrics, None))
        sync = {"operation": "GET v3/sync"}
        self.assertEqual(samples["hearth_operation_seconds_count", _key(sync)], 3)
        budget = {**sync, "le": "0.2"}  # alerts ask for exactly this bucket
        self.assertIn(("hearth_operation_seconds_bucket", _key(budget)), samples)
        answers = {"operation": "GET v3/rooms/{room_id}/state/{event_type}", "status": "404"}
        self.assertEqual(samples["hearth_answers_total", _key(answers)], 1)
        queries = {"operation": "POST v3/createRoom", "kind": "write"}
        self.assertGreater(samples["hearth_database_queries_total", _key(queries)], 1)
        self.assertGreater(samples["hearth_database_seconds_total", _key(queries)], 0)
        self.assertEqual(samples["hearth_sync_waiters", ()], 0)
        self.assertEqual(samples["hearth_stream_position", ()], hearth.app.storage.stream.position)
        names = {name for name, _ in samples}
        self.assertIn("process_resident_memory_bytes", names)
        self.assertTrue({name for name in names if name.startswith("hearth_cache_")})
        # A path is no operation: it may hold ids, and there is no end of them.
        shown = " ".join(str(labels) for _, labels in samples)
        for secret in (room, alice.id, alice.token, "localhost"):
            self.assertNotIn(secret, shown)

    async def test_unknown_paths_are_one_operation(self) -> None:
        hearth = await self.server()
        for number in range(5):
            url = f"{hearth.base}/nothing/{number}"
            response = await treq.get(url, persistent=False, reactor=default_reactor)
            await response.content()
        samples = await self._read(metrics_site(hearth.app.metrics, None))
        found = [labels for name, labels in samples if name == "hearth_answers_total"]
        unknown = [labels for labels in found if ("status", "404") in labels]
        self.assertEqual(len(unknown), 1)

    async def test_who_may_read(self) -> None:
        metrics = Metrics()
        near = [IPv4Address("TCP", "127.0.0.1", 1), IPv6Address("TCP", "::1", 1), UNIXAddress("x")]
        far = [IPv4Address("TCP", "192.168.1.9", 1), IPv6Address("TCP", "2001:db8::1", 1)]
        for address in near:
            self.assertEqual(_ask(MetricsPage(metrics, None), address, None), 200)
        for address in far:
            self.assertEqual(_ask(MetricsPage(metrics, None), address, None), 403)
            self.assertEqual(_ask(MetricsPage(metrics, None), address, "Bearer "), 403)
        for address in near + far:
            page = MetricsPage(metrics, TOKEN)
            self.assertEqual(_ask(page, address, f"Bearer {TOKEN}"), 200)
            for wrong in (None, "", "Bearer", TOKEN, f"Bearer {TOKEN}x", "Bearer ü", "Basic x"):
                self.assertEqual(_ask(page, address, wrong), 403, wrong)

    async def _read(self, site: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample, by name and labels."""
        endpoint = TCP4ServerEndpoint(default_reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(site)
        url = f"http://127.0.0.1:{port.getHost().port}"
        try:
            other = await treq.get(f"{url}/x", persistent=False, reactor=default_reactor)
            await other.content()
            self.assertEqual(other.code, 404)
            response = await treq.get(f"{url}/metrics", persistent=False, reactor=default_reactor)
            text = (await response.content()).decode()
        finally:
            await port.stopListening()
        self.assertEqual(response.code, 200)
        return {
            (sample.name, _key(sample.labels)): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class LiveEdgeTest(WireTest):
    """The live edge of /sync makes no query (design, section 6)."""

    async def setUp(self) -> None:
        self.hearth: Server = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(invite=[self.bob.id])
        await self.bob.join(self.room)
        self.token = (await self.bob.sync())["next_batch"]
        await self.alice.say(self.room, "for warming up")
        await self._sync(self.bob)
        await self._sync(self.bob)

    async def test_nothing_new_costs_nothing(self) -> None:
        await self._costs_nothing(_nothing)

    async def test_a_message_costs_its_readers_nothing(self) -> None:
        for number in range(5):
            answer = await self._costs_nothing(lambda n=number: self.alice.say(self.room, f"{n}"))
            self.assertEqual(bodies(timeline(answer, self.room)), [str(number)])

    async def test_nor_does_one_that_mentions_them(self) -> None:
        mentions = {"m.mentions": {"user_ids": [self.bob.id]}}
        await self._costs_nothing(lambda: self.alice.say(self.room, "Bob!", **mentions))

    async def test_nor_do_state_receipts_and_typing(self) -> None:
        event_id = await self.bob.say(self.room, "hello")
        await self._sync(self.bob)
        receipt = f"/rooms/{self.room}/receipt/m.read/{event_id}"
        typing = f"/rooms/{self.room}/typing/{self.alice.id}"
        topic = {"topic": "tea"}
        for change in (
            lambda: self.alice.ask("POST", receipt),
            lambda: self.alice.ask("PUT", typing, {"typing": True, "timeout": 5000}),
            lambda: self.alice.ask("PUT", typing, {"typing": False}),
            lambda: self.alice.set_state(self.room, "m.room.topic", topic),
        ):
            answer = await self._costs_nothing(change)
            self.assertIn(self.room, answer["rooms"]["join"])

    async def test_nor_does_a_message_to_the_device(self) -> None:
        messages = {self.bob.id: {self.bob.device_id: {"n": 1}}}
        await self.alice.ask("PUT", "/sendToDevice/m.x/0", {"messages": messages})
        await self._sync(self.bob)
        await self._sync(self.bob)
        path = "/sendToDevice/m.x/1"
        answer = await self._costs_nothing(
            lambda: self.alice.ask("PUT", path, {"messages": messages})
        )
        self.assertEqual(len(answer["to_device"]["events"]), 1)

    async def test_many_rooms_cost_nothing_either(self) -> None:
        for _ in range(5):
            room = await self.alice.create_room(invite=[self.bob.id])
            await self.bob.join(room)
        await self._sync(self.bob)
        await self.alice.say(self.room, "for warming up")
        await self._sync(self.bob)
        await self._costs_nothing(lambda: self.alice.say(self.room, "hello"))

    async def test_a_message_is_sent_with_few_statements(self) -> None:
        def queries() -> float:
            labels = {"operation": "PUT v3/rooms/{room_id}/send/{event_type}/{txn_id}"}
            return sum(self._queries({**labels, "kind": kind}) for kind in ("read", "write"))

        before = queries()
        await self.alice.say(self.room, "hello")
        self.assertLessEqual(queries() - before, 4)

    async def _sync(self, person: Person) -> dict[str, Any]:
        answer = await person.sync(since=self.token)
        self.token = answer["next_batch"]
        return answer

    async def _costs_nothing(self, change: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
        await change()
        before = self._sync_queries()
        answer = await self._sync(self.bob)
        self.assertEqual(self._sync_queries() - before, 0)
        return answer

    def _sync_queries(self) -> float:
        labels = {"operation": "GET v3/sync"}
        return sum(self._queries({**labels, "kind": kind}) for kind in ("read", "write"))

    def _queries(self, labels: dict[str, str]) -> float:
        registry = self.hearth.app.metrics.registry
        return registry.get_sample_value("hearth_database_queries_total", labels) or 0


async def _nothing() -> None:
    """Nobody does anything."""


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _ask(page: MetricsPage, address: Any, authorization: str | None) -> int:
    """The status that a client at ``address`` gets."""
    request = DummyRequest([b"metrics"])
    request.path = b"/metrics"
    request.client = address
    if authorization is not None:
        request.requestHeaders.setRawHeaders("authorization", [authorization])
    page.render_GET(request)
    return request.responseCode or 200
