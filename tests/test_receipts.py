"""Receipts and read markers: how far somebody has read, in a room and in each thread."""

from typing import Any

from tests.support import Person, WireTest

Json = dict[str, Any]


def receipts_in(sync: Json, room: str) -> list[Json]:
    """The contents of the receipt events of a room in an answer of /sync."""
    events = sync.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {})
    return [e["content"] for e in events.get("events", []) if e["type"] == "m.receipt"]


class ReceiptsCase(WireTest):
    """Alice, Bob and Carol in a room."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")
        self.room = await self.alice.create_room(preset="public_chat")
        for person in (self.bob, self.carol):
            await person.join(self.room)

    async def read(
        self, who: Person, event_id: str, kind: str = "m.read", thread: str | None = None
    ) -> None:
        body = {} if thread is None else {"thread_id": thread}
        await who.ask("POST", f"/rooms/{self.room}/receipt/{kind}/{event_id}", body)

    async def in_thread(self, who: Person, root: str, text: str) -> str:
        relation = {"rel_type": "m.thread", "event_id": root}
        return await who.say(self.room, text, **{"m.relates_to": relation})

    def places(self, sync: Json) -> set[tuple[str, str, str | None]]:
        """Who has read up to which event, and in which thread."""
        return {
            (user_id, event_id, receipt.get("thread_id"))
            for content in receipts_in(sync, self.room)
            for event_id, kinds in content.items()
            for user_id, receipt in kinds["m.read"].items()
        }

    async def unread(self, who: Person) -> int:
        section = (await who.sync())["rooms"]["join"][self.room]
        count: int = section["unread_notifications"]["notification_count"]
        return count


class ReceiptsTest(ReceiptsCase):
    """Client-server API, "Receipts"."""

    async def test_one_event_tells_of_everybody(self) -> None:
        events = [await self.alice.say(self.room, text) for text in "abc"]
        since = (await self.alice.sync())["next_batch"]
        await self.read(self.bob, events[0])
        await self.read(self.carol, events[1])
        await self.read(self.bob, events[2])
        for token in (since, None):
            [content] = receipts_in(await self.alice.sync(token), self.room)
            self.assertEqual(set(content), {events[1], events[2]})
            self.assertEqual(list(content[events[2]]["m.read"]), [self.bob.id])
            self.assertEqual(list(content[events[1]]["m.read"]), [self.carol.id])

    async def test_places_in_threads_and_in_the_room_stand_beside_each_other(self) -> None:
        one, two, three, four = [await self.alice.say(self.room, text) for text in "abcd"]
        reply = await self.in_thread(self.alice, one, "reply")
        bob = self.bob.id
        for event_id, thread in ((one, None), (two, "main"), (reply, one)):
            await self.read(self.bob, event_id, thread=thread)
        beside = {(bob, one, None), (bob, two, "main"), (bob, reply, one)}
        self.assertEqual(self.places(await self.alice.sync()), beside)
        await self.read(self.bob, three)
        await self.read(self.bob, four, thread="main")
        moved = {(bob, three, None), (bob, four, "main"), (bob, reply, one)}
        self.assertEqual(self.places(await self.alice.sync()), moved)
        await self.hearth.restart()
        self.assertEqual(self.places(await self.alice.sync()), moved)
        await self.read(self.bob, four)
        both = {(bob, four, None), (bob, four, "main"), (bob, reply, one)}
        self.assertEqual(self.places(await self.alice.sync()), both)

    async def test_a_receipt_fits_its_thread(self) -> None:
        root, plain = [await self.alice.say(self.room, text) for text in "ab"]
        reply = await self.in_thread(self.alice, root, "reply")
        relation = {"rel_type": "m.annotation", "event_id": reply, "key": "+"}
        reaction = await self.alice.send(self.room, "m.reaction", {"m.relates_to": relation})
        relation = {"rel_type": "m.reference", "event_id": root}
        about = await self.alice.send(self.room, "org.x", {"m.relates_to": relation})
        for kind, event_id, thread in (
            ("m.read", plain, ""),
            ("m.read", plain, 5),
            ("m.read", plain, "nonsense"),
            ("m.read", plain, root),
            ("m.read", reply, "main"),
            ("m.read", reply, plain),
            ("m.read.private", reaction, "main"),
            ("m.read.private", about, root),
            ("m.fully_read", plain, "main"),
        ):
            path = f"/rooms/{self.room}/receipt/{kind}/{event_id}"
            code, answer = await self.bob.call("POST", path, {"thread_id": thread})
            self.assertEqual((code, answer["errcode"][:2]), (400, "M_"), (kind, thread))
        self.assertEqual(receipts_in(await self.bob.sync(), self.room), [])
        for event_id, thread in ((root, "main"), (about, "main"), (reply, root), (reaction, root)):
            await self.read(self.bob, event_id, thread=thread)
        expected = {(self.bob.id, about, "main"), (self.bob.id, reaction, root)}
        self.assertEqual(self.places(await self.bob.sync()), expected)
        await self.read(self.carol, root, thread=root)

    async def test_what_is_no_receipt_is_refused(self) -> None:
        event_id = await self.alice.say(self.room, "a")
        other = await self.alice.create_room()
        stranger = await self.hearth.person("stranger")
        for who, room, kind, event, refusal in (
            (self.bob, self.room, "m.seen", event_id, (400, "M_INVALID_PARAM")),
            (self.bob, self.room, "m.read", "$nothing", (404, "M_NOT_FOUND")),
            (self.alice, other, "m.read", event_id, (404, "M_NOT_FOUND")),
            (stranger, self.room, "m.read", event_id, (403, "M_FORBIDDEN")),
        ):
            code, answer = await who.call("POST", f"/rooms/{room}/receipt/{kind}/{event}")
            self.assertEqual((code, answer["errcode"]), refusal, kind)

    async def test_of_two_receipts_the_one_that_is_further_ahead_counts(self) -> None:
        a, b, c, d = [await self.alice.say(self.room, text) for text in "abcd"]
        self.assertEqual(await self.unread(self.bob), 4)
        for kind, event_id, left in (
            ("m.read.private", a, 3),
            ("m.read", c, 1),
            ("m.read.private", b, 1),
            ("m.read.private", d, 0),
        ):
            await self.read(self.bob, event_id, kind)
            self.assertEqual(await self.unread(self.bob), left, (kind, event_id))
        await self.hearth.restart()
        self.assertEqual(await self.unread(self.bob), 0)

    async def test_a_public_receipt_behind_the_private_one_is_seen_by_the_others(self) -> None:
        a, b = [await self.alice.say(self.room, text) for text in "ab"]
        await self.read(self.bob, b, "m.read.private")
        await self.read(self.bob, a)
        [content] = receipts_in(await self.alice.sync(), self.room)
        self.assertEqual((set(content), set(content[a])), ({a}, {"m.read"}))
        self.assertEqual(await self.unread(self.bob), 0)


class MarkersTest(ReceiptsCase):
    """Client-server API, "Read and unread markers"."""

    async def test_they_do_what_receipts_do(self) -> None:
        a, b, c = [await self.alice.say(self.room, text) for text in "abc"]
        phone = await self.hearth.log_in(self.bob)
        since = (await phone.sync())["next_batch"]
        marks = {"m.fully_read": a, "m.read": b, "m.read.private": c}
        await self.bob.ask("POST", f"/rooms/{self.room}/read_markers", marks)
        self.assertEqual(self.places(await self.alice.sync()), {(self.bob.id, b, None)})
        answer = await phone.sync(since)
        [own] = receipts_in(answer, self.room)
        self.assertEqual({event: list(kinds) for event, kinds in own.items()},
                         {b: ["m.read"], c: ["m.read.private"]})  # fmt: skip
        section = answer["rooms"]["join"][self.room]
        fully_read = {"type": "m.fully_read", "content": {"event_id": a}}
        self.assertEqual(section["account_data"]["events"], [fully_read])
        self.assertEqual(await self.unread(self.bob), 0)
        self.assertNotIn("account_data", str(await self.alice.sync(since)))

    async def test_the_marker_can_be_moved_alone_by_either_endpoint(self) -> None:
        a, b = [await self.alice.say(self.room, text) for text in "ab"]
        path = f"/user/{self.bob.id}/rooms/{self.room}/account_data/m.fully_read"
        await self.bob.ask("POST", f"/rooms/{self.room}/read_markers", {"m.fully_read": a})
        self.assertEqual(await self.bob.ask("GET", path), {"event_id": a})
        await self.read(self.bob, b, "m.fully_read")
        self.assertEqual(await self.bob.ask("GET", path), {"event_id": b})
        self.assertEqual(await self.unread(self.bob), 2)
        self.assertEqual(receipts_in(await self.bob.sync(), self.room), [])

    async def test_one_mark_that_is_wrong_moves_none(self) -> None:
        a = await self.alice.say(self.room, "a")
        marks = {"m.fully_read": a, "m.read": "$nothing"}
        code, answer = await self.bob.call("POST", f"/rooms/{self.room}/read_markers", marks)
        self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))
        path = f"/user/{self.bob.id}/rooms/{self.room}/account_data/m.fully_read"
        self.assertEqual((await self.bob.call("GET", path))[0], 404)
