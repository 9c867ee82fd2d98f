"""Names that only a service knows, pings, and the networks behind services."""

from typing import Any
from urllib.parse import quote

import orjson
import treq
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from homeserver.bridges import ping, queries
from tests.little_service import Asked, LittleService
from tests.support import Server, WireTest

PROTOCOL = {
    "user_fields": ["network", "nickname"],
    "location_fields": ["network", "channel"],
    "icon": "mxc://localhost/irc",
    "field_types": {"network": {"regexp": ".*", "placeholder": "libera"}},
    "instances": [{"network_id": "libera", "desc": "Libera", "fields": {"network": "libera"}}],
}


class QueriesTest(WireTest):
    """Somebody asks for what is not here yet."""

    async def set_up(self, **more: Any) -> tuple[LittleService, Server]:
        irc = LittleService(self, more=more)
        return irc, await self.server(application_services=[irc.registration()])

    def creates(self, irc: LittleService, hearth: Server, asked: Asked) -> Any:
        """A service that makes everybody and everything that it is asked for."""
        name = asked.path.rpartition("/")[2].replace("%40", "@").replace("%23", "#")
        localpart = name.replace("%3A", ":")[1:].partition(":")[0]
        if "none" in localpart:
            return 404, {"errcode": "M_NOT_FOUND"}
        if asked.path.startswith("/_matrix/app/v1/users/"):
            made = irc.make_user(hearth, localpart)
        elif asked.path.startswith("/_matrix/app/v1/rooms/"):
            wish = {"room_alias_name": localpart, "preset": "public_chat"}
            made = irc.ask(hearth, "POST", "/createRoom", wish)
        else:
            return None
        return Deferred.fromCoroutine(made).addCallback(lambda _: 200)

    async def test_a_service_makes_what_somebody_asks_for(self) -> None:
        irc, hearth = await self.set_up()
        irc.answers.append(lambda asked: self.creates(irc, hearth, asked))
        irc.start()
        alice = await hearth.person("alice")
        self.assertEqual(await alice.ask("GET", "/profile/@_irc_one:localhost"), {})
        room = await alice.create_room(invite=["@_irc_two:localhost"])
        await alice.ask("POST", f"/rooms/{room}/invite", {"user_id": "@_irc_three:localhost"})
        await alice.set_state(room, "m.room.member", {"membership": "invite"}, "@_irc_4:localhost")
        joined = await alice.ask("POST", f"/join/{quote('#_irc_garden:localhost', safe='')}")
        alias = quote("#_irc_market:localhost", safe="")
        found = await alice.ask("GET", f"/directory/room/{alias}")
        self.assertNotEqual(joined["room_id"], found["room_id"])
        self.assertEqual(await alice.ask("GET", f"/directory/room/{alias}"), found)
        for path, body in (
            ("/profile/@_irc_none:localhost", None),
            ("/directory/room/%23_irc_none:localhost", None),
            (f"/rooms/{room}/invite", {"user_id": "@_irc_none:localhost"}),
            ("/profile/@nobody:localhost", None),  # none of its names
        ):
            code, answer = await alice.call("POST" if body else "GET", path, body)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"), path)
        asked = [a.path for a in irc.asked if "/app/v1/users/" in a.path or "/rooms/" in a.path]
        self.assertEqual(
            [path.removeprefix("/_matrix/app/v1") for path in asked if path.startswith("/_m")],
            [
                "/users/%40_irc_one%3Alocalhost",
                "/users/%40_irc_two%3Alocalhost",
                "/users/%40_irc_three%3Alocalhost",
                "/users/%40_irc_4%3Alocalhost",
                "/rooms/%23_irc_garden%3Alocalhost",
                "/rooms/%23_irc_market%3Alocalhost",
                "/users/%40_irc_none%3Alocalhost",
                "/rooms/%23_irc_none%3Alocalhost",
                "/users/%40_irc_none%3Alocalhost",
            ],
        )
        for each in irc.asked:
            self.assertEqual(each.authorization, f"Bearer {irc.hs_token}")

    async def test_a_service_that_is_down_is_a_timeout_and_one_question_is_asked_once(self) -> None:
        irc, hearth = await self.set_up()
        alice = await hearth.person("alice")
        path = "/profile/@_irc_one:localhost"
        asking = [Deferred.fromCoroutine(alice.call("GET", path)) for _ in range(2)]
        for each in asking:
            code, answer = await each
            self.assertEqual((code, answer["errcode"]), (408, "M_UNKNOWN"))
        irc.start()
        self.patch(queries, "SECONDS_TO_ANSWER", 300.0)
        held: Deferred[Any] = Deferred()
        irc.answers.append(lambda asked: held if "/users/" in asked.path else None)
        asking = [Deferred.fromCoroutine(alice.call("GET", path)) for _ in range(5)]
        waiting = hearth.app.rooms.membership.queries._asking._waiting
        while [*map(len, waiting.values())] != [5]:
            await deferLater(default_reactor, 0.01)
        await irc.until(lambda: any("/users/" in asked.path for asked in irc.asked))
        await irc.make_user(hearth, "_irc_one")
        held.callback(200)
        self.assertEqual([(await each)[0] for each in asking], [200] * 5)
        self.assertEqual(len([asked for asked in irc.asked if "/users/" in asked.path]), 1)


