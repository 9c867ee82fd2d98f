"""Edits, threads, references and reactions: what the server makes of related events."""

from typing import Any

from tests.support import Person, WireTest, timeline

V1 = "/_matrix/client/v1"


def relation(event_id: str, rel_type: str, **more: Any) -> dict[str, Any]:
    """The part of a content that relates to an event."""
    return {"m.relates_to": {"event_id": event_id, "rel_type": rel_type, **more}}


async def edit(person: Person, room: str, event_id: str, text: str) -> str:
    """Correct a message."""
    new = {"msgtype": "m.text", "body": text}
    more = {"m.new_content": new, **relation(event_id, "m.replace")}
    return await person.say(room, f"* {text}", **more)


async def answer(person: Person, room: str, root: str, text: str) -> str:
    """Say something in a thread."""
    return await person.say(room, text, **relation(root, "m.thread"))


async def refer(person: Person, room: str, event_id: str) -> str:
    """Send something that refers to an event."""
    return await person.send(room, "org.example.vote", relation(event_id, "m.reference"))


async def bundle(person: Person, room: str, event_id: str) -> dict[str, Any]:
    """What the server bundles with an event."""
    event = await person.ask("GET", f"/rooms/{room}/event/{event_id}")
    found: dict[str, Any] = event["unsigned"].get("m.relations", {})
    return found


async def related(person: Person, room: str, path: str, **query: Any) -> dict[str, Any]:
    """A page of what relates to an event."""
    answer: dict[str, Any] = await person.ask(
        "GET", f"{V1}/rooms/{room}/relations/{path}", query=query
    )
    return answer


async def threads(person: Person, room: str, **query: Any) -> dict[str, Any]:
    """A page of the threads of a room."""
    answer: dict[str, Any] = await person.ask("GET", f"{V1}/rooms/{room}/threads", query=query)
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    """The ids of the events of a page."""
    return [event["event_id"] for event in answer["chunk"]]


class Neighbours(WireTest):
    """Alice and Bob in a room."""

    async def in_a_room(self, **wish: Any) -> tuple[Person, Person, str]:
        """Both have joined."""
        server = await self.server()
        alice, bob = await server.people("alice", "bob")
        room = await alice.create_room(preset="public_chat", **wish)
        await bob.join(room)
        return alice, bob, room


