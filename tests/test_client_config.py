"""What clients keep on the server: places of its own, and what is refused."""

from typing import Any

from tests.support import WireTest


class ClientConfigTest(WireTest):
    """Client-server API, "Client Config"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice = await self.hearth.person("alice")
        self.room = await self.alice.create_room()
        self.own = f"/user/{self.alice.id}"
        self.places = (self.own, f"{self.own}/rooms/{self.room}")

    async def refused(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        code, answer = await self.alice.call(method, path, **more)
        return code, answer["errcode"]

    async def test_a_room_does_not_inherit_what_is_for_everything(self) -> None:
        everything, room = (f"{place}/account_data/org.x" for place in self.places)
        await self.alice.ask("PUT", everything, {"n": 1})
        self.assertEqual(await self.refused("GET", room), (404, "M_NOT_FOUND"))
        await self.alice.ask("PUT", room, {"n": 2})
        self.assertEqual(await self.alice.ask("GET", everything), {"n": 1})
        self.assertEqual(await self.alice.ask("GET", room), {"n": 2})

    async def test_what_is_no_object_is_refused(self) -> None:
        for place in self.places:
            for raw in (b"[]", b"5", b'"x"', b"null", b"{"):
                path = f"{place}/account_data/org.x"
                code, errcode = await self.refused("PUT", path, raw=raw)
                self.assertEqual(code, 400)
                self.assertIn(errcode, ("M_BAD_JSON", "M_NOT_JSON"))
            self.assertEqual(await self.refused("GET", path), (404, "M_NOT_FOUND"))

    async def test_what_is_no_room_is_refused(self) -> None:
        path = f"{self.own}/rooms/nonsense/account_data/org.x"
        for method in ("GET", "PUT"):
            self.assertEqual(await self.refused(method, path), (400, "M_INVALID_PARAM"))

    async def test_what_the_server_keeps_cannot_be_set(self) -> None:
        for place in self.places:
            for data_type in ("m.fully_read", "m.push_rules"):
                path = f"{place}/account_data/{data_type}"
                self.assertEqual(await self.refused("PUT", path), (405, "M_BAD_JSON"))

    async def test_unread_markers_reach_the_other_devices(self) -> None:
        phone = await self.hearth.log_in(self.alice)
        since = (await phone.sync())["next_batch"]
        path = f"{self.places[1]}/account_data/m.marked_unread"
        for unread in (True, False):
            await self.alice.ask("PUT", path, {"unread": unread})
            answer = await phone.sync(since)
            [event] = answer["rooms"]["join"][self.room]["account_data"]["events"]
            self.assertEqual(event, {"type": "m.marked_unread", "content": {"unread": unread}})
            since = answer["next_batch"]
