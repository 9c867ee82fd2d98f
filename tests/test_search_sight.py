"""Searching in the history: who finds what, after removals, redactions and edits."""

from typing import Any

from tests.search_case import SearchCase, search
from tests.support import Person


class WhoFindsWhatTest(SearchCase):
    """Nobody finds what they may not see, nor what is no longer there."""

    async def test_somebody_who_was_removed_finds_only_what_they_saw(self) -> None:
        before = await self.alice.say(self.street, "The party is on Friday")
        await self.alice.ask("POST", f"/rooms/{self.street}/kick", {"user_id": self.bob.id})
        after = await self.alice.say(self.street, "The party is a surprise for Bob")
        self.assertEqual(await self.found(self.bob, "party"), [before])
        answer = await search(self.bob, "friday", event_context={}, include_state=True)
        # The last that Bob has seen is that he was removed.
        [removal] = answer["results"][0]["context"]["events_after"]
        self.assertEqual(removal["state_key"], self.bob.id)
        self.assertEqual(await self.found(self.alice, "party"), [after, before])
        await self.bob.join(self.street)
        self.assertEqual(await self.found(self.bob, "party"), [after, before])
        await self.hearth.restart()
        await self.bob.ask("POST", f"/rooms/{self.street}/leave")
        await self.alice.say(self.street, "After the party")
        self.assertEqual(await self.found(self.bob, "party"), [after, before])
        await self.bob.ask("POST", f"/rooms/{self.street}/forget")
        self.assertEqual(await self.found(self.bob, "party"), [])

    async def test_nobody_finds_anything_in_rooms_that_they_never_joined(self) -> None:
        open_to_all = {
            "type": "m.room.history_visibility",
            "state_key": "",
            "content": {"history_visibility": "world_readable"},
        }
        for preset, state in (("public_chat", [open_to_all]), ("public_chat", [])):
            room = await self.alice.create_room(preset=preset, initial_state=state)
            await self.alice.say(room, "secret")
            await self.alice.ask("POST", f"/rooms/{room}/invite", {"user_id": self.carol.id})
            self.assertEqual(await self.found(self.carol, "secret"), [])
            self.assertEqual(await self.found(self.carol, "secret", filter={"rooms": [room]}), [])
            await self.carol.ask("POST", f"/rooms/{room}/leave")
            self.assertEqual(await self.found(self.carol, "secret"), [])

    async def test_only_the_times_in_the_room_count_where_history_is_for_members(self) -> None:
        for_members = {
            "type": "m.room.history_visibility",
            "state_key": "",
            "content": {"history_visibility": "joined"},
        }
        room = await self.alice.create_room(preset="public_chat", initial_state=[for_members])
        await self.alice.say(room, "plum one")
        await self.bob.join(room)
        two = await self.alice.say(room, "plum two")
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        gone = [await self.alice.say(room, f"plum in between {number}") for number in range(20)]
        await self.bob.join(room)
        three = await self.alice.say(room, "plum three")
        self.assertEqual(await self.found(self.bob, "plum", filter={"limit": 2}), [three, two])
        self.assertEqual(
            (await search(self.alice, "plum", filter={"limit": 3}))["count"], 3 + len(gone)
        )
        context = (await search(self.bob, "three", event_context={}))["results"][0]["context"]
        seen = [event["event_id"] for event in context["events_before"]]
        self.assertIn(two, seen)
        self.assertFalse(set(seen) & set(gone))

    async def test_encrypted_conversations_are_left_out(self) -> None:
        room = await self.alice.create_room(name="Walnut club")
        await self.alice.say(room, "walnut in plain words")
        self.assertEqual(await self.found(self.alice, "walnut"), [])
        said = await self.alice.say(self.street, "walnut cake")
        self.assertEqual(await self.found(self.alice, "walnut"), [said])
        megolm = {"algorithm": "m.megolm.v1.aes-sha2"}
        await self.alice.set_state(self.street, "m.room.encryption", megolm)
        self.assertEqual(await self.found(self.alice, "walnut"), [])

    async def test_what_is_redacted_is_found_no_more(self) -> None:
        for version in ("10", "11", "12"):
            room = await self.alice.create_room(preset="public_chat", room_version=version)
            said = await self.alice.say(room, "my phone number is 5550123")
            topic = await self.alice.set_state(room, "m.room.topic", {"topic": "call 5550123"})
            self.assertEqual(await self.kept("5550123"), 2)
            for event_id, left in ((said, [topic]), (topic, [])):
                path = f"/rooms/{room}/redact/{event_id}/{self.alice.transaction()}"
                await self.alice.ask("PUT", path)
                self.assertEqual(await self.found(self.alice, "5550123"), left)
        await self.hearth.restart()
        self.assertEqual(await self.found(self.alice, "5550123"), [])
        self.assertEqual(await self.kept("5550123"), 0)

    async def test_a_hidden_conversation_is_still_searched(self) -> None:
        said = await self.alice.say(self.street, "The recipe for quince jelly")
        await self.bob.ask("PUT", f"/_hearth/client/v1/hidden_rooms/{self.street}")
        self.assertEqual(await self.found(self.bob, "quince"), [said])

    async def test_the_room_before_an_upgrade_is_searched_too(self) -> None:
        old = await self.alice.say(self.street, "pumpkin soup")
        answer = await self.alice.ask(
            "POST", f"/rooms/{self.street}/upgrade", {"new_version": "12"}
        )
        room = answer["replacement_room"]
        await self.bob.join(room)
        new = await self.alice.say(room, "pumpkin pie")
        self.assertEqual(await self.found(self.bob, "pumpkin"), [new, old])
        # A filter names rooms, not their past.
        self.assertEqual(await self.found(self.bob, "pumpkin", filter={"rooms": [room]}), [new])


