"""Ignoring people: what they send is not shown, wherever one looks, and nothing is lost."""

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from tests.search_case import ids, search
from tests.support import Person, WireTest, bodies, timeline


class IgnoringCase(WireTest):
    """Alice, Bob and Mallory in the street's room; Bob has had enough of Mallory."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.mallory = await self.hearth.people("alice", "bob", "mallory")
        levels = {"users": {self.mallory.id: 50, self.alice.id: 100}}
        self.room = await self.alice.create_room(
            preset="public_chat", power_level_content_override=levels
        )
        await self.bob.join(self.room)
        await self.mallory.join(self.room)

    async def ignore(self, *others: Person) -> None:
        """As Bob, ignore these and nobody else."""
        content = {"ignored_users": {other.id: {} for other in others}}
        path = f"/user/{self.bob.id}/account_data/m.ignored_user_list"
        await self.bob.ask("PUT", path, content)

    async def refusal(self, method: str, path: str, body: Any = None) -> tuple[int, str | None]:
        code, answer = await self.bob.call(method, path, body)
        return code, answer.get("errcode")

    async def read(self, **query: Any) -> list[str]:
        """What Bob finds in the room's past, newest first."""
        return bodies((await self.bob.messages(self.room, **query))["chunk"])


class SyncTest(IgnoringCase):
    """Client-server API, "Ignoring Users"."""

    async def test_messages_stay_away_at_once_on_every_device_and_state_comes(self) -> None:
        phone = await self.hearth.log_in(self.bob)
        tokens = [(await device.sync())["next_batch"] for device in (self.bob, phone)]
        waiting: Deferred[dict[str, Any]] = ensureDeferred(phone.sync(tokens[1], timeout=30_000))
        await self.ignore(self.mallory)
        tokens[1] = (await waiting)["next_batch"]
        waiting = ensureDeferred(phone.sync(tokens[1], timeout=30_000))
        await self.mallory.say(self.room, "boo")
        await self.mallory.set_state(self.room, "m.room.topic", {"topic": "Ghosts"})
        section = (await waiting)["rooms"]["join"][self.room]
        self.assertEqual([e["type"] for e in section["timeline"]["events"]], ["m.room.topic"])
        self.assertFalse(section["timeline"]["limited"])
        await self.alice.say(self.room, "Good morning")
        await self.hearth.restart()
        for device, token in ((self.bob, tokens[0]), (phone, tokens[1]), (self.bob, None)):
            answer = await device.sync(token)
            self.assertEqual(bodies(timeline(answer, self.room)), ["Good morning"])
            types = [event["type"] for event in timeline(answer, self.room)]
            self.assertIn("m.room.topic", types)
        answer = await self.mallory.sync()
        self.assertEqual(bodies(timeline(answer, self.room)), ["boo", "Good morning"])

    async def test_their_words_alone_wake_nobody(self) -> None:
        await self.ignore(self.mallory)
        token = (await self.bob.sync())["next_batch"]
        waiting: Deferred[dict[str, Any]] = ensureDeferred(self.bob.sync(token, timeout=30_000))
        await self.mallory.say(self.room, "boo")
        await self.mallory.create_room(invite=[self.bob.id])
        answer = await self.bob.sync(token)
        self.assertNotIn("rooms", answer)
        self.assertFalse(waiting.called)
        await self.alice.say(self.room, "Hello")
        self.assertEqual(bodies(timeline(await waiting, self.room)), ["Hello"])

    async def test_a_gap_is_one_all_the_same(self) -> None:
        await self.ignore(self.mallory)
        token = (await self.bob.sync())["next_batch"]
        for number in range(3):
            await self.alice.say(self.room, str(number))
            await self.mallory.say(self.room, "boo")
        answer = await self.bob.sync(token, filter={"room": {"timeline": {"limit": 2}}})
        section = answer["rooms"]["join"][self.room]["timeline"]
        self.assertEqual((bodies(section["events"]), section["limited"]), (["1", "2"], True))
        self.assertEqual(await self.read(**{"from": section["prev_batch"], "limit": 1}), ["0"])

    async def test_what_is_bundled_beside_a_gap_is_without_them(self) -> None:
        await self.ignore(self.mallory)
        token = (await self.bob.sync())["next_batch"]
        await self.alice.say(self.room, "zero")
        said = await self.alice.say(self.room, "one")
        about = {"m.relates_to": {"rel_type": "m.reference", "event_id": said}}
        await self.mallory.say(self.room, "boo", **about)
        hers = await self.alice.say(self.room, "two", **about)
        answer = await self.bob.sync(token, filter={"room": {"timeline": {"limit": 2}}})
        section = answer["rooms"]["join"][self.room]["timeline"]
        self.assertTrue(section["limited"])
        bundled = section["events"][0]["unsigned"]["m.relations"]["m.reference"]
        self.assertEqual(bundled, {"chunk": [{"event_id": hers}]})

    async def test_who_is_ignored_no_more_is_heard_again(self) -> None:
        await self.ignore(self.mallory, self.alice)
        token = (await self.bob.sync())["next_batch"]
        await self.mallory.say(self.room, "one")
        token = (await self.bob.sync(token))["next_batch"]
        await self.ignore(self.alice)
        token = (await self.bob.sync(token))["next_batch"]
        await self.mallory.say(self.room, "two")
        await self.alice.say(self.room, "three")
        answer = await self.bob.sync(token)
        self.assertEqual(bodies(timeline(answer, self.room)), ["two"])
        await self.bob.ask("PUT", f"/user/{self.bob.id}/account_data/m.ignored_user_list", {})
        answer = await self.bob.sync()
        self.assertEqual(bodies(timeline(answer, self.room)), ["one", "two", "three"])

    async def test_receipts_typing_and_presence_stay_away(self) -> None:
        await self.ignore(self.mallory)
        token = (await self.bob.sync())["next_batch"]
        event_id = await self.alice.say(self.room, "Hello")
        for person in (self.alice, self.mallory):
            await person.ask("POST", f"/rooms/{self.room}/receipt/m.read/{event_id}")
            path = f"/rooms/{self.room}/typing/{person.id}"
            await person.ask("PUT", path, {"typing": True})
            path = f"/presence/{person.id}/status"
            await person.ask("PUT", path, {"presence": "unavailable"})
        for since in (token, None):
            answer = await self.bob.sync(since)
            ephemeral = answer["rooms"]["join"][self.room]["ephemeral"]["events"]
            contents = {event["type"]: event["content"] for event in ephemeral}
            self.assertEqual(contents["m.typing"], {"user_ids": [self.alice.id]})
            self.assertEqual(list(contents["m.receipt"][event_id]["m.read"]), [self.alice.id])
            present = {event["sender"] for event in answer["presence"]["events"]}
            self.assertIn(self.alice.id, present)
            self.assertNotIn(self.mallory.id, present)
        answer = await self.alice.sync()
        ephemeral = answer["rooms"]["join"][self.room]["ephemeral"]["events"]
        self.assertIn(
            {self.alice.id, self.mallory.id},
            [set(event["content"].get("user_ids", ())) for event in ephemeral],
        )

    async def test_their_messages_bring_no_hidden_room_back(self) -> None:
        await self.ignore(self.mallory)
        await self.bob.ask("PUT", f"/_hearth/client/v1/hidden_rooms/{self.room}")
        await self.mallory.say(self.room, "boo")
        self.assertNotIn("rooms", await self.bob.sync())
        await self.alice.say(self.room, "Hello")
        self.assertIn(self.room, (await self.bob.sync())["rooms"]["join"])

    async def test_the_old_ways_to_sync_do_the_same(self) -> None:
        await self.ignore(self.mallory)
        start = (await self.bob.ask("GET", "/events", query={"timeout": 0}))["end"]
        await self.mallory.say(self.room, "boo")
        await self.mallory.create_room(invite=[self.bob.id])
        await self.alice.say(self.room, "Hello")
        query = {"from": start, "timeout": 0}
        answer = await self.bob.ask("GET", "/events", query=query)
        self.assertEqual(bodies(answer["chunk"]), ["Hello"])
        self.assertEqual(len(answer["chunk"]), 1)
        answer = await self.bob.ask("GET", "/initialSync", query={"limit": 20})
        [room] = answer["rooms"]
        self.assertEqual(bodies(room["messages"]["chunk"]), ["Hello"])
        answer = await self.bob.ask("GET", f"/rooms/{self.room}/initialSync")
        self.assertEqual(bodies(answer["messages"]["chunk"]), ["Hello"])


