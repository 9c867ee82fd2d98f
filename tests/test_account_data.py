"""Account data: kept for its owner, on every device; and deleted, so that every device hears it."""

from typing import Any

from homeserver import account_data
from tests.support import Person, WireTest

UNSTABLE = "/_matrix/client/unstable/org.matrix.msc3391"
MISSING = (404, "M_NOT_FOUND")
KEPT_BY_SERVER = (405, "M_BAD_JSON")


class AccountDataCase(WireTest):
    """Alice keeps something, about everything and about one room."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice = await self.hearth.person("alice")
        self.room = await self.alice.create_room()
        self.own = f"/user/{self.alice.id}"
        self.places = (self.own, f"{self.own}/rooms/{self.room}")

    async def answer(
        self, who: Person, method: str, path: str, body: Any = None
    ) -> tuple[int, str | None]:
        code, answer = await who.call(method, path, body)
        return code, answer.get("errcode")

    async def shown(self, who: Person, since: str | None = None) -> tuple[list[Any], str]:
        """What /sync says of the type ``org.x``: contents, of everything and of the room."""
        answer = await who.sync(since)
        sections = [answer, answer.get("rooms", {}).get("join", {}).get(self.room, {})]
        contents = [
            event["content"]
            for section in sections
            for event in section.get("account_data", {}).get("events", [])
            if event["type"] == "org.x"
        ]
        return contents, answer["next_batch"]


class KeepingTest(AccountDataCase):
    """Client-server API, "Client Config"."""

    async def test_every_device_has_it(self) -> None:
        phone = await self.hearth.log_in(self.alice)
        _, token = await self.shown(phone)
        for number, place in enumerate(self.places):
            await self.alice.ask("PUT", f"{place}/account_data/org.x", {"n": number})
            kept = await phone.ask("GET", f"{place}/account_data/org.x")
            self.assertEqual(kept, {"n": number})
        for since in (token, None):
            self.assertEqual((await self.shown(phone, since))[0], [{"n": 0}, {"n": 1}])
        await self.hearth.restart()
        self.assertEqual((await self.shown(phone))[0], [{"n": 0}, {"n": 1}])

    async def test_nobody_elses(self) -> None:
        bob = await self.hearth.person("bob")
        for place in self.places:
            path = f"{place}/account_data/org.x"
            for method in ("GET", "PUT"):
                self.assertEqual(await self.answer(bob, method, path, {}), (403, "M_FORBIDDEN"))
            got = await self.answer(bob, "DELETE", f"{UNSTABLE}{path}")
            self.assertEqual(got, (403, "M_FORBIDDEN"))
            self.assertEqual(await self.answer(self.alice, "GET", path), MISSING)

    async def test_what_the_server_keeps_can_be_read_and_not_written(self) -> None:
        event_id = await self.alice.say(self.room, "Hello")
        marker = {"m.fully_read": event_id}
        await self.alice.ask("POST", f"/rooms/{self.room}/read_markers", marker)
        for place in self.places:
            for data_type in ("m.fully_read", "m.push_rules"):
                path = f"{place}/account_data/{data_type}"
                for content in ({}, {"a": 1}):
                    got = await self.answer(self.alice, "PUT", path, content)
                    self.assertEqual(got, KEPT_BY_SERVER, path)
                got = await self.answer(self.alice, "DELETE", f"{UNSTABLE}{path}")
                self.assertEqual(got, KEPT_BY_SERVER, path)
        path = f"{self.places[1]}/account_data/m.fully_read"
        self.assertEqual(await self.alice.ask("GET", path), {"event_id": event_id})
        rules = await self.alice.ask("GET", f"{self.own}/account_data/m.push_rules")
        self.assertEqual(rules, await self.alice.ask("GET", "/pushrules/"))

    async def test_it_has_its_bounds(self) -> None:
        self.patch(account_data, "MAX_TOTAL", 100)
        self.patch(account_data, "MAX_PIECES", 3)
        path = f"{self.own}/account_data"
        for data_type, content, refusal in (
            ("a" * 255, {"n": 1}, (200, None)),
            ("a" * 256, {"n": 1}, (400, "M_BAD_JSON")),
            ("b", {"n": "x" * 100}, (413, "M_TOO_LARGE")),
            ("b", {"n": 1}, (200, None)),
            ("c", {"n": 1}, (200, None)),
            ("d", {"n": 1}, (413, "M_TOO_LARGE")),
        ):
            got = await self.answer(self.alice, "PUT", f"{path}/{data_type}", content)
            self.assertEqual(got, refusal, data_type)
        await self.alice.ask("DELETE", f"{UNSTABLE}{path}/b")


class DeletingTest(AccountDataCase):
    """MSC3391."""

    async def test_it_is_gone_and_every_device_hears_it_once(self) -> None:
        phone = await self.hearth.log_in(self.alice)
        for how in ("DELETE", "PUT"):
            for place in self.places:
                await self.alice.ask("PUT", f"{place}/account_data/org.x", {"n": 1})
            contents, token = await self.shown(phone)
            self.assertEqual(contents, [{"n": 1}, {"n": 1}])
            for place in self.places:
                path = f"{place}/account_data/org.x"
                if how == "DELETE":
                    await self.alice.ask("DELETE", UNSTABLE + path)
                else:
                    await self.alice.ask("PUT", path, {})
                self.assertEqual(await self.answer(phone, "GET", path), MISSING)
            await self.hearth.restart()
            contents, token = await self.shown(phone, token)
            self.assertEqual(contents, [{}, {}])
            self.assertEqual((await self.shown(phone, token))[0], [])
            self.assertEqual((await self.shown(phone))[0], [], "a new device never had it")
            answer = await phone.ask("GET", f"/rooms/{self.room}/initialSync")
            self.assertEqual(answer["account_data"], [])

    async def test_what_is_not_there_is_no_news(self) -> None:
        _, token = await self.shown(self.alice)
        for place in self.places:
            await self.alice.ask("DELETE", f"{UNSTABLE}{place}/account_data/org.x")
            await self.alice.ask("PUT", f"{place}/account_data/org.x", {})
        self.assertEqual((await self.shown(self.alice, token))[0], [])

    async def test_who_deletes_their_ignore_list_ignores_nobody(self) -> None:
        mallory = await self.hearth.person("mallory")
        room = await mallory.create_room(preset="public_chat")
        await self.alice.join(room)
        said = await mallory.say(room, "boo")
        path = f"{self.own}/account_data/m.ignored_user_list"
        await self.alice.ask("PUT", path, {"ignored_users": {mallory.id: {}}})
        event = f"/rooms/{room}/event/{said}"
        self.assertEqual(await self.answer(self.alice, "GET", event), MISSING)
        await self.alice.ask("DELETE", UNSTABLE + path)
        await self.alice.ask("GET", event)
