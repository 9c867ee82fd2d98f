"""Reading rooms (client-server API, "Getting events for a room")."""

from typing import Any
from urllib.parse import quote

import orjson

from tests.support import Person, WireTest, bodies


def members_of(answer: dict[str, Any], key: str = "chunk") -> dict[str, str]:
    """The memberships among some events."""
    return {
        event["state_key"]: event["content"]["membership"]
        for event in answer[key]
        if event["type"] == "m.room.member"
    }


class HistoryCase(WireTest):
    """Alice's room, which Bob is in."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")
        self.room = await self.alice.create_room(preset="public_chat", name="Before")
        await self.bob.join(self.room)

    async def get(self, path: str, who: Person | None = None, **query: Any) -> tuple[int, Any]:
        path = f"/rooms/{self.room}/{path}"
        return await (who or self.bob).call("GET", path, query=query)


class StateTest(HistoryCase):
    async def test_state_that_is_not_there_is_not_found(self) -> None:
        for path in ("state/m.room.topic", "state/m.room.name/other", "state/m.room.member/@x:y"):
            code, answer = await self.get(path)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"), path)

    async def test_who_has_left_reads_what_was_there_then(self) -> None:
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        await self.alice.set_state(self.room, "m.room.name", {"name": "After"})
        await self.alice.set_state(self.room, "m.room.topic", {"topic": "After"})
        await self.carol.join(self.room)
        self.assertEqual(await self.get("state/m.room.name"), (200, {"name": "Before"}))
        self.assertEqual((await self.get("state/m.room.topic"))[0], 404)
        _, state = await self.get("state")
        names = [e["content"] for e in state if e["type"] == "m.room.name"]
        self.assertEqual(names, [{"name": "Before"}])
        expected = {self.alice.id: "join", self.bob.id: "leave"}
        self.assertEqual(members_of({"chunk": state}), expected)
        _, members = await self.get("members")
        self.assertEqual(members_of(members), expected)
        self.assertEqual((await self.get("joined_members"))[0], 403)

    async def test_members_are_chosen_by_what_they_are_or_are_not(self) -> None:
        dora, erna = await self.hearth.people("dora", "erna")
        await self.alice.ask("POST", f"/rooms/{self.room}/invite", {"user_id": self.carol.id})
        await self.alice.ask("POST", f"/rooms/{self.room}/ban", {"user_id": dora.id})
        await erna.join(self.room)
        await erna.ask("POST", f"/rooms/{self.room}/leave")
        alice, bob, carol = self.alice.id, self.bob.id, self.carol.id
        for query, expected in (
            ({}, {alice, bob, carol, dora.id, erna.id}),
            ({"membership": "join"}, {alice, bob}),
            ({"membership": "ban"}, {dora.id}),
            ({"not_membership": "leave"}, {alice, bob, carol, dora.id}),
            ({"not_membership": "join"}, {carol, dora.id, erna.id}),
            ({"membership": "join", "not_membership": "ban"}, {alice, bob, carol, erna.id}),
        ):
            _, answer = await self.get("members", **query)
            self.assertEqual(set(members_of(answer)), expected, query)

    async def test_joined_members_are_shown_with_names_and_pictures(self) -> None:
        for key, value in (("displayname", "Bob B."), ("avatar_url", "mxc://localhost/bob")):
            await self.bob.ask("PUT", f"/profile/{self.bob.id}/{key}", {key: value})
        await self.alice.ask("POST", f"/rooms/{self.room}/invite", {"user_id": self.carol.id})
        _, answer = await self.get("joined_members", self.alice)
        shown = {"display_name": "Bob B.", "avatar_url": "mxc://localhost/bob"}
        self.assertEqual(
            answer["joined"], {self.alice.id: {"display_name": "alice"}, self.bob.id: shown}
        )


class VisibilityTest(HistoryCase):
    async def test_a_setting_that_is_none_shows_all_to_whoever_joins(self) -> None:
        """Client-server API, "Room History Visibility": as if it were ``shared``."""
        for content in ({"history_visibility": "odd"}, {"history_visibility": 5}, {}):
            await self.alice.set_state(self.room, "m.room.history_visibility", content)
            said = await self.alice.say(self.room, "early")
            code, _ = await self.get(f"event/{quote(said)}", self.carol)
            self.assertEqual(code, 404)
            await self.carol.join(self.room)
            self.assertEqual((await self.get(f"event/{quote(said)}", self.carol))[0], 200)
            await self.carol.ask("POST", f"/rooms/{self.room}/leave")
            await self.carol.ask("POST", f"/rooms/{self.room}/forget")


class MessagesTest(HistoryCase):
    async def test_a_page_has_ten_unless_it_is_asked_for_more(self) -> None:
        for number in range(12):
            await self.alice.say(self.room, str(number))
        _, page = await self.get("messages", dir="b")
        self.assertEqual(bodies(page["chunk"]), [str(n) for n in range(11, 1, -1)])
        _, page = await self.get("messages", dir="b", limit=3)
        self.assertEqual(bodies(page["chunk"]), ["11", "10", "9"])

    async def test_a_filter_chooses(self) -> None:
        for number in range(3):
            await self.alice.say(self.room, f"a{number}")
            await self.bob.say(self.room, f"b{number}", url="mxc://localhost/x")
            await self.bob.send(self.room, "org.x", {"body": "x"})
        for wanted, expected in (
            ({"senders": [self.alice.id]}, ["a2", "a1", "a0"]),
            ({"types": ["org.*"]}, ["x", "x", "x"]),
            ({"not_types": ["org.x", "m.room.m*"], "not_senders": [self.alice.id]}, []),
            ({"contains_url": True}, ["b2", "b1", "b0"]),
            ({"rooms": ["!other:localhost"]}, []),
            ({"not_rooms": [self.room]}, []),
        ):
            _, page = await self.get(
                "messages", dir="b", limit=20, filter=orjson.dumps(wanted).decode()
            )
            self.assertEqual(bodies(page["chunk"]), expected, wanted)

    async def test_members_come_as_far_as_they_are_needed(self) -> None:
        await self.carol.join(self.room)
        said = await self.bob.say(self.room, "hello")
        lazy = '{"lazy_load_members": true}'
        _, page = await self.get("messages", dir="b", limit=1, filter=lazy)
        self.assertEqual(members_of(page, "state"), {self.bob.id: "join"})
        _, page = await self.get("messages", dir="b", limit=1)
        self.assertEqual(page.get("state", []), [])
        _, context = await self.get(f"context/{quote(said)}", limit=0, filter=lazy)
        self.assertEqual(members_of(context, "state"), {self.bob.id: "join"})
        _, context = await self.get(f"context/{quote(said)}", limit=0)
        self.assertEqual(set(members_of(context, "state")), {p.id for p in self.everybody()})

    def everybody(self) -> tuple[Person, ...]:
        return self.alice, self.bob, self.carol

    async def test_context_has_ten_events_unless_it_is_asked_for_more_or_less(self) -> None:
        ids = [await self.alice.say(self.room, str(number)) for number in range(13)]
        for query, before, after in (
            ({}, "54321", "789"),
            ({"limit": 3}, "54", "7"),
            ({"limit": 0}, "", ""),
            ({"limit": 1_000_000}, "543210", "789"),
        ):
            _, context = await self.get(f"context/{quote(ids[6])}", **query)
            self.assertEqual(bodies([context["event"]]), ["6"])
            self.assertTrue("".join(bodies(context["events_before"])).startswith(before))
            self.assertTrue("".join(bodies(context["events_after"])).startswith(after))
            around = len(context["events_before"]) + len(context["events_after"])
            limit = query.get("limit", 10)
            self.assertTrue(around == limit if limit <= 10 else around > 12, query)

    async def test_a_filter_of_context_holds_for_everything_but_the_event(self) -> None:
        for text in "ab":
            await self.alice.say(self.room, text)
            said = await self.bob.say(self.room, text * 2)
        await self.bob.say(self.room, "c")
        wanted = {"senders": [self.alice.id], "not_types": ["m.room.power_levels"]}
        _, context = await self.get(
            f"context/{quote(said)}", limit=20, filter=orjson.dumps(wanted).decode()
        )
        self.assertEqual(bodies([context["event"]]), ["bb"])
        self.assertEqual(bodies(context["events_before"]), ["b", "a"])
        self.assertEqual(context["events_after"], [])
        self.assertEqual({event["sender"] for event in context["state"]}, {self.alice.id})
        types = {event["type"] for event in context["state"]}
        self.assertIn("m.room.name", types)
        self.assertNotIn("m.room.power_levels", types)

    async def test_context_is_for_those_who_may_see_the_event(self) -> None:
        said = await self.alice.say(self.room, "hello")
        code, answer = await self.get(f"context/{quote(said)}", self.carol)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        later = await self.alice.say(self.room, "later")
        code, answer = await self.get(f"context/{quote(later)}")
        self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))
        _, context = await self.get(f"context/{quote(said)}")
        self.assertNotIn("later", bodies(context["events_after"]))

    async def test_context_comes_with_what_relates_to_it(self) -> None:
        said = await self.alice.say(self.room, "hello")
        relation = {"m.relates_to": {"event_id": said, "rel_type": "m.reference"}}
        vote = await self.bob.send(self.room, "org.x", relation)
        _, context = await self.get(f"context/{quote(said)}")
        bundle = {"m.reference": {"chunk": [{"event_id": vote}]}}
        self.assertEqual(context["event"]["unsigned"]["m.relations"], bundle)

    async def test_a_reply_is_no_relation_of_its_own(self) -> None:
        said = await self.alice.say(self.room, "hello")
        reply = {"m.relates_to": {"m.in_reply_to": {"event_id": said}}}
        await self.bob.say(self.room, "hello you", **reply)
        path = f"/_matrix/client/v1/rooms/{self.room}/relations/{said}"
        self.assertEqual((await self.bob.ask("GET", path))["chunk"], [])
