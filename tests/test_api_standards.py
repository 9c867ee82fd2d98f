"""What holds for every endpoint (client-server API, "API Standards", "Web Browser Clients")."""

from typing import Any

import treq
from twisted.internet import reactor

from tests.support import Person, Server, WireTest
from tests.test_limits import LIMITS


class HeadersTest(WireTest):
    """What an answer says beside its body."""

    async def headers(
        self, server: Server, method: str, path: str, who: Person | None = None, **more: Any
    ) -> tuple[int, dict[str, str]]:
        sent = {} if who is None else {"Authorization": f"Bearer {who.token}"}
        url = f"{server.base}/_matrix/client/v3{path}"
        response = await treq.request(
            method, url, headers=sent, persistent=False, reactor=reactor, **more
        )
        await response.content()
        names = {
            name.decode().lower(): values[0].decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        return response.code, names

    async def test_browsers_may_do_what_the_specification_recommends(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        for method, path, who, expected in (
            ("GET", "/account/whoami", anna, 200),
            ("GET", "/account/whoami", None, 401),
            ("OPTIONS", "/account/whoami", None, 200),
            ("GET", "/nowhere", None, 404),
        ):
            code, headers = await self.headers(server, method, path, who)
            self.assertEqual(code, expected)
            self.assertEqual(headers["access-control-allow-origin"], "*")
            methods = headers["access-control-allow-methods"].split(", ")
            self.assertLessEqual({"GET", "POST", "PUT", "DELETE", "OPTIONS"}, {*methods})
            names = headers["access-control-allow-headers"].split(", ")
            self.assertLessEqual({"X-Requested-With", "Content-Type", "Authorization"}, {*names})
            self.assertEqual(headers["content-type"], "application/json")

    async def test_who_is_too_fast_is_told_how_many_seconds_to_wait(self) -> None:
        server = await self.server(rate_limits={**LIMITS, "message": [0.5, 1]})
        anna = await server.person("anna")
        room = await anna.create_room()
        await anna.say(room, "once")
        path = f"/rooms/{room}/send/m.room.message/late"
        code, headers = await self.headers(server, "PUT", path, anna, json={"body": "x"})
        self.assertEqual((code, headers["retry-after"]), (429, "2"))

    async def test_logging_out_takes_no_body(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        pad = await server.log_in(anna)
        for who, path in ((pad, "/logout"), (anna, "/logout/all")):
            code, answer = await who.call("POST", path, raw=b"")
            self.assertEqual((code, answer), (200, {}))