class EditsTest(SearchCase):
    """A message is found by the words that one sees."""

    async def edit(self, who: Person, event_id: str, text: str, **more: Any) -> str:
        content = {
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
            **more,
        }
        return await who.say(self.street, f"* {text}", **content)

    async def redact(self, event_id: str) -> None:
        path = f"/rooms/{self.street}/redact/{event_id}/{self.alice.transaction()}"
        await self.alice.ask("PUT", path)

    async def test_the_newest_text_counts(self) -> None:
        said = await self.alice.say(self.street, "Meet at the libary")
        first = await self.edit(self.alice, said, "Meet at the library")
        second = await self.edit(self.alice, said, "Meet at the museum")
        self.assertEqual(await self.found(self.bob, "libary"), [])
        self.assertEqual(await self.found(self.bob, "library"), [])
        [result] = (await search(self.bob, "museum", order_by="rank"))["results"]
        self.assertEqual(result["result"]["event_id"], said)
        shown = result["result"]["unsigned"]["m.relations"]["m.replace"]
        self.assertEqual(shown["event_id"], second)
        self.assertEqual((await search(self.bob, "muse"))["highlights"], ["muse", "museum"])
        await self.redact(second)
        self.assertEqual(await self.found(self.bob, "museum"), [])
        self.assertEqual(await self.found(self.bob, "library"), [said])
        await self.redact(first)
        self.assertEqual(await self.found(self.bob, "libary"), [said])
        await self.edit(self.alice, said, "👍")
        self.assertEqual(await self.found(self.bob, "libary"), [])

    async def test_with_a_message_goes_what_it_was_changed_to(self) -> None:
        said = await self.alice.say(self.street, "one secret")
        await self.edit(self.alice, said, "another secret")
        await self.redact(said)
        self.assertEqual(await self.found(self.bob, "secret"), [])

    async def test_an_edit_that_does_not_hold_changes_nothing(self) -> None:
        said = await self.alice.say(self.street, "gooseberry")
        forged = await self.edit(self.bob, said, "forged")
        no_content = await self.edit(self.alice, said, "empty", **{"m.new_content": 5})
        lost = await self.edit(self.alice, "$nothing", "lost")
        edit = await self.edit(self.alice, said, "currant")
        of_edit = await self.edit(self.alice, edit, "strange")
        self.assertEqual(await self.found(self.bob, "currant"), [said])
        for term, event_id in (
            ("forged", forged), ("empty", no_content), ("lost", lost), ("strange", of_edit),
        ):  # fmt: skip
            self.assertEqual(await self.found(self.bob, term), [event_id])

    async def test_who_has_left_finds_the_text_of_then(self) -> None:
        said = await self.alice.say(self.street, "The code is 1234")
        await self.edit(self.alice, said, "The code is 5678")
        await self.bob.ask("POST", f"/rooms/{self.street}/leave")
        await self.edit(self.alice, said, "The code is 9999")
        for who, code in ((self.bob, "5678"), (self.alice, "9999")):
            for term in ("1234", "5678", "9999"):
                expected = [said] if term == code else []
                self.assertEqual(await self.found(who, term), expected, (who.id, term))
