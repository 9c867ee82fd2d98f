"""Spaces: walking down the tree, and seeing only what is for you."""

from typing import Any

from tests.support import Person, WireTest

VIA = {"via": ["localhost"]}


class HierarchyTest(WireTest):
    """Client-server API, "Discovering rooms within spaces"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def space(self, name: str, **more: Any) -> str:
        wish = {"preset": "public_chat", **more}
        return await self.alice.create_room(name=name, creation_content={"type": "m.space"}, **wish)

    async def room(self, name: str, preset: str = "public_chat") -> str:
        return await self.alice.create_room(name=name, preset=preset)

    async def child(self, space: str, room: str, **more: Any) -> None:
        await self.alice.set_state(space, "m.space.child", {**VIA, **more}, room)

    async def tree(self, who: Person, space: str, **query: Any) -> list[str]:
        path = f"/_matrix/client/v1/rooms/{space}/hierarchy"
        answer = await who.ask("GET", path, query=query)
        self.assertNotIn("next_batch", answer)
        return [room["name"] for room in answer["rooms"]]

    async def refused(self, space: str, **query: Any) -> tuple[int, str]:
        path = f"/_matrix/client/v1/rooms/{space}/hierarchy"
        code, answer = await self.bob.call("GET", path, query=query)
        return code, answer["errcode"]

    async def neighbourhood(self) -> str:
        """A space with a space and rooms in it; in order by name."""
        top, street = await self.space("A top"), await self.space("C street")
        await self.child(top, await self.room("B news"), order="1")
        await self.child(top, street, order="2", suggested=True)
        await self.child(street, await self.room("D house"), suggested=True)
        await self.child(street, await self.room("E garden"))
        await self.child(top, await self.room("F market"))
        return top

    async def test_the_tree_comes_depth_first_in_order(self) -> None:
        top = await self.neighbourhood()
        names = ["A top", "B news", "C street", "D house", "E garden", "F market"]
        self.assertEqual(await self.tree(self.bob, top), names)
        answer = await self.bob.ask("GET", f"/_matrix/client/v1/rooms/{top}/hierarchy")
        first, second = answer["rooms"][:2]
        self.assertEqual((first["room_type"], second.get("room_type")), ("m.space", None))
        self.assertEqual(second["children_state"], [])
        self.assertEqual(first["room_version"], "11")
        orders = [each["content"].get("order") for each in first["children_state"]]
        self.assertEqual(orders, ["1", "2", None])
        self.assertEqual(
            set(first["children_state"][0]),
            {"type", "state_key", "sender", "content", "origin_server_ts"},
        )

    async def test_depth_and_suggestion_cut_the_tree(self) -> None:
        top = await self.neighbourhood()
        self.assertEqual(await self.tree(self.bob, top, max_depth=0), ["A top"])
        names = ["A top", "B news", "C street", "F market"]
        self.assertEqual(await self.tree(self.bob, top, max_depth=1), names)
        names = ["A top", "C street", "D house"]
        self.assertEqual(await self.tree(self.bob, top, suggested_only="true"), names)

    async def test_pages_make_up_the_tree(self) -> None:
        top = await self.neighbourhood()
        whole = await self.tree(self.bob, top)
        for size in (1, 2, 4):
            names: list[str] = []
            query: dict[str, Any] = {"limit": size}
            while True:
                path = f"/_matrix/client/v1/rooms/{top}/hierarchy"
                page = await self.bob.ask("GET", path, query=query)
                self.assertLessEqual(len(page["rooms"]), size)
                names += [room["name"] for room in page["rooms"]]
                if "next_batch" not in page:
                    break
                query["from"] = page["next_batch"]
            self.assertEqual(names, whole)
        token = query["from"]
        for change in ({"max_depth": 3}, {"suggested_only": "true"}, {"from": "h1"}):
            refusal = await self.refused(top, **{"from": token, **change})
            self.assertEqual(refusal, (400, "M_INVALID_PARAM"))

    async def test_bad_questions_are_refused(self) -> None:
        top = await self.space("top")
        for query in (
            {"limit": 0},
            {"limit": -5},
            {"limit": "many"},
            {"max_depth": -1},
            {"max_depth": "1.5"},
            {"suggested_only": "perhaps"},
            {"from": "x"},
            {"from": "h99999999999999_50_all"},
        ):
            self.assertEqual(await self.refused(top, **query), (400, "M_INVALID_PARAM"), query)
        self.assertEqual(await self.refused("!nothing:localhost"), (403, "M_FORBIDDEN"))
        self.assertEqual(await self.refused("nonsense"), (400, "M_INVALID_PARAM"))

    async def test_loops_end(self) -> None:
        one, two, three = await self.space("1"), await self.space("2"), await self.space("3")
        for space, room in ((one, two), (two, three), (three, one), (one, one), (one, three)):
            await self.child(space, room)
        self.assertEqual(await self.tree(self.bob, one), ["1", "2", "3"])

    async def test_a_shorter_way_reaches_further(self) -> None:
        one, two, three = await self.space("1"), await self.space("2"), await self.space("3")
        await self.child(one, two, order="a")
        await self.child(two, three)
        await self.child(one, three, order="b")
        await self.child(three, await self.room("4"))
        self.assertEqual(await self.tree(self.bob, one, max_depth=2), ["1", "2", "3", "4"])

    async def test_nobody_sees_what_is_not_for_them(self) -> None:
        top, hidden = await self.space("top"), await self.space("hidden", preset="private_chat")
        private = await self.room("private", "private_chat")
        invited = await self.room("invited", "private_chat")
        members = await self.room("members", "private_chat")
        knock = await self.room("knock", "private_chat")
        behind = await self.room("behind")
        for number, room in enumerate((hidden, private, invited, members, knock)):
            await self.child(top, room, order=str(number))
        await self.child(hidden, behind)
        await self.alice.ask("POST", f"/rooms/{invited}/invite", {"user_id": self.bob.id})
        await self.alice.set_state(knock, "m.room.join_rules", {"join_rule": "knock"})
        allow = [{"type": "m.room_membership", "room_id": top}]
        await self.alice.set_state(
            members, "m.room.join_rules", {"join_rule": "restricted", "allow": allow}
        )
        self.assertEqual(await self.tree(self.bob, top), ["top", "invited", "knock"])
        await self.bob.join(top)
        self.assertEqual(await self.tree(self.bob, top), ["top", "invited", "members", "knock"])
        whole = ["top", "hidden", "behind", "private", "invited", "members", "knock"]
        self.assertEqual(await self.tree(self.alice, top), whole)
        self.assertEqual(await self.refused(hidden), (403, "M_FORBIDDEN"))
        await self.alice.ask("POST", f"/rooms/{top}/ban", {"user_id": self.bob.id})
        self.assertEqual(await self.refused(top), (403, "M_FORBIDDEN"))

    async def test_odd_children_do_no_harm(self) -> None:
        top = await self.space("top")
        good = await self.room("good")
        for room, content in (
            ("!nowhere:localhost", VIA),
            ("!room:elsewhere.org", VIA),
            ("no room at all", VIA),
            (await self.room("removed"), {}),
            (await self.room("odd"), {"via": "localhost"}),
            (await self.room("empty"), {"via": []}),
            (good, {**VIA, "order": "\n", "suggested": "yes"}),
            (await self.room("better"), {**VIA, "order": 5}),
            (await self.room("best"), {**VIA, "order": "~"}),
        ):
            await self.alice.set_state(top, "m.space.child", content, room)
        child = {"type": "m.space.child", "state_key": "!\0", "content": VIA}
        code, _ = await self.alice.call("POST", "/createRoom", {"initial_state": [child]})
        self.assertEqual(code, 400)
        self.assertEqual(await self.tree(self.bob, top), ["top", "best", "good", "better"])
        self.assertEqual(await self.tree(self.bob, top, suggested_only="true"), ["top"])
        room = await self.room("no space")
        await self.child(room, good)
        self.assertEqual(await self.tree(self.bob, room), ["no space"])

    async def test_the_tree_is_there_after_a_restart(self) -> None:
        top = await self.neighbourhood()
        before = await self.tree(self.alice, top)
        await self.hearth.restart()
        self.assertEqual(await self.tree(self.alice, top), before)
