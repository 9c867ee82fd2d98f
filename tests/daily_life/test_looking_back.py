"""Somebody looks for what was said long ago."""

from typing import Any

from tests.daily_life.device import DailyLife, Device


class SearchTest(DailyLife):
    """Finding words, what was said around them, and the next page."""

    async def search(self, who: Device, words: str, **query: Any) -> Any:
        """What the person finds, newest first, two at a time, with one message on either side."""
        wish = {
            "search_term": words,
            "order_by": "recent",
            "event_context": {"before_limit": 1, "after_limit": 1},
            "filter": {"limit": 2},
        }
        body = {"search_categories": {"room_events": wish}}
        answer = await who.ask("POST", "/search", body, **query)
        return answer["search_categories"]["room_events"]

    def texts(self, page: Any) -> list[str]:
        return [hit["result"]["content"]["body"] for hit in page["results"]]

    async def test_bob_finds_who_has_the_ladder(self) -> None:
        alice, bob, stranger = await self.people("alice", "bob", "stranger")
        tablet = await self.another_device(bob)
        street = await self.room(alice, preset="public_chat")
        await bob.person.join(street)
        for text in (
            "The ladder is in my cellar",
            "Thank you",
            "I have lent the ladder to Carol",
            "Good night",
            "Is the LADDER back?",
        ):
            await alice.say(street, text)
        secret = await alice.say(street, "The ladder costs too much")
        await alice.redact(street, secret)
        await self.everybody_looks()

        first = await self.search(bob, "ladder")
        self.assertEqual(first["count"], 3)
        self.assertEqual(
            self.texts(first), ["Is the LADDER back?", "I have lent the ladder to Carol"]
        )
        around = first["results"][1]["context"]
        self.assertEqual(around["events_before"][0]["content"]["body"], "Thank you")
        self.assertEqual(around["events_after"][0]["content"]["body"], "Good night")

        await self.hearth.restart()

        # He goes on reading on the tablet, while somebody says the word again.
        await alice.say(street, "A ladder is a fine thing")
        second = await self.search(tablet, "ladder", next_batch=first["next_batch"])
        self.assertEqual(self.texts(second), ["The ladder is in my cellar"])
        self.assertNotIn("next_batch", second)

        # A tap on what he found opens the room there, and he scrolls on from it.
        found = first["results"][1]["result"]["event_id"]
        opened = await tablet.ask("GET", f"/rooms/{street}/context/{found}", limit=2)
        self.assertEqual(opened["event"]["content"]["body"], "I have lent the ladder to Carol")
        older = await tablet.ask(
            "GET", f"/rooms/{street}/messages", dir="b", limit=1, **{"from": opened["start"]}
        )
        self.assertEqual(
            [event["content"]["body"] for event in older["chunk"]], ["The ladder is in my cellar"]
        )
        self.assertEqual((await self.search(stranger, "ladder"))["results"], [])
