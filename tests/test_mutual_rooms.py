"""The rooms that two people share."""

import time

import homeserver.clock
from tests.support import WireTest

PATH = "/_matrix/client/v1/mutual_rooms"
OLD_PATH = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"


class MutualRoomsTest(WireTest):
    """Client-server API, "Mutual rooms"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def test_only_rooms_that_both_have_joined(self) -> None:
        rooms = [await self.alice.create_room(preset="public_chat") for _ in range(3)]
        await self.alice.ask("POST", f"/rooms/{rooms[2]}/invite", {"user_id": self.bob.id})
        for room in rooms[:2]:
            await self.bob.join(room)
        await self.bob.create_room()
        query = {"user_id": self.bob.id}
        answer = await self.alice.ask("GET", PATH, query=query)
        self.assertEqual(answer, {"joined": sorted(rooms[:2]), "count": 2})
        answer = await self.alice.ask("GET", OLD_PATH, query=query)
        self.assertEqual(answer, {"joined": sorted(rooms[:2])})
        await self.bob.ask("POST", f"/rooms/{rooms[0]}/leave")
        answer = await self.alice.ask("GET", PATH, query=query)
        self.assertEqual(answer, {"joined": [rooms[1]], "count": 1})

    async def test_pages_make_up_all_of_them_however_late_the_next_is_asked_for(self) -> None:
        rooms = [await self.alice.create_room(preset="public_chat") for _ in range(103)]
        for room in rooms:
            await self.bob.join(room)
        for path, sent, given in (
            (PATH, "from", "next_batch"),
            (OLD_PATH, "batch_token", "next_batch_token"),
        ):
            first = await self.alice.ask("GET", path, query={"user_id": self.bob.id})
            self.assertEqual(len(first["joined"]), 100)
            later = time.time() + 11 * 60
            self.patch(homeserver.clock, "time", lambda moment=later: moment)
            query = {"user_id": self.bob.id, sent: first[given]}
            second = await self.alice.ask("GET", path, query=query)
            self.assertNotIn(given, second)
            self.assertEqual(first["joined"] + second["joined"], sorted(rooms))

    async def test_strangers_share_nothing_and_nonsense_is_refused(self) -> None:
        for user_id in ("@nobody:localhost", "@bob:elsewhere.org"):
            answer = await self.alice.ask("GET", PATH, query={"user_id": user_id})
            self.assertEqual(answer, {"joined": [], "count": 0})
        bob = self.bob.id
        for query, errcode in (
            ({}, "M_MISSING_PARAM"),
            ({"user_id": "bob"}, "M_INVALID_PARAM"),
            ({"user_id": self.alice.id}, "M_INVALID_PARAM"),
            ({"user_id": bob, "from": "5"}, "M_INVALID_PARAM"),
        ):
            code, answer = await self.alice.call("GET", PATH, query=query)
            self.assertEqual((code, answer["errcode"]), (400, errcode), query)
