"""HTTP/1.1 on one connection: order, bounds, patience. Without a network and without waiting."""

from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rest.connection import LONG_PATIENCE, MAX_HEAD, PATIENCE, SWEEP_SECONDS, Connection, Site
from rest.outbox import Outbox
from rest.request import MEMORY_BODY, Request

LIMIT = 2 * MEMORY_BODY
MOST = 10


class Transport(StringTransportWithDisconnection):
    """What the server writes, and what it does with the connection."""

    takes = 10**9
    """How many bytes the client still takes."""
    portion = 1_000_000
    """How many it takes at once."""

    def writeSomeData(self, data: bytes | memoryview) -> int:
        """What the client takes; the rest should come by ``write``."""
        assert self.connected
        taken = min(self.takes, self.portion, len(data))
        self.takes -= taken
        self.io.write(data[:taken])
        return taken

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As a real one."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """As a real one."""

    def abortConnection(self) -> None:
        """As a real one: without the rest of what was written."""
        self.connected = False
        self.protocol.connectionLost(Failure(ConnectionDone()))


class Echo:
    """Keeps the requests; the tests answer them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def max_body(self, method: str, target: bytes) -> int:
        """The same for all."""
        return LIMIT

    def serve(self, request: Request) -> None:
        """Whoever asks for /now gets it at once."""
        self.requests.append(request)
        if request.target == b"/now":
            request.answer(200, b"", b"now")


