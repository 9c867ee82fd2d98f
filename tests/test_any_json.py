"""Any JSON to every route: 200 or a refusal with an errcode, never a 500, never silence."""

import json
from importlib import resources
from typing import Any
from urllib.parse import quote

import orjson
import treq
from hypothesis import strategies as st
from twisted.internet import reactor

from rest.routing import Route
from tests.junk import DEEP, any_json, deep, examples, filled, parameters, routes_of, spoilt
from tests.processes import free_port
from tests.support import PASSWORD, Person, Server, WireTest

BODIES = 24
"""Of each sort, for each route."""

RAW = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"5",
    b"NaN",
    b'{"a": 1e999}',
    b'{"a": 123456789012345678901234567890}',
    b'{"body": "\\ud800"}',
    b'{"\\udc00": 1}',
    b'{"a": "\xff"}',
    b"\xef\xbb\xbf{}",
    orjson.dumps({"typing": True, "name": "a\0b", "displayname": "a\0b"}),
    b'{"a":' + b"[" * DEEP + b"1" + b"]" * DEEP + b"}",
    b'{"a":' + b"[" * 1000 + b"1" + b"]" * 1000 + b"}",
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
]

# What the schemas of event contents cannot say, and what is read again later.
CONTENTS: dict[str, dict[str, Any]] = {
    "m.room.message": {
        "msgtype": "m.text",
        "body": "hello",
        "m.relates_to": {
            "rel_type": "m.thread",
            "event_id": "$event",
            "m.in_reply_to": {"event_id": "$event"},
        },
        "m.mentions": {"user_ids": ["@bob:example.org"], "room": True},
    },
    "m.reaction": {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$event", "key": "+"}},
    "m.room.encrypted": {
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": "x",
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$event"},
    },
    "m.room.redaction": {"redacts": "$event", "reason": "typo"},
    "m.room.member": {"membership": "join", "displayname": "Al", "avatar_url": "mxc://a/b"},
    "m.room.name": {"name": "Garden"},
    "m.room.topic": {"topic": "Water", "m.topic": {"m.text": [{"body": "Water"}]}},
    "m.room.avatar": {"url": "mxc://example.org/a", "info": {"h": 1, "w": 1}},
    "m.room.join_rules": {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": "!room:example.org"}],
    },
    "m.room.history_visibility": {"history_visibility": "joined"},
    "m.room.guest_access": {"guest_access": "can_join"},
    "m.room.canonical_alias": {"alias": "#a:example.org", "alt_aliases": ["#b:example.org"]},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 1},
    "m.room.pinned_events": {"pinned": ["$event"]},
    "m.room.tombstone": {"body": "moved", "replacement_room": "!room:example.org"},
    "m.room.server_acl": {"allow": ["*"], "deny": [], "allow_ip_literals": False},
    "m.room.third_party_invite": {
        "display_name": "x",
        "key_validity_url": "https://example.org",
        "public_key": "abc",
        "public_keys": [{"public_key": "abc"}],
    },
    "m.space.child": {"via": ["example.org"], "order": "a", "suggested": True},
    "m.space.parent": {"via": ["example.org"], "canonical": True},
    "m.room.power_levels": {
        "users": {"@alice:example.org": 100, "@bob:example.org": 100},
        "users_default": 0,
        "events": {"m.room.name": 50},
        "events_default": 0,
        "state_default": 50,
        "invite": 0,
        "kick": 50,
        "ban": 50,
        "redact": 50,
        "notifications": {"room": 50},
    },
    "m.direct": {"@bob:example.org": ["!room:example.org"]},
    "m.ignored_user_list": {"ignored_users": {"@bob:example.org": {}}},
    "m.tag": {"tags": {"u.work": {"order": 0.5}}},
    "org.example.any": {"any": ["thing", {"at": "all"}]},
}
TYPES_OF = {
    "send/{event_type}/{txn_id}": ["m.room.message", "m.reaction", "m.room.encrypted"]
    + ["m.room.redaction"],
    "state/{event_type}": [name for name in CONTENTS if name.startswith(("m.room.", "m.space"))],
    "account_data/{type}": ["m.direct", "m.ignored_user_list", "m.tag", "org.example.any"],
}
QUERIES = {
    "timeout": ["0", "-1", "x", "1e3", "0x10", "٣", "0.5", ""],
    "since": ["", "0", "s0_0_0", "s1_1_1", "x", "s1", f"s0_0_{'9' * 30}", f"s{'9' * 30}_0_0"]
    + [f"s0_{'9' * 30}_0", "s-1_0_0", "s1_2_3_4", "9" * 90, f"s0_0_{2**63}"],
    "from": ["", "t0", "t1", "t-1", "t999999", f"t{'9' * 18}", f"t{'9' * 40}", "s0_0_0", "x"]
    + [f"s{'9' * 30}_0_0"],
    "to": ["", "t0", "t1", "t9999", "x", f"s{2**63}_0_0"],
    "at": ["", "t0", "t1", "t9999", "x", "s0_0_0", f"s{2**63}_0_0"],
    "limit": ["0", "1", "-1", "x", "", "99999999999999999999999", "1.5", "9" * 5000],
    "dir": ["b", "f", "x", ""],
    "filter": ["", "0", "1", "x", "{", "{}", "[]", "null", '{"room":5}', "9" * 30, "{" * 9000]
    + ['{"room":{"timeline":{"limit":"x"}}}', '{"room":{"timeline":{"limit":1e400}}}']
    + ['{"event_fields":["a.b","",5]}', '{"event_fields":["content.body"]}']
    + ['{"room":{"timeline":{"types":["*","m.*","["],"limit":99999999999999999999}}}']
    + ['{"room":{"rooms":["\\u0000"],"state":{"lazy_load_members":"x"}}}'],
    "full_state": ["true", "false", "x", "1"],
    "use_state_after": ["true", "false", "x"],
    "set_presence": ["online", "offline", "unavailable", "x", ""],
    "format": ["content", "event", "x"],
    "membership": ["join", "x", ""],
    "not_membership": ["leave", "x"],
    "server": ["localhost", "elsewhere.example", "", "\x7f"],
    "version": ["1", "x", "-1", "9" * 30, ""],
    "room_id": ["!none:localhost", "x", ""],
    "width": ["0", "1", "-1", "x", "99999999999"],
    "height": ["0", "1", "-1", "x", "99999999999"],
    "method": ["crop", "scale", "x"],
    "allow_remote": ["true", "x"],
    "timeout_ms": ["0", "-1", "x"],
    "url": ["x", "http://127.0.0.1/", "file:///etc/passwd", ""],
    "username": ["x", "", "Ä", "x" * 300, "@a:b"],
    "token": ["x", "", "x" * 300],
    "access_token": ["x", ""],
    "session": ["x", ""],
    "recurse": ["true", "x"],
    "include": ["all", "participated", "x"],
    "only": ["highlight", "x"],
    "search_term": ["x", ""],
    "user_id": ["@alice:localhost", "x"],
    "device_id": ["x", ""],
}
USES = {
    "/sync": ["timeout", "since", "filter", "full_state", "use_state_after", "set_presence"],
    "/messages": ["from", "to", "dir", "limit", "filter"],
    "/context/{event_id}": ["limit", "filter"],
    "/members": ["at", "membership", "not_membership"],
    "/state/{event_type}": ["format"],
    "/relations/{event_id}": ["from", "to", "dir", "limit", "recurse"],
    "/relations/{event_id}/{rel_type}": ["from", "to", "dir", "limit", "recurse"],
    "/threads": ["from", "limit", "include"],
    "/keys/changes": ["from", "to"],
    "/publicRooms": ["since", "limit", "server"],
    "/room_keys/keys": ["version"],
    "/thumbnail/{server_name}/{media_id}": ["width", "height", "method", "timeout_ms", "animated"],
    "/notifications": ["from", "limit", "only"],
}
# Without these the route refuses before it looks at anything else.
NEEDED = {
    "/keys/changes": "from=s0_0_0&to=s1_0_0",
    "/thumbnail/{server_name}/{media_id}": "width=32&height=32&method=scale",
    "/messages": "dir=b",
    "/register/available": "username=somebody",
    "/validity": "token=x",
    "/userinfo": "access_token=x",
}
WORDS_IN_PATHS = [
    "x",
    "",
    ".",
    "..",
    "a/b",
    "a%2Fb",
    "\x01",
    "ü🏡",
    "x" * 300,
    "x" * 3000,
    "@far:elsewhere.example",
    "@bob:localhost",
    "!far:elsewhere.example",
    "!none:localhost",
    "$none",
    "#none:localhost",
    "-1",
    "9" * 30,
]


