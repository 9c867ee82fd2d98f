"""Bad input of every size and shape: the right refusal, and nobody else notices."""

import socket
import time
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
from twisted.internet.threads import deferToThread

from rest.routing import JSON_LIMIT
from tests.support import Server, WireTest

PATIENCE = 20


def connect(server: Server) -> socket.socket:
    """A bare connection to the server."""
    url = urlsplit(server.base)
    assert url.hostname is not None and url.port is not None
    connection = socket.create_connection((url.hostname, url.port), timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    """Everything that comes until the server hangs up."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass  # it hung up while we still had something to say
    return received


def answers(received: bytes) -> list[tuple[int, Any]]:
    """The status and the JSON of each answer."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        lengths = [x for x in lines if x.lower().startswith(b"content-length:")]
        length = int(lengths[0].split(b":")[1]) if lengths else 0
        body, received = rest[:length], rest[length:]
        found.append((status, orjson.loads(body) if body else None))
    return found


class HostileTest(WireTest):
    """A server, two people, a room."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(invite=[self.bob.id])
        await self.bob.join(self.room)

    async def refused(
        self,
        method: str,
        path: str,
        body: Any,
        status: int,
        errcode: str,
        says: str = "",
        **more: Any,
    ) -> None:
        """Alice's request is refused just so."""
        code, answer = await self.alice.call(method, path, body, **more)
        self.assertEqual((code, answer.get("errcode")), (status, errcode), (path, body, answer))
        self.assertIn(says, answer["error"], path)

    async def raw(self, *parts: bytes) -> list[tuple[int, Any]]:
        """Send bytes; the answers that come until the server hangs up."""

        def talk() -> bytes:
            with connect(self.hearth) as connection:
                for part in parts:
                    connection.sendall(part)
                return read_to_end(connection)

        return answers(await deferToThread(talk))

    def head(self, first: str, *lines: str, close: bool = True) -> bytes:
        """The head of a request of Alice."""
        all_lines = [f"{first} HTTP/1.1", "Host: localhost", *lines]
        all_lines += [f"Authorization: Bearer {self.alice.token}"]
        all_lines += ["Connection: close"] if close else []
        return "\r\n".join([*all_lines, "", ""]).encode("latin-1")


class ShapesTest(HostileTest):
    """What JSON can be wrong in, on ordinary endpoints."""

    async def test_what_is_not_json(self) -> None:
        for raw in (
            b"{",
            b"x",
            b"{'a': 1}",
            b'{"a": NaN}',
            b'{"a": 1,}',
            b"\xff\xfe",
            b'{"a": "\xff"}',
            b'{"body": "\\ud800"}',
            b'{"\\udfff": 1}',
            b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        ):
            for path in ("/createRoom", f"/rooms/{self.room}/invite", f"/join/{self.room}"):
                code, answer = await self.alice.call("POST", path, raw=raw)
                self.assertEqual((code, answer["errcode"]), (400, "M_NOT_JSON"), raw[:50])

    async def test_json_that_is_no_object(self) -> None:
        for body in ([], "x", 5, 0.5, True, None, [{}]):
            raw = orjson.dumps(body)
            for path in ("/createRoom", f"/rooms/{self.room}/leave"):
                code, answer = await self.alice.call("POST", path, raw=raw)
                self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"), raw)

    async def test_the_place_that_is_wrong_is_named(self) -> None:
        member = f"/rooms/{self.room}/invite"
        for method, path, body, place in (
            ("POST", "/createRoom", {"invite": [self.bob.id, 5]}, "invite[1]"),
            ("POST", member, {"user_id": {"a": 1}}, "user_id"),
            ("POST", "/keys/query", {"device_keys": {self.bob.id: "x"}}, self.bob.id),
            ("PUT", f"/rooms/{self.room}/typing/{self.alice.id}", {"typing": 1}, "typing"),
            ("POST", "/user_directory/search", {"search_term": 5}, "search_term"),
            ("POST", "/publicRooms", {"filter": []}, "filter"),
            ("PUT", f"/presence/{self.alice.id}/status", {"presence": 3}, "presence"),
        ):
            await self.refused(method, path, body, 400, "M_BAD_JSON", place)

    async def test_what_the_incumbent_answers_with_500(self) -> None:
        typing = f"/rooms/{self.room}/typing/{self.alice.id}"
        markers = f"/rooms/{self.room}/read_markers"
        pusher = {"kind": "http", "pushkey": "k", "app_id": "a", "app_display_name": "a"}
        pusher |= {"device_display_name": "d", "lang": "en", "data": 5}
        for method, path, body, errcode, place in (
            ("PUT", typing, {}, "M_MISSING_PARAM", "typing"),
            ("PUT", typing, {"typing": True, "timeout": "abc"}, "M_BAD_JSON", "timeout"),
            ("PUT", typing, {"typing": True, "timeout": 0.5}, "M_BAD_JSON", "timeout"),
            ("PUT", typing, {"typing": True, "timeout": -1}, "M_BAD_JSON", "timeout"),
            ("PUT", "/sendToDevice/m.x/1", {"messages": 5}, "M_BAD_JSON", "messages"),
            ("PUT", "/sendToDevice/m.x/2", {"messages": {self.bob.id: 5}}, "M_BAD_JSON", ""),
            ("PUT", "/sendToDevice/m.x/3", {}, "M_MISSING_PARAM", "messages"),
            ("POST", "/keys/upload", {"one_time_keys": 5}, "M_BAD_JSON", "one_time_keys"),
            ("POST", "/keys/upload", {"device_keys": 5}, "M_BAD_JSON", "device_keys"),
            ("POST", "/keys/claim", {"one_time_keys": {"@a:b": 3}}, "M_BAD_JSON", "@a:b"),
            ("POST", "/keys/query", {"device_keys": 5}, "M_BAD_JSON", "device_keys"),
            ("POST", "/room_keys/version", {}, "M_MISSING_PARAM", "algorithm"),
            ("POST", "/pushers/set", pusher, "M_BAD_JSON", "data"),
            ("POST", markers, {"m.read": 5}, "M_BAD_JSON", "m.read"),
            ("POST", markers, {"m.fully_read": []}, "M_BAD_JSON", "m.fully_read"),
        ):
            await self.refused(method, path, body, 400, errcode, place)

    async def test_createroom_with_something_wrong(self) -> None:
        for body, place in (
            ({"invite": 5}, "invite"),
            ({"invite": [{}]}, "invite[0]"),
            ({"creation_content": 5}, "creation_content"),
            ({"initial_state": 5}, "initial_state"),
            ({"initial_state": [5]}, "initial_state[0]"),
            ({"initial_state": [{"type": 5, "content": {}}]}, "initial_state[0].type"),
            ({"initial_state": [{"type": "m.x", "content": 5}]}, "initial_state[0].content"),
            ({"power_level_content_override": 5}, "power_level_content_override"),
            ({"name": 5}, "name"),
            ({"topic": {}}, "topic"),
            ({"room_alias_name": 5}, "room_alias_name"),
            ({"room_version": 5}, "room_version"),
            ({"preset": 5}, "preset"),
            ({"is_direct": "yes"}, "is_direct"),
            ({"invite_3pid": [5]}, "invite_3pid[0]"),
        ):
            await self.refused("POST", "/createRoom", body, 400, "M_BAD_JSON", place)
        for body, errcode in (
            ({"room_version": "99"}, "M_UNSUPPORTED_ROOM_VERSION"),
            ({"power_level_content_override": {"users": 5}}, "M_INVALID_ROOM_STATE"),
            ({"power_level_content_override": {"users_default": "x"}}, "M_INVALID_ROOM_STATE"),
            ({"room_alias_name": "a b"}, "M_INVALID_PARAM"),
            ({"invite": ["bob"]}, "M_INVALID_PARAM"),
        ):
            await self.refused("POST", "/createRoom", body, 400, errcode)
        await self.refused("POST", "/createRoom", {"invite": ["@a:b.example"]}, 403, "M_FORBIDDEN")
        joined = await self.alice.ask("GET", "/joined_rooms")
        self.assertEqual(joined["joined_rooms"], [self.room])  # nothing was left half made

    async def test_the_character_that_postgresql_cannot_keep(self) -> None:
        alice, login = self.alice, {"type": "m.login.password", "password": "x"}
        for method, path, body in (
            ("PUT", f"/profile/{alice.id}/displayname", {"displayname": "a\0b"}),
            ("PUT", f"/devices/{alice.device_id}", {"display_name": "a\0b"}),
            ("POST", "/login", {**login, "user": "alice", "device_id": "a\0b"}),
            ("POST", "/login", {**login, "user": "al\0ice"}),
            ("POST", "/createRoom", {"name": "a\0b"}),
            ("POST", "/createRoom", {"room_alias_name": "a\0b"}),
            ("POST", f"/rooms/{self.room}/read_markers", {"m.read": "$a\0b"}),
            ("POST", "/user_directory/search", {"search_term": "a\0b"}),
        ):
            await self.refused(method, path, body, 400, "M_BAD_JSON")
        for path in (
            f"/user/{alice.id}/rooms/{self.room}/tags/a%00b",
            f"/rooms/{self.room}/state/m.x/a%00b",
            f"/rooms/{self.room}/send/m.x/a%00b",
            f"/rooms/{self.room}/send/m.%00x/1",
            f"/user/{alice.id}/account_data/a%00b",
        ):
            await self.refused("PUT", path, {}, 400, "M_INVALID_PARAM")
        # Inside an event it is legal, and comes back as it was.
        for text in ("a\0b", "\\u0000", "\x01\u2028\U0001f3e1"):
            event_id = await alice.say(self.room, text)
            event = await self.bob.ask("GET", f"/rooms/{self.room}/event/{event_id}")
            self.assertEqual(event["content"]["body"], text)
            content = {"text": text, f"key {text}": text}
            await alice.ask("PUT", f"/user/{alice.id}/account_data/org.x", content)
            kept = await alice.ask("GET", f"/user/{alice.id}/account_data/org.x")
            self.assertEqual(kept, content)

    async def test_what_no_event_may_hold(self) -> None:
        send, state = f"/rooms/{self.room}/send/m.x/", f"/rooms/{self.room}/state/m.x"
        before = await self.bob.sync()
        for index, (content, says) in enumerate(
            (
                ({"n": 2**53}, "2^53"),
                ({"n": -(2**53)}, "2^53"),
                ({"a": [{"n": 0.5}]}, "a[0].n"),
                ({"n": 1e300}, "n"),
                ({"n": 2**64}, "n"),
            )
        ):
            raw = orjson.dumps(content) if content.get("n") != 2**64 else b'{"n":%d}' % 2**64
            for path in (f"{send}{index}", state):
                code, answer = await self.alice.call("PUT", path, raw=raw)
                self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"), content)
                self.assertIn(says, answer["error"])
        for path in (f"{send}large", state):
            content = {"body": "x" * 66_000}
            await self.refused("PUT", path, content, 413, "M_TOO_LARGE")
        await self.refused(
            "PUT", f"/rooms/{self.room}/state/m.x/{'k' * 256}", {}, 413, "M_TOO_LARGE"
        )
        await self.refused("PUT", f"/rooms/{self.room}/send/{'t' * 256}/1", {}, 413, "M_TOO_LARGE")
        after = await self.bob.sync(since=before["next_batch"])
        self.assertNotIn("rooms", after)
        await self.alice.send(self.room, "m.x", {"n": 2**53 - 1, "m": -(2**53) + 1})


class SizesTest(HostileTest):
    """What is too large is refused before it has been read."""

    async def test_a_length_beyond_the_limit(self) -> None:
        length = f"Content-Length: {JSON_LIMIT + 1}"
        for path in ("/createRoom", "/nowhere", "/login"):
            head = self.head(f"POST /_matrix/client/v3{path}", length)
            [(status, answer)] = await self.raw(head)  # not a byte of the body
            self.assertEqual((status, answer["errcode"]), (413, "M_TOO_LARGE"))

    async def test_an_endless_body_without_a_length(self) -> None:
        head = self.head("POST /_matrix/client/v3/createRoom", "Transfer-Encoding: chunked")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

        def talk() -> tuple[int, bytes]:
            with connect(self.hearth) as connection:
                connection.sendall(head)
                sent = 0
                try:
                    while sent < 64 * JSON_LIMIT:
                        connection.sendall(chunk)
                        sent += len(chunk)
                except OSError:
                    pass
                try:
                    return sent, read_to_end(connection)
                except OSError:
                    return sent, b""

        sent, received = await deferToThread(talk)
        self.assertLess(sent, 16 * JSON_LIMIT)  # what the kernels hold is sent, and no more
        for status, answer in answers(received):
            self.assertEqual((status, answer["errcode"]), (413, "M_TOO_LARGE"))
        chunks = [chunk] * (JSON_LIMIT // 0x10000) + [b"1\r\nx\r\n"]
        [(status, answer)] = await self.raw(head, *chunks)  # not the end of the body
        self.assertEqual((status, answer["errcode"]), (413, "M_TOO_LARGE"))

    async def test_a_body_up_to_the_limit_is_read(self) -> None:
        raw = b"{}" + b" " * (JSON_LIMIT - 2)
        code, answer = await self.alice.call("POST", "/createRoom", raw=raw)
        self.assertEqual(code, 200, answer)

    async def test_uploads_have_a_limit_of_their_own(self) -> None:
        path = "/_matrix/media/v3/upload"
        code, _ = await self.alice.call("POST", path, raw=b"x" * (JSON_LIMIT + 1))
        self.assertEqual(code, 200)
        limit = self.hearth.app.config.media.max_upload_bytes
        [(status, answer)] = await self.raw(
            self.head(f"POST {path}", f"Content-Length: {limit + 1}")
        )
        self.assertEqual((status, answer["errcode"]), (413, "M_TOO_LARGE"))

    async def test_a_head_that_is_too_large(self) -> None:
        long = "x" * 20_000
        many = [f"X-{index}: x" for index in range(600)]
        for head in (
            self.head(f"GET /_matrix/client/v3/sync?filter={long}"),
            self.head("GET /_matrix/client/v3/sync", f"X-Long: {long}"),
            self.head("GET /_matrix/client/v3/sync", *many),
            self.head("GET /_matrix/client/v3/sync", *[f"X-{i}: {'x' * 900}" for i in range(30)]),
        ):
            [(status, answer)] = await self.raw(head)
            self.assertIn((status, answer["errcode"]), [(413, "M_TOO_LARGE"), (400, "M_UNKNOWN")])

    async def test_what_calls_itself_a_form_is_a_body_like_any_other(self) -> None:
        """twisted.web would take it apart before anybody has measured the parts."""
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            headers = {"Content-Type": kind}
            code, answer = await self.alice.call("POST", "/createRoom", {}, headers=headers)
            self.assertEqual(code, 200, answer)
            code, answer = await self.alice.call(
                "POST", "/createRoom", raw=b"--x\r\na", headers=headers
            )
            self.assertEqual((code, answer["errcode"]), (400, "M_NOT_JSON"))


class AddressesTest(HostileTest):
    """Paths, methods and tokens."""

    async def test_unknown_routes(self) -> None:
        for path in (
            "/_matrix/client/v3/nothing",
            "/_matrix/client/v99/sync",
            "/_matrix/client/v3/sync/",
            "/_matrix/client/v3//sync",
            "/_matrix",
            "/_hearth/nothing",
            "/_synapse/admin/nothing",
            f"/_matrix/client/v3/rooms/{self.room}/nothing",
        ):
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
                [(status, answer)] = await self.raw(self.head(f"{method} {path}"))
                self.assertEqual((status, answer["errcode"]), (404, "M_UNRECOGNIZED"), path)

    async def test_known_routes_under_another_method(self) -> None:
        for method, path in (
            ("POST", "/sync"),
            ("PUT", "/createRoom"),
            ("DELETE", "/account/whoami"),
            ("PATCH", f"/rooms/{self.room}/state"),
            ("GET", f"/rooms/{self.room}/send/m.x/1"),
            ("get", "/sync"),
        ):
            [(status, answer)] = await self.raw(self.head(f"{method} /_matrix/client/v3{path}"))
            self.assertEqual((status, answer["errcode"]), (405, "M_UNRECOGNIZED"), path)

    async def test_tokens_that_are_missing_or_wrong(self) -> None:
        for header, errcode in (
            ({}, "M_MISSING_TOKEN"),
            ({"Authorization": ""}, "M_MISSING_TOKEN"),
            ({"Authorization": "Bearer"}, "M_MISSING_TOKEN"),
            ({"Authorization": "Bearer "}, "M_MISSING_TOKEN"),
            ({"Authorization": f"Basic {self.alice.token}"}, "M_MISSING_TOKEN"),
            ({"Authorization": self.alice.token}, "M_MISSING_TOKEN"),
            ({"Authorization": "Bearer x"}, "M_UNKNOWN_TOKEN"),
            ({"Authorization": f"Bearer {self.alice.token}x"}, "M_UNKNOWN_TOKEN"),
            ({"Authorization": f"Bearer {self.alice.token.swapcase()}"}, "M_UNKNOWN_TOKEN"),
            ({"Authorization": f"Bearer {'x' * 10_000}"}, "M_UNKNOWN_TOKEN"),
            ({"Authorization": "Bearer ü%00'\"; DROP TABLE"}, "M_UNKNOWN_TOKEN"),
        ):
            for method, path in (("GET", "/sync"), ("POST", "/createRoom"), ("POST", "/logout")):
                code, answer = await self.hearth.call(method, path, headers=header)
                self.assertEqual((code, answer["errcode"]), (401, errcode), header)
        for query, expected in (
            ({"access_token": self.alice.token}, 200),
            ({"access_token": ""}, 401),
            ({"access_token": "x"}, 401),
        ):
            code, _ = await self.hearth.call("GET", "/account/whoami", query=query)
            self.assertEqual(code, expected, query)

    async def test_a_refusal_comes_before_the_body_is_looked_at(self) -> None:
        code, answer = await self.hearth.call("POST", "/createRoom", raw=b"{")
        self.assertEqual((code, answer["errcode"]), (401, "M_MISSING_TOKEN"))

    async def test_browsers_ask_first_and_without_a_token(self) -> None:
        for path in ("/sync", "/createRoom", f"/rooms/{self.room}/send/m.x/1", "/nowhere"):
            head = f"OPTIONS /_matrix/client/v3{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            received = await self.raw(f"{head}Origin: https://app.example\r\n\r\n".encode())
            self.assertEqual(received, [(200, {})])

    async def test_head_is_get_without_the_body(self) -> None:
        [(status, _)] = await self.raw(self.head("HEAD /_matrix/client/versions"))
        self.assertEqual(status, 200)
        [(status, _)] = await self.raw(self.head("HEAD /_matrix/client/v3/nowhere"))
        self.assertEqual(status, 404)

    async def test_tricks_with_percent_signs(self) -> None:
        base = "/_matrix/client/v3"
        room = quote(self.room)
        for path, expected in (
            (f"{base}/rooms/{room}/state/m.x/%zz", 404),  # as it stands: not an escape
            (f"{base}/rooms/{room}/state/m.x/%c0%af", 400),
            (f"{base}/rooms/{room}/state/m.x/%ff", 400),
            (f"{base}/rooms/{room}/state/m.x/%ed%a0%80", 400),
            (f"{base}/rooms/{room}/state/m.x/%00", 400),
            (f"{base}/rooms/{room}/state/m.x/a%252Fb", 404),
            (f"{base}/rooms/{room}/../../../../etc/passwd", 404),
            (f"{base}/rooms/%2e%2e/state", 400),
            (f"{base}/rooms/{room}%2fstate", 404),
            (f"{base}/%73ync", 404),
            (f"{base}/sync;a=b", 404),
            (f"{base}/sync?since=%ff", 400),
            (f"{base}/sync?%00=x", 400),
            (f"{base}/sync?&&==&timeout=0", 200),
            (f"{base}/profile/%40alice%3Alocalhost", 200),
            (f"{base}/profile/@alice:localhost", 200),
        ):
            [(status, answer)] = await self.raw(self.head(f"GET {path}"))
            self.assertEqual(status, expected, (path, answer))
            if status >= 400:
                self.assertIn("errcode", answer)
        head = self.head("GET ").replace(b"GET ", b"GET /_matrix/client/v3/rooms/\xff\xfe/state")
        [(status, answer)] = await self.raw(head)
        self.assertEqual((status, answer["errcode"]), (400, "M_UNKNOWN"))

    async def test_a_slash_in_a_state_key_is_part_of_it(self) -> None:
        for key in ("a/b", "a%2Fb", "a b+c", "ü🏡", "..", "#?&"):
            event_id = await self.alice.set_state(self.room, "org.x", {"key": key}, key)
            path = f"/rooms/{self.room}/state/org.x/{quote(key, safe='')}"
            self.assertEqual(await self.bob.ask("GET", path), {"key": key})
            event = await self.bob.ask("GET", f"/rooms/{self.room}/event/{event_id}")
            self.assertEqual(event["state_key"], key)


class ConnectionsTest(HostileTest):
    """What is wrong below HTTP's own rules, and clients that do not go on."""

    async def test_two_lengths_are_refused(self) -> None:
        """Whoever stands in front of the server may have counted differently."""
        path = "POST /_matrix/client/v3/createRoom"
        hidden = self.head("GET /_matrix/client/v3/account/whoami")
        for lines in (
            ["Content-Length: 2", f"Content-Length: {2 + len(hidden)}"],
            ["Content-Length: 2", "Content-Length: 2"],
            ["Content-Length: 2", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: chunked", "Content-Length: 2"],
            ["Transfer-Encoding: xchunked"],
            ["Transfer-Encoding: chunked, identity"],
            ["Transfer-Encoding : chunked"],
            ["Content-Length: +2"],
            ["Content-Length: 2, 3"],
            ["Content-Length: -1"],
            ["Content-Length: 0x2"],
            ["Content-Length: "],
        ):
            received = await self.raw(self.head(path, *lines, close=False) + b"{}" + hidden)
            self.assertEqual([status for status, _ in received], [400], lines)
            self.assertEqual(received[0][1]["errcode"], "M_UNKNOWN", lines)

    async def test_chunks_that_are_none(self) -> None:
        head = self.head("POST /_matrix/client/v3/createRoom", "Transfer-Encoding: chunked")
        for body in (b"x\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n", b"2\r\n{}xx0\r\n\r\n", b"2" * 5000):
            received = await self.raw(head + body)
            self.assertEqual([status for status, _ in received], [400], body[:20])

    async def test_what_is_no_http(self) -> None:
        for data in (
            b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9.9\r\n\r\n",
            b"GET / \r\n\r\n",
            b"\0" * 40_000,
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\x01c\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ):
            received = await self.raw(data)
            for status, answer in received:
                self.assertIn(status, (400, 413), data[:30])
                self.assertIn("errcode", answer, data[:30])
        await self.alice.ask("GET", "/account/whoami")

    async def test_requests_in_a_row_get_their_answers_in_order(self) -> None:
        whoami = self.head("GET /_matrix/client/v3/account/whoami", close=False)
        unknown = self.head("GET /_matrix/client/v3/nowhere", close=False)
        last = self.head("GET /_matrix/client/versions")
        received = await self.raw(whoami + unknown + whoami + last)
        self.assertEqual([status for status, _ in received], [200, 404, 200, 200])

    async def test_slow_and_half_open_clients_keep_nobody_waiting(self) -> None:
        lines = ["Content-Length: 1000"]
        beginnings = [
            b"",
            b"GET /_matr",
            self.head("GET /_matrix/client/v3/sync")[:-2],
            self.head("POST /_matrix/client/v3/createRoom", *lines, close=False),
            self.head("POST /_matrix/client/v3/createRoom", *lines, close=False) + b'{"name":',
            self.head("POST /_matrix/media/v3/upload", *lines, close=False) + b"x",
            self.head("GET /_matrix/client/v3/sync?timeout=30000&since=s0_0_0", close=False),
        ]

        def open_all() -> list[socket.socket]:
            held = []
            for beginning in beginnings * 8:
                connection = connect(self.hearth)
                connection.sendall(beginning)
                held.append(connection)
            return held

        held = await deferToThread(open_all)
        try:
            began = time.monotonic()
            for _ in range(10):
                await self.alice.say(self.room, "hello")
                await self.bob.sync()
            self.assertLess(time.monotonic() - began, 5)
            held[0].shutdown(socket.SHUT_WR)
            for connection in held[1::2]:
                connection.close()
            await self.alice.say(self.room, "hello")
        finally:
            for connection in held:
                connection.close()
