"""What every test of searching needs: neighbours, and their questions."""

import os
from typing import Any

from tests.support import Person, WireTest

Answer = dict[str, Any]


async def search(who: Person, term: str, *, next_batch: str | None = None, **more: Any) -> Answer:
    """The category ``room_events`` of an answer; the most recent first, unless asked otherwise."""
    body = {"room_events": {"search_term": term, "order_by": "recent", **more}}
    query = {} if next_batch is None else {"next_batch": next_batch}
    answer = await who.ask("POST", "/search", {"search_categories": body}, query=query)
    found: Answer = answer["search_categories"]["room_events"]
    return found


def ids(answer: Answer) -> list[str]:
    """The events that were found."""
    return [result["result"]["event_id"] for result in answer["results"]]


class SearchCase(WireTest):
    """Neighbours in a public room, which is not encrypted."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")
        self.street = await self.alice.create_room(preset="public_chat", name="Our street")
        await self.bob.join(self.street)

    async def found(self, who: Person, term: str, **more: Any) -> list[str]:
        answer = await search(who, term, **more)
        self.assertEqual(answer["count"], len(answer["results"]))
        return ids(answer)

    async def kept(self, word: str) -> int:
        """In how many texts of the index a word stands, whoever may see them."""

        def work(txn: Any) -> int:
            texts = txn.all("SELECT CAST(words AS TEXT) FROM search_texts")
            count = sum(word in text for (text,) in texts)
            if "HEARTH_TEST_POSTGRES" not in os.environ:
                sql = "SELECT COUNT(*) FROM search_index WHERE search_index MATCH ?"
                self.assertEqual(txn.value(sql, word), count)
            return count

        return await self.hearth.app.storage.store.read(work)
