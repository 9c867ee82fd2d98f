"""The instance stands alone: federation is refused clearly, and nothing foreign is reached."""

from importlib.metadata import version
from urllib.parse import quote

from tests.junk import filled, parameters, routes_of
from tests.support import WireTest

FAR = "elsewhere.example"
FOREIGN = {
    "user_id": f"@somebody:{FAR}",
    "room_id": f"!room:{FAR}",
    "room": f"!room:{FAR}",
    "alias": f"#room:{FAR}",
    "server_name": FAR,
}
# A backup may hold the keys of any room, also of one that another server had.
MAY_BE_FOREIGN = "/room_keys/"


class FederationTest(WireTest):
    """What other servers would ask for."""

    async def test_server_to_server_paths_are_refused_with_the_reason(self) -> None:
        hearth = await self.server()
        alice = await hearth.person("alice")
        room = quote(await alice.create_room())
        for method, path in (
            ("GET", "/_matrix/key/v2/server"),
            ("GET", "/_matrix/key/v2/server/ed25519:1"),
            ("POST", "/_matrix/key/v2/query"),
            ("PUT", "/_matrix/federation/v1/send/1"),
            ("GET", f"/_matrix/federation/v1/state/{room}"),
            ("GET", f"/_matrix/federation/v1/event/{quote('$x')}"),
            ("GET", f"/_matrix/federation/v1/make_join/{room}/{quote(alice.id)}"),
            ("PUT", f"/_matrix/federation/v2/send_join/{room}/{quote('$x')}"),
            ("PUT", f"/_matrix/federation/v2/invite/{room}/{quote('$x')}"),
            ("GET", "/_matrix/federation/v1/publicRooms"),
            ("GET", "/_matrix/federation/v1/query/profile"),
            ("GET", "/_matrix/federation/v1/query/directory"),
            ("GET", f"/_matrix/federation/v1/user/devices/{quote(alice.id)}"),
            ("POST", "/_matrix/federation/v1/user/keys/query"),
            ("POST", "/_matrix/federation/v1/user/keys/claim"),
            ("GET", "/_matrix/federation/v1/media/download/x"),
            ("GET", "/_matrix/federation/unstable/anything"),
        ):
            code, answer = await hearth.call(method, path)
            self.assertEqual((code, answer["errcode"]), (404, "M_UNRECOGNIZED"), path)
            self.assertIn("Federation is off", answer["error"], path)

    async def test_nobody_is_invited_to_federate(self) -> None:
        hearth = await self.server()
        code, answer = await hearth.call("GET", "/.well-known/matrix/server")
        self.assertEqual((code, answer["errcode"]), (404, "M_UNRECOGNIZED"))

    async def test_widgets_of_this_server_can_check_who_somebody_is(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        path = f"/user/{alice.id}/openid/request_token"
        given = await alice.ask("POST", path)
        self.assertEqual(given["matrix_server_name"], "localhost")
        userinfo = "/_matrix/federation/v1/openid/userinfo"
        query = {"access_token": given["access_token"]}
        self.assertEqual(await hearth.call("GET", userinfo, query=query), (200, {"sub": alice.id}))
        code, answer = await bob.call("POST", path)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        # It proves who somebody is, and is nothing else.
        for token in (given["access_token"], "x"):
            code, answer = await hearth.call("GET", "/account/whoami", token=token)
            self.assertEqual((code, answer["errcode"]), (401, "M_UNKNOWN_TOKEN"))
        for token, errcode in ((alice.token, "M_UNKNOWN_TOKEN"), ("x", "M_UNKNOWN_TOKEN")):
            code, answer = await hearth.call("GET", userinfo, query={"access_token": token})
            self.assertEqual((code, answer["errcode"]), (401, errcode))

    async def test_the_version_is_served(self) -> None:
        hearth = await self.server()
        code, answer = await hearth.call("GET", "/_matrix/federation/v1/version")
        expected = {"server": {"name": "Hearth", "version": version("hearth")}}
        self.assertEqual((code, answer), (200, expected))


class ForeignIdsTest(WireTest):
    """Ids of other servers, on every path that takes one."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat")
        self.event = await self.alice.say(self.room, "hello")

    async def test_in_every_path(self) -> None:
        ours = {
            "user_id": self.alice.id,
            "room_id": self.room,
            "room": self.room,
            "event_id": self.event,
            "alias": "#none:localhost",
            "server_name": "localhost",
            "receipt_type": "m.read",
            "key": "displayname",
            "state_key": "",
        }
        query = {"dir": "b", "width": 9, "height": 9, "method": "crop", "limit": 5, "ts": 0}
        tried = 0
        for route in routes_of(self.hearth):
            names = parameters(route)
            for name in set(names) & FOREIGN.keys():
                if MAY_BE_FOREIGN in route.path or "/_synapse/" in route.path:
                    continue
                values = {**dict.fromkeys(names, "m.x"), **ours, name: FOREIGN[name]}
                path = filled(route, values)
                code, answer = await self.alice.call(route.method, path, query=query)
                shown = f"{route.method} {path} {answer}"
                self.assertIn(code, (400, 403, 404), shown)
                if code != 400:  # something else was wrong before
                    self.assertIn(answer["errcode"], ("M_FORBIDDEN", "M_NOT_FOUND"), shown)
                tried += 1
        self.assertGreater(tried, 40)

    async def test_whom_and_what_a_body_names(self) -> None:
        somebody, room = FOREIGN["user_id"], quote(self.room)
        for method, path, body, status, errcode in (
            ("POST", f"/rooms/{room}/invite", {"user_id": somebody}, 403, "M_FORBIDDEN"),
            ("POST", f"/rooms/{room}/ban", {"user_id": somebody}, 403, "M_FORBIDDEN"),
            ("POST", f"/rooms/{room}/kick", {"user_id": somebody}, 403, "M_FORBIDDEN"),
            ("POST", f"/rooms/{room}/unban", {"user_id": somebody}, 403, "M_FORBIDDEN"),
            ("POST", "/createRoom", {"invite": [somebody]}, 403, "M_FORBIDDEN"),
            ("POST", f"/join/{quote(FOREIGN['room'])}", {}, 404, "M_NOT_FOUND"),
            ("POST", f"/join/{quote(FOREIGN['alias'])}", {}, 404, "M_NOT_FOUND"),
            ("POST", f"/knock/{quote(FOREIGN['alias'])}", {}, 404, "M_NOT_FOUND"),
            ("GET", f"/profile/{somebody}", None, 403, "M_FORBIDDEN"),
            ("GET", f"/profile/{somebody}/displayname", None, 403, "M_FORBIDDEN"),
            ("GET", f"/presence/{somebody}/status", None, 403, "M_FORBIDDEN"),
            ("GET", f"/directory/room/{quote(FOREIGN['alias'])}", None, 404, "M_NOT_FOUND"),
        ):
            code, answer = await self.alice.call(method, path, body)
            self.assertEqual((code, answer["errcode"]), (status, errcode), path)
            self.assertIn("alone", answer["error"], path)
        for membership in ("invite", "ban", "leave", "join"):
            path = f"/rooms/{room}/state/m.room.member/{somebody}"
            code, answer = await self.alice.call("PUT", path, {"membership": membership})
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), membership)
        wish = {"type": "m.room.member", "state_key": somebody, "content": {"membership": "invite"}}
        code, answer = await self.alice.call("POST", "/createRoom", {"initial_state": [wish]})
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        members = await self.alice.ask("GET", f"/rooms/{room}/members")
        self.assertEqual([e["state_key"] for e in members["chunk"]], [self.alice.id])

    async def test_media_of_elsewhere_is_not_fetched(self) -> None:
        size = {"width": 10, "height": 10}
        for path in (
            f"/_matrix/client/v1/media/download/{FAR}/x",
            f"/_matrix/client/v1/media/download/{FAR}/x/name.png",
            f"/_matrix/client/v1/media/thumbnail/{FAR}/x",
        ):
            code, answer = await self.alice.call("GET", path, query=size)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"), path)

    async def test_strangers_among_neighbours_are_left_out(self) -> None:
        somebody = FOREIGN["user_id"]
        answer = await self.alice.ask("POST", "/keys/query", {"device_keys": {somebody: []}})
        self.assertEqual(answer["device_keys"], {})
        wanted = {"one_time_keys": {somebody: {"X": "signed_curve25519"}}}
        answer = await self.alice.ask("POST", "/keys/claim", wanted)
        self.assertEqual(answer["one_time_keys"], {})
        messages = {"messages": {somebody: {"*": {}}, self.bob.id: {"*": {"n": 1}}}}
        await self.alice.ask("PUT", "/sendToDevice/m.x/1", messages)
        self.assertEqual(len((await self.bob.sync())["to_device"]["events"]), 1)

    async def test_the_directory_lists_this_server_only(self) -> None:
        for method, body in (("GET", None), ("POST", {})):
            code, answer = await self.alice.call(
                method, "/publicRooms", body, query={"server": FAR}
            )
            self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"))
            self.assertIn("alone", answer["error"])

    async def test_nobody_of_elsewhere_logs_in_or_registers(self) -> None:
        for user in (FOREIGN["user_id"], f"@alice:{FAR}"):
            identifier = {"type": "m.id.user", "user": user}
            body = {"type": "m.login.password", "identifier": identifier, "password": "x" * 12}
            code, answer = await self.hearth.call("POST", "/login", body)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
            query = {"username": user}
            code, answer = await self.hearth.call("GET", "/register/available", query=query)
            self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_USERNAME"))
