"""Jumping to a date: the closest event, as far as it may be seen."""

from typing import Any

from tests.support import Person, WireTest


class TimestampsTest(WireTest):
    """Client-server API, ``timestamp_to_event``."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def closest(self, who: Person, room: str, **query: Any) -> Any:
        path = f"/_matrix/client/v1/rooms/{room}/timestamp_to_event"
        return await who.call("GET", path, query=query)

    async def dated(self, room: str, dates: dict[str, int]) -> None:
        """Give events other times, as a bridge may that brings old messages."""

        def work(txn: Any) -> None:
            for event_id, ts in dates.items():
                txn.run("UPDATE events SET origin_server_ts = ? WHERE event_id = ?", ts, event_id)

        await self.hearth.app.storage.store.write(work)

    async def test_the_closest_event_on_either_side_is_found(self) -> None:
        room = await self.alice.create_room()
        one, two, three, four = [await self.alice.say(room, str(n)) for n in range(4)]
        await self.dated(room, {one: 1000, two: 3000, three: 2000, four: 2000})
        for ts, dir, expected in (
            (0, "f", one),
            (1000, "f", one),
            (1001, "f", three),
            (2000, "f", three),
            (2001, "f", two),
            (2000, "b", four),
            (2999, "b", four),
            (3000, "b", two),
            (1500, "b", one),
        ):
            code, answer = await self.closest(self.alice, room, ts=ts, dir=dir)
            self.assertEqual((code, answer["event_id"]), (200, expected), (ts, dir))
        self.assertEqual(answer["origin_server_ts"], 1000)
        for ts, dir in ((999, "b"), (-5, "b"), (2**53 - 1, "f"), (10**30, "f")):
            code, answer = await self.closest(self.alice, room, ts=ts, dir=dir)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"), (ts, dir))

    async def test_what_may_not_be_seen_is_stepped_over(self) -> None:
        room = await self.alice.create_room(
            preset="public_chat",
            initial_state=[
                {
                    "type": "m.room.history_visibility",
                    "state_key": "",
                    "content": {"history_visibility": "joined"},
                }
            ],
        )
        secret = await self.alice.say(room, "before Bob")
        code, answer = await self.closest(self.bob, room, ts=0, dir="f")
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        await self.bob.join(room)
        first = await self.alice.say(room, "hello Bob")
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        gone = [await self.alice.say(room, f"without Bob {n}") for n in range(120)]
        await self.bob.join(room)
        last = await self.alice.say(room, "hello again")
        await self.dated(room, {secret: 1, first: 2, last: 5000})
        await self.dated(room, {event_id: 10 + n for n, event_id in enumerate(gone)})
        for ts, dir, expected in ((0, "f", first), (3, "f", last), (4000, "b", first)):
            code, answer = await self.closest(self.bob, room, ts=ts, dir=dir)
            self.assertEqual((code, answer.get("event_id")), (200, expected), (ts, dir))
        _, answer = await self.closest(self.alice, room, ts=3, dir="f")
        self.assertEqual(answer["event_id"], gone[0])

    async def test_bad_questions_are_refused(self) -> None:
        room = await self.alice.create_room()
        for query, refusal in (
            ({"dir": "f"}, (400, "M_MISSING_PARAM")),
            ({"ts": 5}, (400, "M_MISSING_PARAM")),
            ({"ts": "noon", "dir": "f"}, (400, "M_INVALID_PARAM")),
            ({"ts": 5, "dir": "x"}, (400, "M_INVALID_PARAM")),
        ):
            code, answer = await self.closest(self.alice, room, **query)
            self.assertEqual((code, answer["errcode"]), refusal, query)
        for other, expected in (("!no:localhost", 403), ("!no:elsewhere.org", 404), ("no", 400)):
            code, answer = await self.closest(self.alice, other, ts=5, dir="f")
            self.assertEqual(code, expected)
