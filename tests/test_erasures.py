"""Whoever closes their account can have erased what they sent (client-server API, ``erase``)."""

from typing import Any

import orjson

from storage.transaction import WriteTransaction
from tests.little_service import LittleService
from tests.search_case import search
from tests.support import Person, WireTest, timeline
from tests.test_accounts import own_password

V1 = "/_matrix/client/v1"
PLACE = "org.example.place"


class ErasureCase(WireTest):
    """Alice's open room, in which Bob and Erin have been from the beginning; Carol comes later."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        people = await self.hearth.people("alice", "bob", "carol", "erin")
        self.alice, self.bob, self.carol, self.erin = people
        levels = {"users_default": 50}
        self.room = await self.alice.create_room(
            preset="public_chat", name="The garden", power_level_content_override=levels
        )
        for person in (self.bob, self.erin):
            await person.join(self.room)

    async def close(self, person: Person, *, erase: bool = True) -> None:
        body = {"erase": erase, "auth": own_password(person)}
        await person.ask("POST", "/account/deactivate", body)

    async def contents(self, person: Person, **query: Any) -> dict[str, Any]:
        """What /messages says that events contain, by their ids."""
        page = await person.messages(self.room, limit=100, **query)
        return {event["event_id"]: event["content"] for event in page["chunk"]}

    async def told(self, person: Person, path: str, **query: Any) -> str:
        """An answer as text."""
        return orjson.dumps(await person.ask("GET", path, query=query)).decode()


class ErasureTest(ErasureCase):
    async def test_who_was_there_still_reads_it_and_who_comes_later_gets_copies(self) -> None:
        said = await self.erin.say(self.room, "potatoes at noon")
        sealed = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEn"}
        encrypted = await self.erin.send(self.room, "m.room.encrypted", sealed)
        answer = await self.alice.say(self.room, "I will come")
        dan = await self.hearth.person("dan")
        await dan.join(self.room)
        kept = await dan.say(self.room, "potatoes from my garden")
        await self.close(dan, erase=False)
        await self.close(self.erin)
        await self.carol.join(self.room)
        for _ in ("before a restart", "after it"):
            for person in (self.alice, self.bob, await self.hearth.log_in(self.bob)):
                contents = await self.contents(person)
                self.assertEqual(contents[said]["body"], "potatoes at noon")
                self.assertEqual(contents[encrypted], sealed)
                self.assertEqual(await self.found(person), {said, kept})
            contents = await self.contents(self.carol)
            self.assertEqual((contents[said], contents[encrypted]), ({}, {}))
            self.assertEqual(contents[kept]["body"], "potatoes from my garden")
            self.assertEqual(contents[answer]["body"], "I will come")
            event = await self.carol.ask("GET", f"/rooms/{self.room}/event/{said}")
            self.assertEqual((event["sender"], event["content"]), (self.erin.id, {}))
            self.assertEqual(await self.found(self.carol), {kept})
            first = timeline(await self.carol.sync(full_state="true"), self.room)
            self.assertEqual([e["content"] for e in first if e["event_id"] == said], [{}])
            await self.hearth.restart()

    async def found(self, person: Person) -> set[str]:
        results = (await search(person, "potatoes"))["results"]
        return {each["result"]["event_id"] for each in results}

    async def test_who_comes_back_has_what_they_saw_and_not_what_they_missed(self) -> None:
        seen = await self.erin.say(self.room, "one")
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        missed = await self.erin.say(self.room, "two")
        await self.close(self.erin)
        contents = await self.contents(self.bob)
        self.assertEqual((contents[seen]["body"], missed in contents), ("one", False))
        await self.bob.join(self.room)
        contents = await self.contents(self.bob)
        self.assertEqual((contents[seen]["body"], contents[missed]), ("one", {}))
        # A new name is no new beginning.
        path = f"/profile/{self.bob.id}/displayname"
        await self.bob.ask("PUT", path, {"displayname": "Bob B."})
        self.assertEqual(await self.contents(self.bob) | contents, await self.contents(self.bob))

    async def test_an_invitation_or_an_open_window_is_not_yet_the_room(self) -> None:
        for rule in ("invited", "world_readable"):
            content = {"history_visibility": rule}
            await self.alice.set_state(self.room, "m.room.history_visibility", content)
        invite = {"user_id": self.carol.id, "reason": "You have to see this"}
        await self.erin.ask("POST", f"/rooms/{self.room}/invite", invite)
        said = await self.erin.say(self.room, "one")
        dan = await self.hearth.person("dan")
        self.assertEqual((await self.contents(dan))[said]["body"], "one")
        await self.close(self.erin)
        for person in (dan, self.carol):
            self.assertEqual((await self.contents(person))[said], {})
            await person.join(self.room)
            self.assertEqual((await self.contents(person))[said], {})
        # What was said to Carol herself has reached her.
        own = await self.carol.ask("GET", f"/rooms/{self.room}/members")
        [hers] = [event for event in own["chunk"] if event["state_key"] == self.carol.id]
        self.assertEqual(hers["unsigned"]["prev_content"]["reason"], "You have to see this")

    async def test_nothing_of_it_hangs_on_what_others_have_said(self) -> None:
        root = await self.alice.say(self.room, "Who brings what?")
        thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        said = await self.erin.say(self.room, "potatoes", **thread)
        relation = {"rel_type": "m.replace", "event_id": said}
        new = {"msgtype": "m.text", "body": "tomatoes"}
        edit = {"m.new_content": new, "m.relates_to": relation}
        await self.erin.say(self.room, "*", **edit)
        reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": root}}
        await self.erin.send(self.room, "org.example.note", {"note": "tomatoes", **reference})
        own = await self.erin.say(self.room, "A thread of mine: tomatoes")
        on_hers = {"m.relates_to": {"rel_type": "m.thread", "event_id": own}}
        await self.alice.say(self.room, "I like it", **on_hers)
        await self.close(self.erin)
        await self.carol.join(self.room)
        room, v1 = self.room, f"{V1}/rooms/{self.room}"
        for path in (
            f"/rooms/{room}/event/{root}",
            f"/rooms/{room}/event/{said}",
            f"/rooms/{room}/event/{own}",
            f"/rooms/{room}/context/{root}",
            f"{v1}/relations/{root}",
            f"{v1}/relations/{root}?recurse=true",
            f"{v1}/relations/{said}",
            f"{v1}/relations/{own}",
            f"{v1}/threads",
        ):
            text = await self.told(self.carol, path)
            self.assertNotIn("tomatoes", text, path)
            self.assertNotIn("potatoes", text, path)
        self.assertIn("tomatoes", await self.told(self.bob, f"/rooms/{room}/event/{said}"))
        answer = await self.carol.ask("GET", f"{v1}/relations/{root}")
        self.assertEqual(answer["chunk"], [])
        event = await self.carol.ask("GET", f"/rooms/{room}/event/{root}")
        self.assertNotIn("m.relations", event["unsigned"])
        # What others have answered is theirs.
        answer = await self.carol.ask("GET", f"{v1}/threads")
        self.assertEqual([(e["event_id"], e["content"]) for e in answer["chunk"]], [(own, {})])
        thread = answer["chunk"][0]["unsigned"]["m.relations"]["m.thread"]
        self.assertEqual(thread["latest_event"]["content"]["body"], "I like it")

    async def test_a_room_stays_what_it_is_and_its_people_lose_their_names(self) -> None:
        path = f"/profile/{self.erin.id}/displayname"
        await self.erin.ask("PUT", path, {"displayname": "Erin the gardener"})
        sealed = {"algorithm": "m.megolm.v1.aes-sha2"}
        self.room = await self.erin.create_room(
            preset="public_chat",
            name="Allotments",
            initial_state=[{"type": "m.room.encryption", "content": sealed}],
            power_level_content_override={"users_default": 50},
        )
        for person in (self.alice, self.bob):
            await person.join(self.room)
        await self.erin.set_state(self.room, PLACE, {"at": "the shed"}, self.erin.id)
        await self.close(self.erin)
        await self.carol.join(self.room)
        # A later name quotes the one before.
        await self.alice.set_state(self.room, "m.room.name", {"name": "Allotments II"})
        sync = await self.carol.sync(filter={"room": {"timeline": {"limit": 3}}})
        joined = sync["rooms"]["join"][self.room]
        state = {
            (event["type"], event["state_key"]): event
            for event in joined["state"]["events"] + joined["timeline"]["events"]
        }
        self.assertEqual(state["m.room.encryption", ""]["content"], sealed)
        name = state["m.room.name", ""]
        self.assertEqual(name["unsigned"]["prev_content"], {"name": "Allotments"})
        for content in (
            await self.carol.ask("GET", f"/rooms/{self.room}/state/{PLACE}/{self.erin.id}"),
            state[PLACE, self.erin.id]["content"],
        ):
            self.assertEqual(content, {})
        member = state["m.room.member", self.erin.id]
        self.assertEqual(member["content"], {"membership": "leave"})
        self.assertEqual(member["unsigned"]["prev_content"], {"membership": "join"})
        only_places = {"room": {"state": {"types": [PLACE]}}}
        everything = [
            sync,
            await self.carol.sync(sync["next_batch"], full_state="true", filter=only_places),
            await self.carol.messages(self.room, limit=100),
            await self.carol.ask("GET", f"/rooms/{self.room}/state"),
            await self.carol.ask("GET", f"/rooms/{self.room}/members"),
            await self.carol.ask("GET", f"/rooms/{self.room}/initialSync"),
        ]
        for answer in everything:
            text = orjson.dumps(answer).decode()
            self.assertNotIn("gardener", text)
            self.assertNotIn("the shed", text)
        self.assertIn("gardener", await self.told(self.bob, f"/rooms/{self.room}/members"))

    async def test_a_redaction_says_no_more_why(self) -> None:
        said = await self.bob.say(self.room, "one")
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        redact = f"/rooms/{self.room}/redact/{said}/{self.erin.transaction()}"
        redaction = (await self.erin.ask("PUT", redact, {"reason": "rude"}))["event_id"]
        content = {"history_visibility": "world_readable"}
        await self.alice.set_state(self.room, "m.room.history_visibility", content)
        await self.close(self.erin)
        for person in (self.bob, self.carol):
            await person.join(self.room)
        path = f"/rooms/{self.room}/event/{said}"
        for person, reason in ((self.alice, "rude"), (self.bob, None), (self.carol, None)):
            because = (await person.ask("GET", path))["unsigned"]["redacted_because"]
            self.assertEqual(because["content"].get("reason"), reason)
            self.assertEqual((because["event_id"], because["redacts"]), (redaction, said))

    async def test_an_old_token_brings_copies_too(self) -> None:
        tokens = [(await self.carol.sync())["next_batch"]]
        said = await self.erin.say(self.room, "one")
        await self.close(self.erin)
        await self.carol.join(self.room)
        [token] = tokens
        events = timeline(await self.carol.sync(token), self.room)
        self.assertEqual([e["content"] for e in events if e["event_id"] == said], [{}])
        page = await self.carol.ask("GET", "/events", query={"from": token, "timeout": 0})
        self.assertEqual([e["content"] for e in page["chunk"] if e["event_id"] == said], [{}])
        wanted = {"event_format": "federation", "room": {"timeline": {"limit": 50}}}
        query = {"filter": orjson.dumps(wanted).decode()}
        sync = await self.carol.ask("GET", "/sync", query=query, has_schema=False)
        events = [e for e in timeline(sync, self.room) if e["sender"] == self.erin.id]
        [event] = [e for e in events if e["type"] == "m.room.message"]
        self.assertEqual((event["content"], event["hashes"].keys()), ({}, {"sha256"}))

    async def test_a_filter_does_not_know_what_was_in_it(self) -> None:
        picture = {"msgtype": "m.image", "body": "me", "url": "mxc://localhost/abc"}
        said = await self.erin.send(self.room, "m.room.message", picture)
        await self.close(self.erin)
        await self.carol.join(self.room)
        wanted = {"contains_url": True}
        for person, expected in ((self.bob, {said}), (self.carol, set())):
            query = {"filter": orjson.dumps(wanted).decode()}
            self.assertEqual({*await self.contents(person, **query)}, expected)
            sync = await person.sync(filter={"room": {"timeline": wanted}})
            shown = {event["event_id"] for event in timeline(sync, self.room)}
            self.assertEqual(shown, expected)

    async def test_names_in_search_results_are_gone_too(self) -> None:
        path = f"/profile/{self.erin.id}/displayname"
        await self.erin.ask("PUT", path, {"displayname": "Erin the gardener"})
        await self.erin.say(self.room, "one")
        await self.alice.say(self.room, "potatoes")
        await self.close(self.erin)
        await self.carol.join(self.room)
        context = {"before_limit": 5, "after_limit": 0, "include_profile": True}
        for person, name in ((self.bob, "Erin the gardener"), (self.carol, None)):
            [result] = (await search(person, "potatoes", event_context=context))["results"]
            profile = result["context"]["profile_info"][self.erin.id]
            self.assertEqual(profile.get("displayname"), name)

    async def test_an_edit_and_its_original_are_found_as_far_as_they_were_seen(self) -> None:
        said = await self.erin.say(self.room, "potatoes")
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        relation = {"rel_type": "m.replace", "event_id": said}
        new = {"msgtype": "m.text", "body": "tomatoes"}
        await self.erin.say(self.room, "*", **{"m.new_content": new, "m.relates_to": relation})
        await self.close(self.erin)
        await self.bob.join(self.room)
        for person, found in ((self.alice, "tomatoes"), (self.bob, "potatoes")):
            for word in ("potatoes", "tomatoes"):
                count = (await search(person, word))["count"]
                self.assertEqual(count, int(word == found), (person.id, word))

    async def test_an_edit_that_was_seen_does_not_find_an_original_that_was_not(self) -> None:
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        said = await self.erin.say(self.room, "potatoes")
        content = {"history_visibility": "world_readable"}
        await self.alice.set_state(self.room, "m.room.history_visibility", content)
        relation = {"rel_type": "m.replace", "event_id": said}
        new = {"msgtype": "m.text", "body": "tomatoes"}
        edit = {"m.new_content": new, "m.relates_to": relation}
        edited = await self.erin.say(self.room, "*", **edit)
        await self.close(self.erin)
        await self.bob.join(self.room)
        contents = await self.contents(self.bob)
        self.assertEqual((contents[said], contents[edited]["m.new_content"]), ({}, new))
        for word in ("potatoes", "tomatoes"):
            self.assertEqual((await search(self.bob, word))["count"], 0)

    async def test_account_data_is_gone(self) -> None:
        for path in ("", f"/rooms/{self.room}"):
            path = f"/user/{self.erin.id}{path}/account_data/org.example.notes"
            await self.erin.ask("PUT", path, {"note": "mine"})
        store = self.hearth.app.storage.store
        sql = "SELECT COUNT(*) FROM account_data WHERE user_id = ?"
        self.assertEqual(await store.read(lambda txn: txn.value(sql, self.erin.id)), 2)
        await self.close(self.erin)
        self.assertEqual(await store.read(lambda txn: txn.value(sql, self.erin.id)), 0)

    async def test_who_was_erased_before_this_was_kept_is_erased(self) -> None:
        said = await self.erin.say(self.room, "one")
        await self.close(self.erin)
        await self.carol.join(self.room)

        def older_database(txn: WriteTransaction) -> None:
            txn.run("ALTER TABLE accounts DROP COLUMN erased_at")
            txn.run("DELETE FROM schema_version WHERE number = 120")

        await self.hearth.app.storage.store.write(older_database)
        await self.hearth.restart()
        self.assertEqual((await self.contents(self.bob))[said]["body"], "one")
        self.assertEqual((await self.contents(self.carol))[said], {})


class BridgeTest(ErasureCase):
    async def test_a_bridge_that_was_down_gets_what_it_would_have_got(self) -> None:
        irc = LittleService(self)
        await self.hearth.restart(application_services=[irc.registration()])
        ann = await irc.make_user(self.hearth, "_irc_ann")
        await irc.ask(self.hearth, "POST", f"/join/{self.room}", user=ann)
        await self.erin.say(self.room, "one")
        await self.close(self.erin)
        irc.start()
        await irc.until(lambda: b'"body":"one"' in b"".join(each.body for each in irc.asked))
