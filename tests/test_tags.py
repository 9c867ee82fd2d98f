"""Tags: how somebody sorts their rooms."""

from typing import Any

from tests.support import WireTest


class TagsTest(WireTest):
    """Client-server API, "Room Tagging"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)
        self.path = f"/user/{self.alice.id}/rooms/{self.room}/tags"

    async def tags(self) -> Any:
        return (await self.alice.ask("GET", self.path))["tags"]

    async def test_a_room_has_several_and_each_comes_and_goes_alone(self) -> None:
        self.assertEqual(await self.tags(), {})
        for tag, value in (("m.favourite", {"order": 0.25}), ("u.garden", {}), ("old", {})):
            await self.alice.ask("PUT", f"{self.path}/{tag}", value)
        await self.alice.ask("PUT", f"{self.path}/m.favourite", {"order": 1})
        await self.alice.ask("DELETE", f"{self.path}/old")
        await self.alice.ask("DELETE", f"{self.path}/never")
        expected: dict[str, Any] = {"m.favourite": {"order": 1}, "u.garden": {}}
        self.assertEqual(await self.tags(), expected)
        phone = await self.hearth.log_in(self.alice)
        await self.hearth.restart()
        [event] = (await phone.sync())["rooms"]["join"][self.room]["account_data"]["events"]
        self.assertEqual(event, {"type": "m.tag", "content": {"tags": expected}})

    async def test_they_are_told_to_the_other_devices_once(self) -> None:
        phone = await self.hearth.log_in(self.alice)
        since = (await phone.sync())["next_batch"]
        await self.alice.ask("PUT", f"{self.path}/u.x", {})
        answer = await phone.sync(since)
        [event] = answer["rooms"]["join"][self.room]["account_data"]["events"]
        self.assertEqual(event["content"], {"tags": {"u.x": {}}})
        await self.alice.ask("PUT", f"{self.path}/u.x", {})
        self.assertNotIn("rooms", await phone.sync(answer["next_batch"]))

    async def test_nobody_else_sees_or_sets_them(self) -> None:
        await self.alice.ask("PUT", f"{self.path}/u.secret", {})
        for method, path in (("GET", ""), ("PUT", "/u.mine"), ("DELETE", "/u.secret")):
            code, answer = await self.bob.call(method, self.path + path)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        self.assertNotIn("secret", str(await self.bob.sync()))
        self.assertEqual(await self.tags(), {"u.secret": {}})

    async def test_a_name_has_255_bytes_and_not_one_more(self) -> None:
        for tag, code in (("x" * 255, 200), ("x" * 256, 400), ("ü" * 127, 200), ("ü" * 128, 400)):
            self.assertEqual((await self.alice.call("PUT", f"{self.path}/{tag}", {}))[0], code)
        self.assertEqual(set(await self.tags()), {"x" * 255, "ü" * 127})