class InviteTest(IgnoringCase):
    """ "Servers must not send room invites from ignored users to clients." """

    async def test_invites_are_not_shown_until_they_are_ignored_no_more(self) -> None:
        await self.ignore(self.mallory)
        token = (await self.bob.sync())["next_batch"]
        room = await self.mallory.create_room(invite=[self.bob.id])
        for since in (token, None):
            self.assertNotIn("invite", (await self.bob.sync(since)).get("rooms", {}))
        self.assertEqual((await self.bob.ask("GET", "/notifications"))["notifications"], [])
        other = await self.alice.create_room(invite=[self.bob.id])
        self.assertEqual(list((await self.bob.sync(token))["rooms"]["invite"]), [other])
        await self.ignore()
        shown = (await self.bob.sync())["rooms"]["invite"]
        self.assertEqual(set(shown), {room, other})
        await self.bob.join(room)


class ReadingTest(IgnoringCase):
    """Every way to read what has been said."""

    async def setUp(self) -> None:
        await super().setUp()
        self.first = await self.alice.say(self.room, "Hello")
        self.boo = await self.mallory.say(self.room, "boo")
        self.last = await self.alice.say(self.room, "Good night")
        await self.ignore(self.mallory)

    async def test_messages_context_and_single_events(self) -> None:
        self.assertEqual(await self.read(), ["Good night", "Hello"])
        missing = (404, "M_NOT_FOUND")
        self.assertEqual(await self.refusal("GET", f"/rooms/{self.room}/event/{self.boo}"), missing)
        self.assertEqual(
            await self.refusal("GET", f"/rooms/{self.room}/context/{self.boo}"), missing
        )
        self.assertEqual(await self.refusal("GET", f"/events/{self.boo}"), missing)
        answer = await self.bob.ask("GET", f"/rooms/{self.room}/context/{self.first}")
        self.assertEqual(bodies(answer["events_after"]), ["Good night"])
        answer = await self.bob.ask("GET", f"/rooms/{self.room}/context/{self.last}")
        self.assertEqual(bodies(answer["events_before"]), ["Hello"])
        topic = await self.mallory.set_state(self.room, "m.room.topic", {"topic": "Ghosts"})
        await self.bob.ask("GET", f"/rooms/{self.room}/event/{topic}")

    async def test_the_event_of_a_moment_is_one_that_can_be_read(self) -> None:
        first, boo, last = [
            (await self.mallory.ask("GET", f"/rooms/{self.room}/event/{event_id}"))[
                "origin_server_ts"
            ]
            for event_id in (self.first, self.boo, self.last)
        ]
        path = f"/_matrix/client/v1/rooms/{self.room}/timestamp_to_event"
        for direction, expected in (
            # Several events may come in one millisecond.
            ("f", self.first if first == boo else self.last),
            ("b", self.last if last == boo else self.first),
        ):
            query = {"ts": boo, "dir": direction}
            answer = await self.bob.ask("GET", path, query=query)
            self.assertEqual(answer["event_id"], expected)

    async def test_relations_leave_them_out(self) -> None:
        about: dict[str, Any] = {"rel_type": "m.reference", "event_id": self.first}
        await self.mallory.say(self.room, "mine", **{"m.relates_to": about})
        hers = await self.alice.say(self.room, "hers", **{"m.relates_to": about})
        path = f"/_matrix/client/v1/rooms/{self.room}/relations/{self.first}"
        for recurse in ("true", "false"):
            answer = await self.bob.ask("GET", path, query={"recurse": recurse})
            self.assertEqual(bodies(answer["chunk"]), ["hers"])
        event = await self.bob.ask("GET", f"/rooms/{self.room}/event/{self.first}")
        chunk = event["unsigned"]["m.relations"]["m.reference"]["chunk"]
        self.assertEqual(chunk, [{"event_id": hers}])

    async def test_searches_find_the_words_of_others(self) -> None:
        found = await search(self.bob, "boo")
        self.assertEqual((ids(found), found["count"]), ([], 0))
        self.assertEqual(ids(await search(self.alice, "boo")), [self.boo])
        found = await search(self.bob, "night", event_context={"before_limit": 5})
        [result] = found["results"]
        self.assertEqual(bodies(result["context"]["events_before"])[-1:], ["Hello"])
        topic = await self.mallory.set_state(self.room, "m.room.topic", {"topic": "Boo"})
        self.assertEqual(ids(await search(self.bob, "boo")), [topic])

    async def test_threads_are_summed_up_without_them(self) -> None:
        thread: dict[str, Any] = {"rel_type": "m.thread", "event_id": self.first}
        more = {"m.relates_to": thread}
        await self.mallory.say(self.room, "one", **more)
        path = f"/_matrix/client/v1/rooms/{self.room}/threads"
        self.assertEqual((await self.bob.ask("GET", path))["chunk"], [])
        await self.alice.say(self.room, "two", **more)
        await self.mallory.say(self.room, "three", **more)
        [root] = (await self.bob.ask("GET", path))["chunk"]
        summary = root["unsigned"]["m.relations"]["m.thread"]
        self.assertEqual(summary["count"], 1)
        self.assertEqual(summary["latest_event"]["content"]["body"], "two")
        [root] = (await self.alice.ask("GET", path))["chunk"]
        self.assertEqual(root["unsigned"]["m.relations"]["m.thread"]["count"], 3)

    async def test_a_thread_that_they_began_has_a_root_without_content(self) -> None:
        thread: dict[str, Any] = {"rel_type": "m.thread", "event_id": self.boo}
        await self.alice.say(self.room, "Go away", **{"m.relates_to": thread})
        path = f"/_matrix/client/v1/rooms/{self.room}"
        [root] = (await self.bob.ask("GET", f"{path}/threads"))["chunk"]
        self.assertEqual((root["event_id"], root["content"]), (self.boo, {}))
        self.assertEqual(root["unsigned"]["m.relations"]["m.thread"]["count"], 1)
        answer = await self.bob.ask("GET", f"{path}/relations/{self.boo}/m.thread")
        self.assertEqual(bodies(answer["chunk"]), ["Go away"])