class PingTest(WireTest):
    """A service asks whether it is reached."""

    async def ping(self, hearth: Server, token: str, service_id: str) -> tuple[int, Any]:
        """Past the check that no answer is beyond 499: here some have to be."""
        response = await treq.post(
            f"{hearth.base}/_matrix/client/v1/appservice/{service_id}/ping",
            headers={"Authorization": f"Bearer {token}"},
            data=orjson.dumps({"transaction_id": "meow"}),
            persistent=False,
            reactor=default_reactor,
        )
        return response.code, await response.json()

    async def test_each_way_a_ping_can_end(self) -> None:
        self.patch(ping, "SECONDS_TO_ANSWER", 0.3)
        irc, mute = LittleService(self), LittleService(self, "mute", {"url": None})
        hearth = await self.server(application_services=[irc.registration(), mute.registration()])
        alice = await hearth.person("alice")

        async def pinged(token: str = irc.as_token, service_id: str = "irc") -> Any:
            code, answer = await self.ping(hearth, token, service_id)
            return code, answer.get("errcode")

        self.assertEqual(await pinged(), (502, "M_CONNECTION_FAILED"))
        irc.start()
        code, answer = await self.ping(hearth, irc.as_token, "irc")
        self.assertEqual(code, 200)
        self.assertGreaterEqual(answer["duration_ms"], 0)
        [asked] = [asked for asked in irc.asked if asked.path == "/_matrix/app/v1/ping"]
        self.assertEqual(asked.method, "POST")
        self.assertEqual(asked.json, {"transaction_id": "meow"})
        self.assertEqual(asked.authorization, f"Bearer {irc.hs_token}")
        refusals: list[Any] = [(403, {"errcode": "M_FORBIDDEN"}), Deferred()]
        irc.answers.append(lambda asked: refusals.pop(0) if refusals else None)
        code, answer = await self.ping(hearth, irc.as_token, "irc")
        self.assertEqual((code, answer["errcode"], answer["status"]), (502, "M_BAD_STATUS", 403))
        self.assertEqual(orjson.loads(answer["body"]), {"errcode": "M_FORBIDDEN"})
        self.assertEqual(await pinged(), (504, "M_CONNECTION_TIMEOUT"))
        self.assertEqual(await pinged(mute.as_token, "mute"), (400, "M_URL_NOT_SET"))
        for token, service_id in (
            (irc.as_token, "mute"),
            (irc.as_token, "nobody"),
            (alice.token, "irc"),
        ):
            self.assertEqual(await pinged(token, service_id), (403, "M_FORBIDDEN"))