class Neighbourhood:
    """Somebody, somebody else, a room that both are in: what good requests speak of."""

    def __init__(self, case: WireTest, server: Server) -> None:
        self.case = case
        self.server = server
        self._names = 0

    async def move_in(self) -> None:
        """New people; also when a request has ended somebody's session."""
        self._names += 1
        self.alice = await self.server.person(f"alice{self._names}", device_id="PHONE")
        self.bob = await self.server.person(f"bob{self._names}")
        await self.new_room()

    async def new_room(self) -> None:
        """A new room, for the next route may spoil it."""
        self.room = await self.alice.create_room(
            preset="public_chat", visibility="public", invite=[self.bob.id]
        )
        await self.bob.join(self.room)
        self.event = await self.alice.say(self.room, "hello")
        backup = {"algorithm": "org.example.backup", "auth_data": {}}
        answer = await self.alice.ask("POST", "/room_keys/version", backup)
        self.backup = answer["version"]

    def values(self, route: Route, event_type: str) -> dict[str, str]:
        """Something sensible for each parameter of a path."""
        values = dict.fromkeys(parameters(route), "x")
        values |= {
            "user_id": self.alice.id,
            "room_id": self.room,
            "room": self.room,
            "event_id": self.event,
            "event_type": event_type,
            "type": event_type,
            "state_key": self.bob.id if event_type == "m.room.member" else "",
            "txn_id": self.alice.transaction(),
            "device_id": "PHONE",
            "alias": f"#a{self.alice.transaction()}:localhost",
            "receipt_type": "m.read",
            "key": "displayname",
            "server_name": "localhost",
            "tag": "u.work",
            "version": self.backup,
            "filter_id": "1",
            "stage": "m.login.password",
            "rel_type": "m.thread",
        }
        return values

    def needed(self, route: Route) -> str:
        """The query parameters that the route insists on."""
        if "/room_keys/keys" in route.path:
            return f"version={self.backup}"
        return next((NEEDED[end] for end in NEEDED if route.path.endswith(end)), "")

    def localised(self, value: Any) -> Any:
        """An example of the specification, about the people of here."""
        text = orjson.dumps(value).decode()
        for old, new in (
            ("@alice:example.org", self.alice.id),
            ("@bob:example.org", self.bob.id),
            ("!room:example.org", self.room),
            ("!old:example.org", self.room),
            ("$event", self.event),
            ("example.org", "localhost"),
            ("JLAFKJWSCS", "PHONE"),
        ):
            text = text.replace(old, new)
        return orjson.loads(text)

    @property
    def auth(self) -> dict[str, Any]:
        """What interactive authentication asks Alice for."""
        identifier = {"type": "m.id.user", "user": self.alice.id}
        return {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}

    async def try_out(
        self, method: str, path: str, body: bytes | None, person: Person | None = None
    ) -> tuple[int, Any]:
        """One request; fails unless the answer is what clients can understand."""
        headers = {"Authorization": f"Bearer {(person or self.alice).token}"}
        answering = treq.request(
            method,
            self.server.base + path,
            headers=headers,
            data=body,
            persistent=False,
            timeout=20,
            reactor=reactor,
        )
        shown = f"{method} {path[:300]} {body[:2000] if body else body!r}"
        try:
            response = await answering
            content = await response.content()
        except Exception as error:
            raise self.case.failureException(f"{shown}: {error!r}") from error
        kind = response.headers.getRawHeaders("content-type", [""])[0]
        answer = orjson.loads(content) if kind.startswith("application/json") else {}
        self.case.assertLess(response.code, 500, f"{shown}: {content[:300]!r}")
        is_page = kind.startswith("text/html")  # for people, also when it refuses
        if response.code >= 400 and "flows" not in answer and not is_page:
            self.case.assertIsInstance(answer.get("errcode"), str, shown)
            self.case.assertIsInstance(answer.get("error"), str, shown)
        return response.code, answer

    async def look_around(self) -> None:
        """Whatever was accepted has to be readable: by who is there and by who is not."""
        room = quote(self.room)
        reads = [
            "/sync",
            "/sync?filter="
            + quote(
                '{"room":{"include_leave":true,"state":'
                '{"lazy_load_members":true}},"event_fields":["content.body"]}'
            ),
            "/sync?use_state_after=true&since=s0_0_0",
            f"/rooms/{room}/messages?dir=b&limit=100",
            f"/rooms/{room}/messages?dir=f&limit=100&filter=%7B%22contains_url%22%3Atrue%7D",
            f"/rooms/{room}/state",
            f"/rooms/{room}/members",
            f"/rooms/{room}/joined_members",
            f"/rooms/{room}/context/{quote(self.event)}",
            f"/rooms/{room}/aliases",
            "/publicRooms",
            "/joined_rooms",
            "/devices",
            f"/profile/{self.alice.id}",
            "/account/whoami",
        ]
        for person in (self.alice, self.bob):
            for path in reads:
                await self.try_out("GET", f"/_matrix/client/v3{path}", None, person)
        body = orjson.dumps({"device_keys": {self.alice.id: [], self.bob.id: []}})
        await self.try_out("POST", "/_matrix/client/v3/keys/query", body, self.bob)
        body = orjson.dumps({"search_term": "a"})
        await self.try_out("POST", "/_matrix/client/v3/user_directory/search", body, self.bob)

    async def are_here(self) -> bool:
        """Whether both sessions still work."""
        codes = [
            (await person.call("GET", "/account/whoami"))[0] for person in (self.alice, self.bob)
        ]
        return codes == [200, 200]


