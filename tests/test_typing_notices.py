"""Typing notices: who is typing, told to those who are in the room and to nobody else."""

from typing import Any

from tests.support import Person, WireTest


class TypingTest(WireTest):
    """Client-server API, "Typing Notifications"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)

    async def types(self, who: Person, typing: bool = True, **more: Any) -> None:
        body = {"typing": typing, **more}
        await who.ask("PUT", f"/rooms/{self.room}/typing/{who.id}", body)

    async def told(self, who: Person, since: str | None = None) -> tuple[list[Any], str]:
        """The lists of who is typing in an answer of /sync."""
        answer = await who.sync(since)
        section = answer.get("rooms", {}).get("join", {}).get(self.room, {})
        events = section.get("ephemeral", {}).get("events", [])
        lists = [e["content"]["user_ids"] for e in events if e["type"] == "m.typing"]
        return lists, answer["next_batch"]

    async def test_each_notice_names_everybody_who_is_typing(self) -> None:
        _, token = await self.told(self.alice)
        for work, expected in (
            (lambda: self.types(self.bob), [self.bob.id]),
            (lambda: self.types(self.alice), [self.alice.id, self.bob.id]),
            (lambda: self.types(self.bob, False), [self.alice.id]),
            (lambda: self.types(self.alice, False), []),
        ):
            await work()
            [names], token = await self.told(self.alice, token)
            self.assertEqual(names, expected)
        self.assertEqual((await self.told(self.alice, token))[0], [])

    async def test_who_goes_on_typing_is_no_news_and_types_for_the_new_time(self) -> None:
        _, token = await self.told(self.alice)
        await self.types(self.bob, timeout=60_000)
        _, token = await self.told(self.alice, token)
        await self.types(self.bob, timeout=60_000)
        self.assertEqual((await self.told(self.alice, token))[0], [])
        await self.types(self.bob, timeout=50)
        answer = await self.alice.sync(token, timeout=10_000)
        [event] = answer["rooms"]["join"][self.room]["ephemeral"]["events"]
        self.assertEqual(event["content"], {"user_ids": []})

    async def test_who_comes_sees_who_is_typing(self) -> None:
        await self.types(self.bob)
        since = (await self.carol.sync())["next_batch"]
        self.assertEqual((await self.told(self.carol, since))[0], [])
        await self.carol.join(self.room)
        for token in (since, None):
            self.assertEqual((await self.told(self.carol, token))[0], [[self.bob.id]])

    async def test_nobody_types_for_somebody_else_or_outside(self) -> None:
        for who, user_id in ((self.bob, self.alice.id), (self.carol, self.carol.id)):
            path = f"/rooms/{self.room}/typing/{user_id}"
            code, answer = await who.call("PUT", path, {"typing": True})
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        self.assertEqual((await self.told(self.bob))[0], [])
