"""Aliases and the list of rooms (client-server API, "Room aliases", "Published room directory")."""

from typing import Any
from urllib.parse import quote

from tests.support import Person, WireTest

WORLD = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}


class DirectoryCase(WireTest):
    """Alice has rooms that Bob looks for."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def alias(
        self, who: Person, method: str, alias: str, room: str | None = None
    ) -> tuple[int, Any]:
        path = f"/directory/room/{quote(alias, safe='')}"
        code, answer = await who.call(method, path, None if room is None else {"room_id": room})
        return code, answer if code == 200 else answer["errcode"]


class AliasTest(DirectoryCase):
    async def test_what_is_no_alias_is_refused(self) -> None:
        room = await self.alice.create_room()
        for alias in ("no alias", "#:localhost", "#here", "!here:localhost", "#" + "x" * 255):
            for method in ("GET", "PUT", "DELETE"):
                got = await self.alias(self.alice, method, alias, room)
                self.assertEqual(got, (400, "M_INVALID_PARAM"), (method, alias))

    async def test_what_does_not_exist_cannot_be_removed(self) -> None:
        got = await self.alias(self.alice, "DELETE", "#nowhere:localhost")
        self.assertEqual(got, (404, "M_NOT_FOUND"))

    async def test_who_made_an_alias_removes_it_without_any_power_in_the_room(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        bobs, hers = "#bobs:localhost", "#hers:localhost"
        self.assertEqual((await self.alias(self.bob, "PUT", bobs, room))[0], 200)
        self.assertEqual((await self.alias(self.alice, "PUT", hers, room))[0], 200)
        named = {"alias": hers, "alt_aliases": [bobs]}
        await self.alice.set_state(room, "m.room.canonical_alias", named)
        self.assertEqual((await self.alias(self.bob, "DELETE", bobs))[0], 200)
        state = f"/rooms/{room}/state/m.room.canonical_alias"
        self.assertEqual(await self.alice.ask("GET", state), named)  # he may not change that
        self.assertEqual((await self.alias(self.alice, "DELETE", hers))[0], 200)
        self.assertEqual(await self.alice.ask("GET", state), {"alt_aliases": [bobs]})

    async def test_who_may_read_a_room_may_list_its_aliases(self) -> None:
        room = await self.alice.create_room(room_alias_name="open", initial_state=[WORLD])
        answer = await self.bob.ask("GET", f"/rooms/{room}/aliases")
        self.assertEqual(answer, {"aliases": ["#open:localhost"]})


class ListTest(DirectoryCase):
    async def listed(self, who: Person, **wanted: Any) -> list[str]:
        answer = await who.ask("POST", "/publicRooms", {"filter": wanted})
        return [each["room_id"] for each in answer["chunk"]]

    async def test_a_room_is_listed_and_taken_out_again(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        path = f"/directory/list/room/{room}"
        self.assertEqual(await self.bob.ask("GET", path), {"visibility": "private"})
        code, answer = await self.bob.call("PUT", path, {"visibility": "public"})
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        for body, visibility in (
            ({}, "public"),
            ({"visibility": "private"}, "private"),
            ({"visibility": "public"}, "public"),
        ):
            await self.alice.ask("PUT", path, body)
            self.assertEqual(await self.bob.ask("GET", path), {"visibility": visibility})
            expected = [room] if visibility == "public" else []
            self.assertEqual(await self.listed(self.bob), expected)
        await self.hearth.restart()
        self.assertEqual(await self.listed(self.bob), [room])

    async def test_what_is_no_room_is_not_listed(self) -> None:
        path = "/directory/list/room/!nothing:localhost"
        for method in ("GET", "PUT"):
            code, answer = await self.alice.call(method, path, {"visibility": "public"})
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))

    async def test_a_listed_room_says_what_it_is(self) -> None:
        room = await self.alice.create_room(
            visibility="public",
            preset="public_chat",
            name="Garden",
            topic="Tomatoes",
            room_alias_name="green",
            creation_content={"type": "org.example.plants"},
            initial_state=[WORLD, {"type": "m.room.avatar", "content": {"url": "mxc://hs/a"}}],
        )
        await self.bob.join(room)
        for method in ("GET", "POST"):
            answer = await self.bob.ask(method, "/publicRooms")
            [chunk] = answer["chunk"]
            self.assertEqual(
                chunk,
                {
                    "room_id": room,
                    "name": "Garden",
                    "topic": "Tomatoes",
                    "canonical_alias": "#green:localhost",
                    "avatar_url": "mxc://hs/a",
                    "num_joined_members": 2,
                    "world_readable": True,
                    "guest_can_join": False,
                    "join_rule": "public",
                    "room_type": "org.example.plants",
                },
            )
            self.assertEqual(answer["total_room_count_estimate"], 1)

    async def test_rooms_are_found_by_what_they_say_and_by_type(self) -> None:
        wishes: list[dict[str, Any]] = [
            {"name": "Tomato friends"},
            {"topic": "All about TOMATOES"},
            {"room_alias_name": "tomato", "creation_content": {"type": "org.example.plants"}},
            {"name": "Cats", "creation_content": {"type": "m.space"}},
        ]
        rooms = [await self.alice.create_room(visibility="public", **wish) for wish in wishes]
        for wanted, expected in (
            ({"generic_search_term": "tomato"}, rooms[:3]),
            ({"generic_search_term": "cats"}, rooms[3:]),
            ({"generic_search_term": "dogs"}, []),
            ({"room_types": ["m.space"]}, rooms[3:]),
            ({"room_types": [None]}, rooms[:2]),
            ({"room_types": [None, "org.example.plants"]}, rooms[:3]),
            ({"room_types": ["m.space"], "generic_search_term": "tomato"}, []),
            ({}, rooms),
        ):
            self.assertEqual({*await self.listed(self.bob, **wanted)}, {*expected}, wanted)

    async def test_pages_lead_on_and_back_in_one_order(self) -> None:
        rooms = [await self.alice.create_room(visibility="public") for _ in range(5)]
        await self.bob.join(rooms[3])
        whole = await self.listed(self.bob)
        self.assertEqual((whole[0], {*whole}), (rooms[3], {*rooms}))
        seen: list[str] = []
        back: list[list[str]] = []
        query: dict[str, Any] = {"limit": 2}
        while True:
            page = await self.bob.ask("GET", "/publicRooms", query=query)
            seen += [each["room_id"] for each in page["chunk"]]
            if "prev_batch" in page:
                before = {"limit": 2, "since": page["prev_batch"]}
                earlier = await self.bob.ask("GET", "/publicRooms", query=before)
                back.append([each["room_id"] for each in earlier["chunk"]])
            if "next_batch" not in page:
                break
            query["since"] = page["next_batch"]
        self.assertEqual(seen, whole)
        self.assertEqual(back, [whole[:2], whole[2:4]])