def good_bodies(route: Route) -> list[Any]:
    """The examples of the body's schema."""
    if "/profile/" in route.path:
        return [{"displayname": "Al"}]
    if route.body is None:
        return [{}]
    file = resources.files("schema") / "requests" / f"{route.body}.json"
    return list(orjson.loads(file.read_bytes()).get("examples", [{}]))


class AnyJsonTest(WireTest):
    """Design promise 7: bad input gets a Matrix error, never a 500."""

    timeout = 240

    async def setUp(self) -> None:
        # The mail server is not there: letters wait, and go when the test is over.
        nowhere = {"host": "127.0.0.1", "port": free_port(), "sender": "hearth@elm.example"}
        server = await self.server(rooms={"self_room": False, "encrypt": []}, email=nowhere)
        self.here = Neighbourhood(self, server)
        await self.here.move_in()
        self.routes = routes_of(server)

    async def test_bodies(self) -> None:
        for route in self.routes:
            if route.method in ("GET", "DELETE") and route.body is None:
                continue
            for ending, types in TYPES_OF.items():
                if ending in route.path:
                    for event_type in types:
                        await self._bodies(route, event_type, [CONTENTS[event_type]], BODIES // 2)
                    break
            else:
                await self._bodies(route, "m.room.message", good_bodies(route), BODIES)
            await self._look_around()

    async def _bodies(self, route: Route, event_type: str, good: list[Any], count: int) -> None:
        goods = [self.here.localised(each) for each in good]
        wrong = examples(st.sampled_from(goods).flatmap(spoilt), count)
        junk = examples(any_json, max(2, count // 4))
        bodies = [orjson.dumps(value) for value in [*goods, *wrong, *junk]]
        bodies += [
            orjson.dumps({**value, "auth": self.here.auth})
            for value in (*goods, *wrong)
            if isinstance(value, dict) and "auth" in route_words(route)
        ]
        bodies += RAW
        for body in bodies:
            path = filled(route, self.here.values(route, event_type))
            path += f"?{self.here.needed(route)}"
            await self.here.try_out(route.method, path, body)

    async def _look_around(self) -> None:
        if await self.here.are_here():
            await self.here.look_around()
            await self.here.new_room()
        else:
            await self.here.move_in()

    async def test_queries(self) -> None:
        one = st.sampled_from(sorted(QUERIES)).flatmap(
            lambda name: st.tuples(st.just(name), st.sampled_from(QUERIES[name]))
        )
        queries = examples(st.lists(one, min_size=1, max_size=4), 24)
        single = [[(name, value)] for name, values in QUERIES.items() for value in values]
        for route in self.routes:
            if route.method != "GET":
                continue
            names = next((USES[end] for end in USES if route.path.endswith(end)), [])
            own = [query for query in single if query[0][0] in names]
            for query in [*queries, *own]:
                path = filled(route, self.here.values(route, "m.room.member"))
                text = "&".join(f"{name}={quote(value)}" for name, value in query)
                # The first of two values counts.
                path += f"?{text}&{self.here.needed(route)}"
                await self.here.try_out("GET", path, None)

    async def test_paths(self) -> None:
        words = st.sampled_from(WORDS_IN_PATHS)
        for route in self.routes:
            names = parameters(route)
            body = None if route.method in ("GET", "DELETE") else b"{}"
            for name in names:
                for word in examples(words, 8):
                    values = {**self.here.values(route, "m.room.member"), name: word}
                    await self.here.try_out(route.method, filled(route, values), body)
        await self.here.move_in()
        await self.here.look_around()

    async def test_deep_nesting_is_refused_where_it_would_be_kept(self) -> None:
        alice, room = self.here.alice, self.here.room
        raw = json.dumps({"org.example.any": deep(DEEP)}).encode()  # orjson does not write it
        for path in (
            f"/rooms/{room}/send/m.room.message/1",
            f"/rooms/{room}/state/org.example.any",
            f"/user/{alice.id}/account_data/org.example.any",
            f"/user/{alice.id}/rooms/{room}/account_data/org.example.any",
            f"/user/{alice.id}/rooms/{room}/tags/u.work",
            f"/profile/{alice.id}/org.example.any",
        ):
            code, answer = await alice.call("PUT", path, raw=raw)
            self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"), path)


def route_words(route: Route) -> str:
    """The text of its body's schema."""
    if route.body is None:
        return ""
    return (resources.files("schema") / "requests" / f"{route.body}.json").read_text()