class NetworksTest(WireTest):
    """What people see of the networks behind services."""

    def answer(self, asked: Asked) -> Any:
        path = asked.path.removeprefix("/_matrix/app/v1/thirdparty")
        ann = {"userid": "@_irc_ann:localhost", "protocol": "irc", "fields": {"nickname": "ann"}}
        place = {"alias": "#_irc_x:localhost", "protocol": "irc", "fields": {"channel": "#x"}}
        return {
            "/protocol/irc": (200, PROTOCOL),
            "/protocol/odd": (200, ["nonsense"]),
            "/user/irc": (200, [ann, "nonsense", {}] if asked.query.get("nickname") else []),
            "/location/irc": (200, [place]),
            "/user": (200, [ann]),
            "/location": (200, [place]),
        }.get(path)

    async def test_networks_users_and_places(self) -> None:
        irc = LittleService(self, more={"protocols": ["irc", "odd"]})
        second = LittleService(self, "two", {"protocols": ["irc"]})
        down = LittleService(self, "down", {"protocols": ["xmpp"]})
        for service in (irc, second):
            service.answers.append(self.answer)
            service.start()
        hearth = await self.server(
            application_services=[each.registration() for each in (irc, second, down)]
        )
        alice = await hearth.person("alice")
        described = (await alice.ask("GET", "/thirdparty/protocols"))["irc"]
        self.assertEqual(set(await alice.ask("GET", "/thirdparty/protocols")), {"irc"})
        self.assertEqual(await alice.ask("GET", "/thirdparty/protocol/irc"), described)
        self.assertEqual(
            [instance["instance_id"] for instance in described["instances"]],
            ["irc|libera", "two|libera"],
        )
        users = await alice.ask("GET", "/thirdparty/user/irc", query={"nickname": "ann"})
        self.assertEqual([user["userid"] for user in users], ["@_irc_ann:localhost"] * 2)
        last = [asked for asked in irc.asked if asked.path.endswith("/user/irc")][-1]
        self.assertEqual(last.query, {"nickname": "ann"})
        await irc.ask(
            hearth, "GET", "/thirdparty/user/irc", nickname="ann", user="@_irc_bot:localhost"
        )
        last = [asked for asked in irc.asked if asked.path.endswith("/user/irc")][-1]
        self.assertEqual(last.query, {"nickname": "ann"})  # and not whose mask it was
        await alice.ask("GET", "/thirdparty/location/irc", query={"channel": "#x"})
        whose = {"userid": "@_irc_ann:localhost"}
        self.assertEqual(len(await alice.ask("GET", "/thirdparty/user", query=whose)), 1)
        where = {"alias": "#_irc_x:localhost"}
        self.assertEqual(len(await alice.ask("GET", "/thirdparty/location", query=where)), 1)
        for path, query in (
            ("/thirdparty/protocol/odd", {}),
            ("/thirdparty/protocol/xmpp", {}),
            ("/thirdparty/protocol/none", {}),
            ("/thirdparty/user/irc", {}),
            ("/thirdparty/user", {"userid": alice.id}),
        ):
            code, answer = await alice.call("GET", path, query=query)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"), path)

    async def test_the_directory_of_a_network(self) -> None:
        irc = LittleService(self, more={"protocols": ["irc"]})
        hearth = await self.server(application_services=[irc.registration()])
        alice = await hearth.person("alice")
        portal = (await irc.ask(hearth, "POST", "/createRoom", {"name": "Portal"}))["room_id"]
        shown = await alice.create_room(visibility="public", name="Garden")
        path = "/directory/list/appservice/libera/"
        await irc.ask(hearth, "PUT", path + portal, {"visibility": "public"})

        async def listed(**wish: Any) -> set[str]:
            answer = await alice.ask("POST", "/publicRooms", wish)
            return {room["room_id"] for room in answer["chunk"]}

        self.assertEqual(await listed(), {shown})
        self.assertEqual(await listed(third_party_instance_id="irc|libera"), {portal})
        self.assertEqual(await listed(third_party_instance_id="irc|other"), set())
        self.assertEqual(await listed(third_party_instance_id="libera"), set())
        self.assertEqual(await listed(include_all_networks=True), {shown, portal})
        wish = {"include_all_networks": True, "third_party_instance_id": "irc|libera"}
        self.assertEqual((await alice.call("POST", "/publicRooms", wish))[0], 400)
        await irc.ask(hearth, "PUT", path + portal, {"visibility": "private"})
        self.assertEqual(await listed(include_all_networks=True), {shown})
        direct = await alice.create_room(is_direct=True, invite=["@_irc_bot:localhost"])
        for room, code, errcode in (
            (direct, 403, "M_FORBIDDEN"),
            ("!none:localhost", 404, "M_NOT_FOUND"),
        ):
            got = await irc.call(hearth, "PUT", path + room, {"visibility": "public"})
            self.assertEqual((got[0], got[1]["errcode"]), (code, errcode))