class Edits(Neighbours):
    """Client-server API, "Event replacements"."""

    async def test_the_newest_edit_comes_with_the_message(self) -> None:
        alice, bob, room = await self.in_a_room()
        message = await alice.say(room, "Bring bred")
        self.assertEqual(await bundle(bob, room, message), {})
        await edit(alice, room, message, "Bring breed")
        second = await edit(alice, room, message, "Bring bread")
        found = (await bundle(bob, room, message))["m.replace"]
        self.assertEqual(found["event_id"], second)
        self.assertEqual(found["content"]["m.new_content"]["body"], "Bring bread")
        self.assertEqual((found["room_id"], found["sender"]), (room, alice.id))
        self.assertEqual(found["unsigned"]["membership"], "join")
        self.assertNotIn("transaction_id", found["unsigned"])
        own = (await bundle(alice, room, message))["m.replace"]
        self.assertIn("transaction_id", own["unsigned"])
        page = await bob.messages(room, limit=3)
        [original] = [event for event in page["chunk"] if event["event_id"] == message]
        self.assertEqual(original["content"]["body"], "Bring bred")
        shown = original["unsigned"]["m.relations"]["m.replace"]
        self.assertEqual(shown["event_id"], second)

    async def test_edits_that_break_a_rule_are_kept_but_do_not_count(self) -> None:
        alice, bob, room = await self.in_a_room()
        message = await alice.say(room, "Mine")
        await edit(bob, room, message, "Not yours")
        await alice.say(room, "No new content", **relation(message, "m.replace"))
        quoted = 'It says "m.new_content":{} here'
        await alice.say(room, quoted, **relation(message, "m.replace"))
        other_type = {"m.new_content": {"body": "x"}, **relation(message, "m.replace")}
        await alice.send(room, "org.example.note", other_type)
        await alice.set_state(room, "m.room.message", other_type, "a key")
        self.assertEqual(await bundle(bob, room, message), {})
        first = await edit(alice, room, message, "First")
        await edit(alice, room, first, "An edit of an edit")
        self.assertEqual((await bundle(bob, room, message))["m.replace"]["event_id"], first)
        self.assertEqual(await bundle(bob, room, first), {})
        elsewhere = await alice.create_room()
        foreign = await edit(alice, elsewhere, message, "From another room")
        await refer(alice, elsewhere, message)
        self.assertNotIn(foreign, ids(await related(alice, room, message)))
        found = await bundle(bob, room, message)
        self.assertEqual(list(found), ["m.replace"])
        self.assertEqual(found["m.replace"]["event_id"], first)

    async def test_an_encrypted_edit_counts_though_its_new_content_is_hidden(self) -> None:
        alice, bob, room = await self.in_a_room()
        secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "s"}
        message = await alice.send(room, "m.room.encrypted", secret)
        more = relation(message, "m.replace")
        corrected = await alice.send(room, "m.room.encrypted", {**secret, **more})
        found = await bundle(bob, room, message)
        self.assertEqual(found["m.replace"]["event_id"], corrected)

    async def test_the_time_of_an_edit_decides_then_its_id(self) -> None:
        alice, bob, room = await self.in_a_room()
        message = await alice.say(room, "One")
        edits = [await edit(alice, room, message, text) for text in ("Two", "Three", "Four")]

        async def at(*times: int) -> str:
            """Which edit is shown when they were made at these times."""
            for event_id, time in zip(edits, times, strict=True):
                await alice.server.app.storage.store.write(
                    lambda txn, event_id=event_id, time=time: txn.run(
                        "UPDATE events SET origin_server_ts = ? WHERE event_id = ?", time, event_id
                    )
                )
            return str((await bundle(bob, room, message))["m.replace"]["event_id"])

        self.assertEqual(await at(3, 2, 1), edits[0])
        self.assertEqual(await at(1, 3, 2), edits[1])
        self.assertEqual(await at(5, 5, 5), max(edits))

    async def test_redaction_takes_an_edit_back_and_hides_those_of_a_redacted_message(
        self,
    ) -> None:
        alice, bob, room = await self.in_a_room()
        message = await alice.say(room, "One")
        first = await edit(alice, room, message, "Two")
        second = await edit(alice, room, message, "Three")
        await alice.ask("PUT", f"/rooms/{room}/redact/{second}/r1")
        self.assertEqual((await bundle(bob, room, message))["m.replace"]["event_id"], first)
        self.assertEqual(ids(await related(bob, room, message)), [first])
        answered = await answer(bob, room, message, "An answer to what is gone")
        await alice.ask("PUT", f"/rooms/{room}/redact/{message}/r2")
        found = await bundle(bob, room, message)
        self.assertEqual(list(found), ["m.thread"])
        self.assertEqual(found["m.thread"]["latest_event"]["event_id"], answered)