class UnreadTest(IgnoringCase):
    """Counts and the list of notifications."""

    async def counts(self) -> tuple[int, int]:
        joined = (await self.bob.sync())["rooms"]["join"][self.room]
        counts = joined["unread_notifications"]
        return counts["notification_count"], counts["highlight_count"]

    async def listed(self) -> list[str]:
        found = (await self.bob.ask("GET", "/notifications"))["notifications"]
        return bodies([each["event"] for each in found])

    async def test_nothing_of_theirs_counts_neither_old_nor_new(self) -> None:
        mention = {"m.mentions": {"user_ids": [self.bob.id]}}
        await self.mallory.say(self.room, "one", **mention)
        await self.alice.say(self.room, "two")
        self.assertEqual(await self.counts(), (2, 1))
        await self.ignore(self.mallory)
        self.assertEqual(await self.counts(), (1, 0))
        await self.mallory.say(self.room, "three", **mention)
        self.assertEqual(await self.counts(), (1, 0))
        self.assertEqual(await self.listed(), ["two"])
        await self.hearth.restart()
        self.assertEqual(await self.counts(), (1, 0))
        await self.ignore()
        self.assertEqual(await self.counts(), (3, 2))
        self.assertEqual(await self.listed(), ["three", "two", "one"])


class ListTest(IgnoringCase):
    """What a list may look like."""

    async def test_what_is_no_list_ignores_nobody(self) -> None:
        path = f"/user/{self.bob.id}/account_data/m.ignored_user_list"
        in_room = f"/user/{self.bob.id}/rooms/{self.room}/account_data/m.ignored_user_list"
        await self.mallory.say(self.room, "boo")
        listed = {"ignored_users": {self.mallory.id: {}}}
        for where, content in (
            (path, {"ignored_users": [self.mallory.id]}),
            (path, {"ignored_users": None}),
            (path, {}),
            (in_room, listed),
        ):
            await self.bob.ask("PUT", where, content)
            self.assertEqual(await self.read(limit=1), ["boo"])
        await self.bob.ask("PUT", path, {"ignored_users": {self.mallory.id: None, "nobody": 5}})
        self.assertEqual(await self.read(), [])

    async def test_nobody_ignores_themselves(self) -> None:
        await self.ignore(self.bob)
        await self.bob.say(self.room, "Hello")
        self.assertEqual(await self.read(limit=1), ["Hello"])

    async def test_a_list_has_its_bounds(self) -> None:
        path = f"/user/{self.bob.id}/account_data/m.ignored_user_list"
        for count, refusal in ((5000, (200, None)), (5001, (413, "M_TOO_LARGE"))):
            names = {f"@person{number}:localhost": {} for number in range(count)}
            self.assertEqual(await self.refusal("PUT", path, {"ignored_users": names}), refusal)
        await self.alice.say(self.room, "Hello")
        self.assertEqual(await self.read(limit=1), ["Hello"])
        answer = await self.bob.ask("GET", "/notifications")
        self.assertEqual(bodies([each["event"] for each in answer["notifications"]]), ["Hello"])
        root = f"/_matrix/client/v1/rooms/{self.room}/threads"
        self.assertEqual((await self.bob.ask("GET", root))["chunk"], [])