class ConnectionTest(SynchronousTestCase):
    """A client that says exactly what a test has it say."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.handler, self.outbox = Echo(), Outbox()
        self.site = Site(self.handler, self.clock, MOST, self.outbox)
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        self.client = self.connect()

    def connect(self) -> Transport:
        """One more client."""
        transport = Transport()
        connection: Any = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5))
        transport.protocol = connection
        connection.makeConnection(transport)
        return transport

    def say(self, *parts: bytes) -> None:
        """The client's bytes."""
        for part in parts:
            connection: Connection = self.client.protocol
            connection.dataReceived(part)

    def statuses(self) -> list[bytes]:
        """Of the answers so far, those included whose turn comes soon."""
        self.clock.advance(0)
        parts = self.client.value().split(b"HTTP/1.1 ")
        return [part[:3] for part in parts[1:]]

    def is_open(self) -> bool:
        """Whether the server has not hung up."""
        self.clock.advance(0)
        return bool(self.client.connected)

    def test_answers_come_in_the_order_of_requests(self) -> None:
        self.say(b"GET /slow HTTP/1.1\r\n\r\nGET /now HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        self.assertEqual([each.target for each in self.handler.requests], [b"/slow"])
        self.handler.requests[0].answer(201, b"", b"")
        self.assertEqual(self.statuses(), [b"201", b"200"])
        self.handler.requests[2].answer(202, b"", b"")
        self.assertEqual(self.statuses(), [b"201", b"200", b"202"])
        self.assertTrue(self.is_open())

    def test_whoever_asks_far_ahead_is_not_read_until_they_are_answered(self) -> None:
        self.say(b"GET /slow HTTP/1.1\r\n\r\n")
        self.assertEqual(self.client.producerState, "producing")
        self.say(b"GET /now HTTP/1.1\r\n\r\n" * 5_000)
        self.assertEqual(self.client.producerState, "paused")
        self.handler.requests[0].answer(200, b"", b"")
        self.assertEqual(len(self.statuses()), 5_001)
        self.assertEqual(self.client.producerState, "producing")

    def test_others_have_their_turn_between_requests_that_came_at_once(self) -> None:
        greedy = self.client
        self.say(b"GET /now HTTP/1.1\r\n\r\n" * 3)
        self.client = self.connect()
        self.say(b"GET /now HTTP/1.1\r\n\r\n")
        self.assertEqual(greedy.value().count(b"HTTP/1.1 200"), 1)
        self.assertEqual(self.client.value().count(b"HTTP/1.1 200"), 1)
        self.clock.advance(0)
        self.assertEqual(greedy.value().count(b"HTTP/1.1 200"), 3)

    def test_who_leaves_before_their_turn_is_not_served(self) -> None:
        self.say(b"GET /now HTTP/1.1\r\n\r\n" * 3)
        self.client.abortConnection()
        self.clock.advance(0)
        self.assertEqual(len(self.handler.requests), 1)

    def test_when_all_places_are_taken_the_next_is_told_to_come_later(self) -> None:
        first = self.client
        others = [self.connect() for _ in range(MOST - 1)]
        self.client = self.connect()
        self.assertEqual((self.statuses(), self.is_open()), ([b"503"], False))
        self.assertIn(b"\r\nRetry-After: 5\r\n", self.client.value())
        self.assertIn(b"M_LIMIT_EXCEEDED", self.client.value())
        self.assertTrue(all(each.connected for each in [first, *others]))
        first.abortConnection()
        self.client = self.connect()
        self.say(b"GET /now HTTP/1.1\r\n\r\n")
        self.assertEqual((self.statuses(), self.is_open()), ([b"200"], True))

    def test_whoever_takes_no_answers_gets_no_more(self) -> None:
        for takes in (0, 1, 70):
            self.client, self.handler.requests = self.connect(), []
            self.client.takes = takes
            self.say(b"GET /now HTTP/1.1\r\n\r\n" * 3)
            self.assertEqual((self.statuses(), self.client.producerState), ([b"200"], "paused"))
            self.assertEqual(len(self.handler.requests), 1)
            self.client.takes = 10**9
            self.client.protocol.resumeProducing()
            self.assertEqual((len(self.statuses()), self.client.producerState), (3, "producing"))
            first, second, third = self.client.value().split(b"now")[:3]
            self.assertEqual((first, second), (second, third))

    def test_what_is_taken_in_portions_goes_out_at_once(self) -> None:
        self.client.portion = 7
        self.patch(self.client, "write", self.fail)
        self.say(b"GET /now HTTP/1.1\r\n\r\n" * 2)
        self.assertEqual(self.statuses(), [b"200", b"200"])
        self.assertTrue(self.client.value().endswith(b"\r\n\r\nnow"))

    def test_what_is_answered_together_goes_out_at_the_end_and_in_order(self) -> None:
        other, self.client = self.client, self.connect()
        with self.outbox.together():
            self.say(b"GET /now HTTP/1.1\r\n\r\nGET /slow HTTP/1.1\r\n\r\n")
            self.statuses()
            self.handler.requests[1].answer(201, b"", b"")
            self.say(b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual((self.client.value(), other.value()), (b"", b""))
        self.assertEqual(self.statuses(), [b"200", b"201", b"100"])
        self.say(b"hello")
        self.handler.requests[2].answer(202, b"", b"")
        self.assertEqual(self.statuses()[3:], [b"202"])

    def test_a_last_answer_is_sent_before_the_connection_ends(self) -> None:
        self.say(b"GET /slow HTTP/1.1\r\n\r\nGET /now HTTP/1.1\r\nConnection: close\r\n\r\n")
        with self.outbox.together():
            self.handler.requests[0].answer(201, b"", b"")
            self.statuses()
        self.assertEqual((self.statuses(), self.is_open()), ([b"201", b"200"], False))

    def test_an_answer_on_a_lost_connection_is_left_to_the_reactor(self) -> None:
        self.patch(self.client, "writeSomeData", lambda data: CONNECTION_LOST)
        self.say(b"GET /now HTTP/1.1\r\n\r\n" * 2)
        self.assertEqual((self.statuses(), len(self.handler.requests)), ([b"200"], 1))

    def test_a_body_in_whatever_pieces(self) -> None:
        whole = (
            b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello"
            b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nAuthorization: trailing\r\n\r\n"
        )
        for size in (1, 2, 7, len(whole)):
            self.handler.requests.clear()
            self.client = self.connect()
            self.say(*[whole[at : at + size] for at in range(0, len(whole), size)])
            self.handler.requests[0].answer(200, b"", b"")
            first, second = self.handler.requests
            self.assertEqual((first.body(), second.body()), (b"hello", b"hello"))
            self.assertEqual(first.headers[b"x-a"], b"2")
            self.assertNotIn(b"authorization", second.headers)
            self.assertEqual((second.method, second.target), ("PUT", b"/b"))

    def test_a_large_body_goes_into_a_file(self) -> None:
        body = bytes(range(256)) * (LIMIT // 256)
        self.say(b"PUT /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LIMIT, body[:99], body[99:])
        [request] = self.handler.requests
        self.assertEqual(request.body(), body)
        self.assertEqual(request.content().read(), body)

    def test_a_body_that_is_too_large_is_refused_while_it_comes(self) -> None:
        self.say(b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            self.say(b"%x\r\n%b\r\n" % (MEMORY_BODY, b"x" * MEMORY_BODY))
        self.assertEqual((self.statuses(), self.is_open()), ([b"413"], False))
        self.assertEqual(self.handler.requests, [])

    def test_what_is_refused_waits_for_the_answers_before_it(self) -> None:
        self.say(b"GET /slow HTTP/1.1\r\n\r\nnonsense\r\n\r\n")
        self.assertEqual(self.statuses(), [])
        self.handler.requests[0].answer(200, b"", b"")
        self.assertEqual((self.statuses(), self.is_open()), ([b"200", b"400"], False))

    def test_lines_that_do_not_end(self) -> None:
        for beginning in (
            b"GET /",
            b"GET / HTTP/1.1\r\nA",
            b"GET / HTTP/1.1\r\nA: ",
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ",
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        ):
            self.client = self.connect()
            self.say(beginning)
            for _ in range(2 * MAX_HEAD // 100):
                self.say(b"x" * 100)
            self.assertEqual((self.statuses(), self.is_open()), ([b"413"], False), beginning)

    def test_a_client_that_asks_whether_to_go_on(self) -> None:
        head = b"PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        self.say(head % 2)
        self.assertEqual(self.statuses(), [b"100"])
        self.say(b"hi")
        self.handler.requests[0].answer(200, b"", b"")
        self.say(head % (LIMIT + 1))
        self.assertEqual((self.statuses(), self.is_open()), ([b"100", b"200", b"413"], False))

    def test_the_leave_to_go_on_waits_its_turn(self) -> None:
        self.say(
            b"GET /slow HTTP/1.1\r\n\r\n"
            b"PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        self.assertEqual(self.statuses(), [])
        self.handler.requests[0].answer(200, b"", b"")
        self.assertEqual(self.statuses(), [b"200", b"100"])

    def test_the_last_request(self) -> None:
        for line in (b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: close\r\n"):
            self.handler.requests.clear()
            self.client = self.connect()
            self.say(b"GET /a " + line + b"\r\nGET /now HTTP/1.1\r\n\r\n", b"GET /now HTTP/1.1\r\n")
            self.handler.requests[0].answer(200, b"", b"x")
            self.assertEqual((self.statuses(), self.is_open()), ([b"200"], False))
            self.assertIn(b"\r\nConnection: close\r\n", self.client.value())

    def test_another_protocol_is_not_spoken_here(self) -> None:
        upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        self.say(b"GET /now HTTP/1.1\r\n" + upgrade + b"garbage")
        self.assertEqual((self.statuses(), self.is_open()), ([b"200"], False))
        self.client = self.connect()
        self.say(b"POST /now HTTP/1.1\r\nContent-Length: 2\r\n" + upgrade + b"hi")
        self.assertEqual((self.statuses(), self.is_open()), ([b"400"], False))

    def test_head_has_no_body(self) -> None:
        self.say(b"HEAD /now HTTP/1.1\r\n\r\n")
        self.assertIn(b"\r\nContent-Length: 3\r\n", self.client.value())
        self.assertTrue(self.client.value().endswith(b"\r\n\r\n"))

    def test_a_client_that_leaves_is_noticed(self) -> None:
        self.say(b"GET /slow HTTP/1.1\r\n\r\n")
        left: list[bool] = []
        self.handler.requests[0].on_leaving = lambda: left.append(True)
        self.client.abortConnection()
        self.handler.requests[0].answer(200, b"", b"")
        self.assertEqual((left, self.client.value()), ([True], b""))
        self.assertTrue(self.handler.requests[0].is_abandoned)

    def test_parts_come_as_the_client_takes_them(self) -> None:
        self.say(b"GET /parts HTTP/1.1\r\n\r\n")
        [request] = self.handler.requests

        async def parts() -> AsyncIterator[bytes]:
            for part in (b"a", b"b"):
                yield part

        self.client.takes = 0
        answering = request.answer_in_parts(200, b"Content-Length: 2\r\n", parts())
        answered = Deferred.fromCoroutine(answering)
        self.assertNoResult(answered)
        self.assertTrue(self.client.value().endswith(b"\r\n\r\n"))
        self.client.protocol.resumeProducing()
        self.assertNoResult(answered)
        self.assertTrue(self.client.value().endswith(b"\r\n\r\na"))
        self.client.protocol.resumeProducing()
        self.successResultOf(answered)
        self.assertTrue(self.client.value().endswith(b"\r\n\r\nab"))
        self.assertTrue(self.is_open())

    def test_parts_for_somebody_who_has_left_go_nowhere(self) -> None:
        self.say(b"GET /parts HTTP/1.1\r\n\r\n")

        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            self.client.abortConnection()
            yield b"b"

        answering = self.handler.requests[0].answer_in_parts(200, b"", parts())
        self.successResultOf(Deferred.fromCoroutine(answering))
        self.assertTrue(self.client.value().endswith(b"a"))

    def test_parts_that_break_off_end_the_connection(self) -> None:
        self.say(b"GET /parts HTTP/1.1\r\n\r\nGET /now HTTP/1.1\r\n\r\n")

        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            raise ZeroDivisionError

        answering = self.handler.requests[0].answer_in_parts(200, b"", parts())
        self.failureResultOf(Deferred.fromCoroutine(answering), ZeroDivisionError)
        self.assertEqual((self.statuses(), self.is_open()), ([b"200"], False))

    def test_patience(self) -> None:
        for beginning, patience in (
            (b"", PATIENCE),
            (b"GET / HTTP/1.1\r\nA: ", PATIENCE),
            (b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe", PATIENCE),
            (b"GET /now HTTP/1.1\r\n\r\n", PATIENCE),
        ):
            self.client = self.connect()
            self.say(beginning)
            self.clock.pump([1.0] * (patience - 1))
            self.assertTrue(self.is_open(), beginning)
            self.clock.pump([1.0] * (SWEEP_SECONDS + 2))
            self.assertFalse(self.is_open(), beginning)

    def test_a_head_in_small_pieces_gets_no_more_time(self) -> None:
        self.say(b"GET /now HTTP/1.1\r\nA: ")
        for _ in range(PATIENCE + SWEEP_SECONDS + 1):
            self.clock.advance(1)
            self.say(b"x")
        self.assertFalse(self.is_open())

    def test_whoever_waits_for_an_answer_or_takes_a_long_one_has_time(self) -> None:
        self.say(b"GET /slow HTTP/1.1\r\n\r\n")
        self.clock.pump([10.0] * 30)
        self.assertTrue(self.is_open())
        self.client.takes = 20
        self.handler.requests[0].answer(200, b"", b"long")
        self.clock.pump([10.0] * (LONG_PATIENCE // 10))
        self.assertTrue(self.is_open())
        self.clock.pump([10.0])
        self.assertFalse(self.is_open())

    @given(st.lists(st.binary(max_size=60), max_size=8))
    @settings(max_examples=200, deadline=None)
    def test_any_bytes(self, parts: list[bytes]) -> None:
        """Nothing breaks, and what is refused ends the connection."""
        self.client = self.connect()
        self.say(b"GET /now HTTP/1.1\r\n", *parts)
        self.assertEqual(self.statuses().count(b"400") > 0, not self.is_open())
        self.client.abortConnection()
        self.assertEqual(len(self.site.connections), 1)  # the one of setUp