class Threads(Neighbours):
    """Client-server API, "Threading"."""

    async def test_the_root_tells_of_its_thread(self) -> None:
        alice, bob, room = await self.in_a_room()
        carol = await alice.server.person("carol")
        await carol.join(room)
        root = await alice.say(room, "Who waters the garden?")
        await answer(bob, room, root, "I can on Monday")
        last = await answer(bob, room, root, "And on Tusday")
        vote = await refer(bob, room, last)
        await edit(bob, room, last, "And on Tuesday")
        for person, took_part in ((alice, True), (bob, True), (carol, False)):
            thread = (await bundle(person, room, root))["m.thread"]
            self.assertEqual(thread["count"], 2)
            self.assertIs(thread["current_user_participated"], took_part, person.id)
            latest = thread["latest_event"]
            self.assertEqual(latest["event_id"], last)
            edited = latest["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]
            self.assertEqual(edited["body"], "And on Tuesday")
        # The same when the newest message is on the page, too.
        page = await carol.messages(room, limit=5)
        shown = {event["event_id"]: event["unsigned"] for event in page["chunk"]}
        thread = shown[root]["m.relations"]["m.thread"]
        self.assertIn("m.replace", thread["latest_event"]["unsigned"]["m.relations"])
        self.assertIn("m.replace", shown[last]["m.relations"])
        references = shown[last]["m.relations"]["m.reference"]
        self.assertEqual(references, {"chunk": [{"event_id": vote}]})

    async def test_state_is_not_edited_even_in_a_thread(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        state = await alice.set_state(room, "org.example.note", relation(root, "m.thread"))
        more = {"m.new_content": {"body": "x"}, **relation(state, "m.replace")}
        await alice.send(room, "org.example.note", more)
        latest = (await bundle(bob, room, root))["m.thread"]["latest_event"]
        self.assertEqual(latest["event_id"], state)
        self.assertNotIn("m.relations", latest["unsigned"])

    async def test_a_redacted_answer_leaves_the_thread(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        first = await answer(bob, room, root, "First")
        second = await answer(bob, room, root, "Second")
        await bob.ask("PUT", f"/rooms/{room}/redact/{second}/r1")
        thread = (await bundle(alice, room, root))["m.thread"]
        self.assertEqual((thread["count"], thread["latest_event"]["event_id"]), (1, first))
        await bob.ask("PUT", f"/rooms/{room}/redact/{first}/r2")
        self.assertEqual(await bundle(alice, room, root), {})
        self.assertEqual(await threads(alice, room), {"chunk": []})

    async def test_the_list_begins_with_the_thread_that_spoke_last(self) -> None:
        alice, bob, room = await self.in_a_room()
        roots = [await alice.say(room, f"Root {number}") for number in range(4)]
        bobs = await bob.say(room, "Bob's own")
        for root in (*roots, bobs, roots[1]):
            await answer(alice, room, root, "Answer")
        await answer(bob, room, roots[2], "Bob answers")
        in_order = [roots[2], roots[1], bobs, roots[3], roots[0]]
        whole = await threads(bob, room)
        self.assertEqual(ids(whole), in_order)
        self.assertNotIn("next_batch", whole)
        newest = whole["chunk"][0]["unsigned"]["m.relations"]["m.thread"]
        self.assertEqual((newest["count"], newest["current_user_participated"]), (2, True))
        self.assertEqual(ids(await threads(bob, room, include="participated")), [roots[2], bobs])
        first = await threads(bob, room, limit=2)
        second = await threads(bob, room, limit=2, **{"from": first["next_batch"]})
        third = await threads(bob, room, limit=2, **{"from": second["next_batch"]})
        self.assertEqual(ids(first) + ids(second) + ids(third), in_order)
        self.assertNotIn("next_batch", third)
        code, refusal = await bob.call(
            "GET", f"{V1}/rooms/{room}/threads", query={"from": "nonsense"}
        )
        self.assertEqual((code, refusal["errcode"]), (400, "M_INVALID_PARAM"))

    async def test_a_thread_starts_only_from_a_message_that_stands_alone(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        child = await answer(bob, room, root, "Child")
        content = {"msgtype": "m.text", "body": "No", **relation(child, "m.thread")}
        code, refusal = await bob.call("PUT", f"/rooms/{room}/send/m.room.message/t1", content)
        self.assertEqual((code, refusal["errcode"]), (400, "M_UNKNOWN"))
        await edit(bob, room, child, "Edits may")
        reply = {"m.relates_to": {"m.in_reply_to": {"event_id": root}}}
        plain = await bob.say(room, "A plain reply", **reply)
        await answer(alice, room, plain, "may have a thread")
        self.assertEqual((await bundle(bob, room, plain))["m.thread"]["count"], 1)


class References(Neighbours):
    """Client-server API, "Reference relations", and annotations, which are not bundled."""

    async def test_references_are_listed_and_reactions_are_not(self) -> None:
        alice, bob, room = await self.in_a_room()
        poll = await alice.say(room, "Cake?")
        votes = [await refer(person, room, poll) for person in (alice, bob)]
        await bob.send(room, "m.reaction", relation(poll, "m.annotation", key="🎂"))
        found = await bundle(bob, room, poll)
        chunk = [{"event_id": vote} for vote in votes]
        self.assertEqual(found, {"m.reference": {"chunk": chunk}})

    async def test_nobody_reacts_twice_with_the_same_key(self) -> None:
        alice, bob, room = await self.in_a_room()
        message = await alice.say(room, "Cake!")
        cake = relation(message, "m.annotation", key="🎂")
        first = await bob.send(room, "m.reaction", cake)
        path = f"/rooms/{room}/send/m.reaction"
        code, refusal = await bob.call("PUT", f"{path}/t1", cake)
        self.assertEqual((code, refusal["errcode"]), (400, "M_DUPLICATE_ANNOTATION"))
        await bob.send(room, "m.reaction", relation(message, "m.annotation", key="👍"))
        await alice.send(room, "m.reaction", cake)
        await bob.ask("PUT", f"/rooms/{room}/redact/{first}/r1")
        await bob.send(room, "m.reaction", cake)


class Pages(Neighbours):
    """Client-server API, "Relationships API"."""

    async def test_pages_in_both_directions_hold_every_child_once(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        children = [await answer(bob, room, root, f"Answer {number}") for number in range(5)]
        await alice.say(room, "Something else")
        for direction, expected in (("b", children[::-1]), ("f", children)):
            seen: list[str] = []
            query: dict[str, Any] = {"dir": direction, "limit": 2}
            pages = []
            while True:
                page = await related(bob, room, root, **query)
                pages.append(page)
                seen += ids(page)
                if "next_batch" not in page:
                    break
                query["from"] = page["next_batch"]
            self.assertEqual(seen, expected)
            self.assertEqual([len(page["chunk"]) for page in pages], [2, 2, 1])
            self.assertEqual(["prev_batch" in page for page in pages], [False, True, True])
            self.assertNotIn("recursion_depth", pages[0])
            # From the second page back to the first, the other way round.
            turned = {"b": "f", "f": "b"}[direction]
            back = await related(bob, room, root, dir=turned, **{"from": pages[1]["prev_batch"]})
            self.assertEqual(ids(back), expected[1::-1])
        newest = await related(bob, room, root)
        self.assertEqual(ids(newest), children[::-1])

    async def test_tokens_of_sync_and_messages_serve_as_bounds(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        first = await answer(bob, room, root, "First")
        token = (await bob.sync())["next_batch"]
        second = await answer(bob, room, root, "Second")
        later = (await bob.messages(room, limit=1))["start"]
        third = await answer(bob, room, root, "Third")
        self.assertEqual(ids(await related(bob, room, root, **{"from": token})), [first])
        self.assertEqual(ids(await related(bob, room, root, to=token)), [third, second])
        page = await related(bob, room, root, dir="f", to=later, **{"from": token})
        self.assertEqual(ids(page), [second])
        page = await related(bob, room, root, to=later, **{"from": token})
        self.assertEqual(ids(page), [])
        for wrong in ("x", "t-1", "s1_2", "t" + "9" * 30):
            code, refusal = await bob.call(
                "GET", f"{V1}/rooms/{room}/relations/{root}", query={"from": wrong}
            )
            self.assertEqual((code, refusal["errcode"]), (400, "M_INVALID_PARAM"), wrong)

    async def test_the_kind_of_relation_and_the_type_narrow_the_choice(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        child = await answer(bob, room, root, "Child")
        vote = await refer(bob, room, root)
        more = {"msgtype": "m.text", "body": "x", **relation(root, "m.reference")}
        note = await bob.send(room, "m.room.message", more)
        self.assertEqual(ids(await related(bob, room, root)), [note, vote, child])
        self.assertEqual(ids(await related(bob, room, f"{root}/m.reference")), [note, vote])
        narrowed = await related(bob, room, f"{root}/m.reference/org.example.vote")
        self.assertEqual(ids(narrowed), [vote])
        self.assertEqual(ids(await related(bob, room, f"{root}/m.annotation")), [])

    async def test_recursion_follows_three_steps_and_says_so(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        child = await answer(bob, room, root, "Child")
        reaction = await alice.send(room, "m.reaction", relation(child, "m.annotation", key="x"))
        third = await refer(alice, room, reaction)
        await refer(alice, room, third)
        page = await related(bob, room, root, recurse="true")
        self.assertEqual(ids(page), [third, reaction, child])
        self.assertEqual(page["recursion_depth"], 3)
        # A filter holds for every step on the way.
        narrowed = await related(bob, room, f"{root}/m.reference", recurse="true")
        self.assertEqual(ids(narrowed), [])
        narrowed = await related(bob, room, f"{reaction}/m.reference", recurse="true")
        self.assertEqual(len(narrowed["chunk"]), 2)
        direct = await related(bob, room, root, recurse="false")
        self.assertEqual((ids(direct), direct["recursion_depth"]), ([child], 1))

    async def test_the_children_come_with_their_own_bundles(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        child = await answer(bob, room, root, "Chld")
        corrected = await edit(bob, room, child, "Child")
        [shown] = (await related(alice, room, root))["chunk"]
        self.assertEqual(shown["unsigned"]["m.relations"]["m.replace"]["event_id"], corrected)

    async def test_an_unknown_event_is_not_found(self) -> None:
        alice, bob, room = await self.in_a_room()
        other = await alice.create_room()
        message = await alice.say(other, "Elsewhere")
        for event_id in ("$nothing", message):
            code, refusal = await bob.call("GET", f"{V1}/rooms/{room}/relations/{event_id}")
            self.assertEqual((code, refusal["errcode"]), (404, "M_NOT_FOUND"))


class Sight(Neighbours):
    """Nobody learns more than the history of the room shows them."""

    async def test_what_came_after_leaving_is_neither_counted_nor_listed(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        seen = await answer(bob, room, root, "Seen")
        other = await alice.say(room, "Later a root")
        await bob.ask("POST", f"/rooms/{room}/leave")
        await answer(alice, room, root, "Unseen")
        await answer(alice, room, other, "Unseen, too")
        await edit(alice, room, root, "Corrected unseen")
        await refer(alice, room, root)
        found = await bundle(bob, room, root)
        self.assertEqual(list(found), ["m.thread"])
        self.assertEqual(found["m.thread"]["count"], 1)
        self.assertEqual(found["m.thread"]["latest_event"]["event_id"], seen)
        self.assertEqual(ids(await related(bob, room, root)), [seen])
        self.assertEqual(ids(await threads(bob, room)), [root])

    async def test_an_absence_is_skipped(self) -> None:
        hidden = {
            "type": "m.room.history_visibility",
            "state_key": "",
            "content": {"history_visibility": "joined"},
        }
        alice, bob, room = await self.in_a_room(initial_state=[hidden])
        root = await alice.say(room, "Root")
        before = await answer(alice, room, root, "Before")
        await bob.ask("POST", f"/rooms/{room}/leave")
        away = await alice.say(room, "A root nobody else saw")
        await answer(alice, room, root, "While away")
        await bob.join(room)
        after = await answer(alice, room, root, "After")
        await answer(alice, room, away, "After")
        thread = (await bundle(bob, room, root))["m.thread"]
        self.assertEqual((thread["count"], thread["latest_event"]["event_id"]), (2, after))
        self.assertEqual((await bundle(alice, room, root))["m.thread"]["count"], 3)
        self.assertEqual(ids(await related(bob, room, root)), [after, before])
        self.assertEqual(ids(await related(bob, room, root, limit=1)), [after])
        self.assertEqual(ids(await threads(bob, room)), [root])
        self.assertEqual(ids(await threads(alice, room)), [away, root])
        code, _ = await bob.call("GET", f"{V1}/rooms/{room}/relations/{away}")
        self.assertEqual(code, 404)

    async def test_strangers_learn_nothing(self) -> None:
        alice, bob, room = await self.in_a_room()
        root = await alice.say(room, "Root")
        await answer(bob, room, root, "Child")
        carol = await alice.server.person("carol")
        code, refusal = await carol.call("GET", f"{V1}/rooms/{room}/relations/{root}")
        self.assertEqual((code, refusal["errcode"]), (404, "M_NOT_FOUND"))
        code, refusal = await carol.call("GET", f"{V1}/rooms/{room}/threads")
        self.assertEqual((code, refusal["errcode"]), (403, "M_FORBIDDEN"))
        code, refusal = await carol.call("GET", f"{V1}/rooms/!no:localhost/threads")
        self.assertEqual((code, refusal["errcode"]), (403, "M_FORBIDDEN"))


class Bundling(Neighbours):
    """Where bundles appear, and what they cost."""

    def statements(self, person: Person) -> list[int]:
        """From now on, how many statements each read from the database takes."""
        store = person.server.app.storage.store
        asked: list[int] = []
        read = store._read

        def counting(work: Any) -> Any:
            value, queries = read(work)
            asked.append(queries)
            return value, queries

        self.patch(store, "_read", counting)
        return asked

    async def test_a_page_costs_few_statements_however_much_relates(self) -> None:
        alice, bob, room = await self.in_a_room()
        messages = [await alice.say(room, f"Message {number}") for number in range(12)]
        asked = self.statements(bob)
        await bob.messages(room, limit=12)
        bare = sum(asked)
        asked.clear()
        await bob.ask("GET", f"/rooms/{room}/state")
        self.assertEqual(asked, [])
        for message in messages:
            last = await answer(alice, room, message, "Child")
            await edit(alice, room, last, "Edited")
            await edit(alice, room, message, "Edited")
            await refer(alice, room, message)
        start = (await bob.messages(room, limit=48))["end"]
        asked.clear()
        page = await bob.messages(room, limit=12, **{"from": start})
        for event in page["chunk"]:
            self.assertEqual(len(event["unsigned"]["m.relations"]), 3)
        # Whether anything relates, what, and the events to be shown: of the page, and of the
        # newest events in its threads. The first is asked of the bare page as well.
        self.assertLessEqual(sum(asked) - bare, 5)

    async def test_a_gap_in_sync_is_followed_by_bundles_up_to_its_end(self) -> None:
        alice, bob, room = await self.in_a_room()
        token = (await bob.sync())["next_batch"]
        for number in range(4):
            await alice.say(room, f"Message {number}")
        root = await alice.say(room, "Root")
        child = await answer(alice, room, root, "Child")
        few = {"room": {"timeline": {"limit": 2}}}
        for since in (token, None):
            answered = await bob.sync(since, filter=few)
            events = timeline(answered, room)
            self.assertEqual([event["event_id"] for event in events], [root, child])
            thread = events[0]["unsigned"]["m.relations"]["m.thread"]
            self.assertEqual(thread["latest_event"]["event_id"], child)

    async def test_the_live_edge_of_sync_asks_nothing(self) -> None:
        alice, bob, room = await self.in_a_room()
        token = (await bob.sync())["next_batch"]
        asked = self.statements(bob)
        plain = [await alice.say(room, text) for text in ("One", "Two")]
        answered = await bob.sync(token)
        self.assertEqual([e["event_id"] for e in timeline(answered, room)], plain)
        bare = sum(asked)
        asked.clear()
        root = await alice.say(room, "Root")
        child = await answer(alice, room, root, "Child")
        answered = await bob.sync(answered["next_batch"])
        self.assertEqual([e["event_id"] for e in timeline(answered, room)], [root, child])
        self.assertEqual(sum(asked), bare)


class RedactTogether(Neighbours):
    """MSC3912: what relates to an event goes with it."""

    async def setUp(self) -> None:
        self.alice, self.bob, self.room = await self.in_a_room()

    async def redact(self, who: Person, event_id: str, *rel_types: str) -> str:
        body = {"reason": "typo", "org.matrix.msc3912.with_relations": list(rel_types)}
        path = f"/rooms/{self.room}/redact/{event_id}/{who.transaction()}"
        return str((await who.ask("PUT", path, body))["event_id"])

    async def gone(self, *event_ids: str) -> list[bool]:
        """Which of some events are redacted."""
        path = f"/rooms/{self.room}/event"
        found = [await self.alice.ask("GET", f"{path}/{event_id}") for event_id in event_ids]
        return ["redacted_because" in event["unsigned"] for event in found]

    async def story(self, author: Person, other: Person) -> list[str]:
        """A message, its edit, and from somebody else an edit that is none, a reaction, a vote."""
        said = await author.say(self.room, "Hello")
        text = {"msgtype": "m.text", "body": "x"}
        edit = {**relation(said, "m.replace"), "m.new_content": text, **text}
        return [
            said,
            await author.send(self.room, "m.room.message", edit),
            await other.send(self.room, "m.room.message", edit),
            await other.send(self.room, "m.reaction", relation(said, "m.annotation", key="!")),
            await refer(other, self.room, said),
        ]

    async def test_only_the_wanted_ways_of_relating(self) -> None:
        story = await self.story(self.bob, self.alice)
        redaction = await self.redact(self.alice, story[0], "m.replace", "m.reference")
        self.assertEqual(await self.gone(*story), [True, True, False, False, True])
        event = await self.bob.ask("GET", f"/rooms/{self.room}/event/{redaction}")
        self.assertEqual(event["content"], {"reason": "typo", "redacts": story[0]})
        story = await self.story(self.bob, self.alice)
        await self.redact(self.alice, story[0], "*")
        self.assertEqual(await self.gone(*story), [True, True, False, True, True])
        story = await self.story(self.bob, self.alice)
        await self.redact(self.alice, story[0])
        self.assertEqual(await self.gone(*story), [True, False, False, False, False])

    async def test_what_one_must_not_redact_stays(self) -> None:
        story = await self.story(self.bob, self.alice)
        await self.redact(self.bob, story[0], "*")
        self.assertEqual(await self.gone(*story), [True, True, False, False, False])

    async def test_a_long_thread_goes_as_a_whole(self) -> None:
        root = await self.alice.say(self.room, "Who brings what?")
        more = relation(root, "m.thread")
        answers = [await self.bob.say(self.room, str(n), **more) for n in range(45)]
        await self.redact(self.alice, root, "m.thread")
        self.assertTrue(all(await self.gone(root, *answers)))

    async def test_the_old_name_of_relations_leads_there_too(self) -> None:
        said = await self.alice.say(self.room, "Hello")
        vote = await refer(self.bob, self.room, said)
        path = f"/_matrix/client/unstable/rooms/{self.room}/relations/{said}"
        self.assertEqual(ids(await self.bob.ask("GET", path)), [vote])
