"""Searching in the history: what is found, page by page."""

from typing import Any

from homeserver.search.page import estimate
from storage import search as search_texts
from storage.search import Extent
from tests.search_case import Answer, SearchCase, ids, search


class SearchTest(SearchCase):
    """What is found."""

    async def test_somebody_looks_for_what_a_neighbour_once_wrote(self) -> None:
        """The journey: a word that one remembers leads to the place, and on from there."""
        await self.alice.ask("PUT", f"/profile/{self.alice.id}/displayname", {"displayname": "Al"})
        await self.alice.say(self.street, "Good morning everybody")
        ladder = await self.alice.say(self.street, "I can lend you my LADDER, it is in the shed")
        await self.bob.say(self.street, "Thank you!")
        for number in range(30):
            await self.bob.say(self.street, f"Something else {number}")
        await self.alice.ask("PUT", f"/profile/{self.alice.id}/displayname", {"displayname": "Ms"})
        answer = await search(
            self.bob,
            "ladder shed",
            event_context={"before_limit": 1, "after_limit": 1, "include_profile": True},
            include_state=True,
        )
        self.assertEqual(answer["count"], 1)
        self.assertEqual(answer["highlights"], ["ladder", "shed"])
        [result] = answer["results"]
        self.assertEqual(result["result"]["event_id"], ladder)
        self.assertEqual(result["result"]["room_id"], self.street)
        context = result["context"]
        self.assertEqual(
            [context[side][0]["content"]["body"] for side in ("events_before", "events_after")],
            ["Good morning everybody", "Thank you!"],
        )
        names = {self.alice.id: {"displayname": "Al"}, self.bob.id: {"displayname": "bob"}}
        self.assertEqual(context["profile_info"], names)
        state = {event["type"] for event in answer["state"][self.street]}
        self.assertIn("m.room.name", state)
        # From there one reads on.
        earlier = await self.bob.messages(self.street, **{"from": context["start"], "limit": 1})
        self.assertEqual(earlier["chunk"][0]["type"], "m.room.member")
        later = await self.bob.messages(
            self.street, **{"from": context["end"], "dir": "f", "limit": 1}
        )
        self.assertEqual(later["chunk"][0]["content"]["body"], "Something else 0")

    async def test_all_words_count_in_any_case_and_with_any_accents(self) -> None:
        said = {
            text: await self.alice.say(self.street, text)
            for text in (
                "Die Gärten hinter der Straße",
                "Le café est fermé",
                "Σήμερα στην ΟΔΌΣ μας",
                "我们的花园很美",
                "내일 정원에서 만나요",
                "आज बगीचे में",
                "see https://example.org/plans?x=1 now",
                "it's 100%_sure, a\0b",
            )
        }
        texts = list(said)
        for term, expected in {
            "GARTEN": texts[0],
            "strasse gart": texts[0],
            "Straße": texts[0],
            "cafe": texts[1],
            "CAFÉ FERMÉ": texts[1],
            "οδος": texts[2],
            "花园": texts[3],
            "园": texts[3],
            "정원": texts[4],
            "बगीचे": texts[5],
            "example plans": texts[6],
            "100% sure": texts[7],
            "it's": texts[7],
        }.items():
            self.assertEqual(await self.found(self.bob, term), [said[expected]], term)
        for term in ("garten cafe", "afe", "花很", "sur", "x=2"):
            expected_ids = [said[texts[7]]] if term == "sur" else []
            self.assertEqual(await self.found(self.bob, term), expected_ids, term)

    async def test_what_a_search_may_hold_without_harm(self) -> None:
        event_id = await self.alice.say(self.street, 'NEAR OR AND NOT "x" body words t null')
        for term in (
            'NEAR("x" or)', "words:null", "t*", '"', "'", "\\", "a:* & b", "^near", "- + ~",
            "OR", "') OR 1=1 --", "%", "?", "", "   ", "\ud7ff\uffff", "(((", "{x}", "near/2",
            "a " * 499, "z" * 1000, "near " * 200,
        ):  # fmt: skip
            answer = await search(self.bob, term)
            self.assertEqual(answer["count"], len(answer["results"]), term)
        self.assertEqual(await self.found(self.bob, 'NEAR("x" or)'), [event_id])
        self.assertEqual(await self.found(self.bob, " ".join(["near"] * 200)), [event_id])
        self.assertEqual(
            await search(self.bob, "!?"), {"count": 0, "results": [], "highlights": []}
        )
        for term in ("a\0b", "word " * 10_000, 5, None):
            body = {"search_categories": {"room_events": {"search_term": term}}}
            code, answer = await self.bob.call("POST", "/search", body)
            self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"))
        await self.alice.say(self.street, "y" * 60_000 + " \0 " + "ü" * 1000)
        self.assertEqual(len(await self.found(self.bob, "y" * 900)), 1)
        code, answer = await self.bob.call("POST", "/search", {"search_categories": {}})
        self.assertEqual((code, answer), (200, {"search_categories": {}}))

    async def test_names_and_topics_are_found_too(self) -> None:
        room = await self.alice.create_room(
            preset="public_chat", name="Allotment gardeners", topic="Seeds and tools"
        )
        said = await self.alice.say(room, "The gardeners meet: seeds, tools")
        rich = {"m.text": [{"body": "<b>no</b>", "mimetype": "text/html"}, {"body": "Compost"}]}
        topic = await self.alice.set_state(
            room, "m.room.topic", {"topic": "Tools", "m.topic": rich}
        )
        for term, keys, count in (
            ("gardeners", None, 2),
            ("gardeners", ["content.name"], 1),
            ("gardeners", ["content.body"], 1),
            ("gardeners", ["content.topic"], 0),
            ("tools", ["content.topic", "content.name"], 2),
            ("tools", [], 0),
            ("no", ["content.topic"], 0),
        ):
            more = {} if keys is None else {"keys": keys}
            self.assertEqual(len(await self.found(self.alice, term, **more)), count, (term, keys))
        self.assertEqual(await self.found(self.alice, "compost"), [topic])
        self.assertIn(said, await self.found(self.alice, "tools"))

    async def test_filters_narrow_it_down(self) -> None:
        garden = await self.alice.create_room(preset="public_chat")
        await self.bob.join(garden)
        one = await self.alice.say(self.street, "apples one", url="mxc://localhost/x")
        two = await self.bob.say(self.street, "apples two")
        three = await self.bob.say(garden, "apples three")
        for wanted, expected in (
            ({}, [three, two, one]),
            ({"rooms": [self.street]}, [two, one]),
            ({"rooms": []}, []),
            ({"rooms": ["!elsewhere:localhost"]}, []),
            ({"not_rooms": [self.street]}, [three]),
            ({"senders": [self.bob.id]}, [three, two]),
            ({"senders": []}, []),
            ({"not_senders": [self.bob.id]}, [one]),
            ({"senders": [self.bob.id], "not_senders": [self.bob.id]}, []),
            ({"types": ["m.room.*"]}, [three, two, one]),
            ({"types": ["m.room.topic"]}, []),
            ({"not_types": ["m.room.message"]}, []),
            ({"contains_url": True}, [one]),
            ({"contains_url": False}, [three, two]),
        ):
            self.assertEqual(await self.found(self.alice, "apples", filter=wanted), expected)
        self.assertEqual(
            len((await search(self.alice, "apples", filter={"limit": 0}))["results"]), 1
        )

    async def test_the_best_match_comes_first_unless_the_newest_is_wanted(self) -> None:
        exact = await self.alice.say(self.street, "Lost keys")
        long = await self.alice.say(self.street, "Has anybody seen the keys that I have lost?")
        newer = await self.alice.say(self.street, "lost keys!")
        answer = await search(self.bob, "keys lost", order_by="rank")
        self.assertEqual(ids(answer), [newer, exact, long])
        ranks = [result["rank"] for result in answer["results"]]
        self.assertEqual(ranks[:2], [1.0, 1.0])
        self.assertLess(ranks[2], 0.5)
        self.assertEqual(ids(await search(self.bob, "keys lost")), [newer, long, exact])
        body = {"search_categories": {"room_events": {"search_term": "keys lost"}}}
        answer = await self.bob.ask("POST", "/search", body)
        self.assertEqual(ids(answer["search_categories"]["room_events"]), [newer, exact, long])

    async def test_what_was_found_stays_found_after_a_restart(self) -> None:
        event_id = await self.alice.say(self.street, "The bakery opens at seven")
        await self.hearth.restart()
        self.assertEqual(await self.found(self.bob, "bakery"), [event_id])
        await self.alice.say(self.street, "The bakery is closed")
        self.assertEqual(len(await self.found(self.bob, "bakery")), 2)


class PagesTest(SearchCase):
    """Page by page, everything comes once."""

    async def setUp(self) -> None:
        await super().setUp()
        self.garden = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.garden)
        self.said: dict[tuple[str, str], list[str]] = {}
        for number in range(23):
            who = self.alice if number % 3 else self.bob
            room = self.street if number % 2 else self.garden
            event_id = await who.say(room, "bean " + "more " * (number % 4) + str(number))
            for group in (("room_id", room), ("sender", who.id), ("all", "")):
                self.said.setdefault(group, []).append(event_id)

    async def pages(self, batch: str | None = None, **more: Any) -> list[Answer]:
        """All pages, while people go on writing and changing what they wrote."""
        answers: list[Answer] = []
        while batch or not answers:
            answer = await search(self.bob, "bean", filter={"limit": 4}, next_batch=batch, **more)
            batch = answer.get("next_batch")
            self.assertTrue(answer["results"])
            answers.append(answer)
            await self.alice.say(self.street, "bean")
            relation = {"rel_type": "m.replace", "event_id": self.said["all", ""][0]}
            content = {"m.new_content": {"body": "something else"}, "m.relates_to": relation}
            await self.bob.say(self.garden, "* something else", **content)
        return answers

    async def test_every_hit_comes_exactly_once(self) -> None:
        for order_by in ("recent", "rank"):
            pages = await self.pages(order_by=order_by)
            seen = [event_id for page in pages for event_id in ids(page)]
            self.assertEqual(len(seen), len(set(seen)))
            self.assertEqual({page["count"] for page in pages}, {len(seen)})
            if order_by == "recent":
                self.assertEqual(seen, self.said["all", ""][::-1])
            else:
                ranks = [each["rank"] for page in pages for each in page["results"]]
                self.assertEqual(ranks, sorted(ranks, reverse=True))
                # By now the first one has been changed, and one has been added with each page.
                self.assertLessEqual(set(self.said["all", ""][1:]), set(seen))
                self.assertEqual(len(seen), 23 - 1 + 6)

    async def test_groups_have_pages_of_their_own(self) -> None:
        groupings = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}
        first = await search(self.bob, "bean", filter={"limit": 6}, groupings=groupings)
        for key, groups in first["groups"].items():
            together = [event_id for group in groups.values() for event_id in group["results"]]
            self.assertEqual(sorted(together), sorted(ids(first)))
            orders = [group["order"] for group in groups.values()]
            self.assertEqual(sorted(orders), [1, 2])
            for value, group in groups.items():
                pages = await self.pages(group["next_batch"], groupings=groupings)
                more = [event_id for page in pages for event_id in ids(page)]
                self.assertEqual(group["results"] + more, self.said[key, value][::-1])
                self.assertNotIn("next_batch", pages[-1]["groups"][key][value])
        whole = await search(self.bob, "bean", filter={"limit": 50}, groupings=groupings)
        self.assertNotIn("next_batch", whole)
        self.assertNotIn("next_batch", whole["groups"]["sender"][self.bob.id])

    async def test_frequent_words_are_counted_and_ranked_up_to_a_bound(self) -> None:
        self.patch(search_texts, "WINDOW", 7)
        said = self.said["all", ""][::-1]
        for order_by in ("recent", "rank"):
            pages = await self.pages(order_by=order_by)
            seen = [event_id for page in pages for event_id in ids(page)]
            self.assertEqual(len(seen), len(set(seen)))
            # What was written since is found as well, and what was changed no more.
            self.assertLessEqual(set(said[:-1]), set(seen))
            self.assertEqual({len(page["results"]) for page in pages[:-1]}, {4})
            # How many there are is no longer known, but it is the same on all pages.
            [count] = {page["count"] for page in pages}
            self.assertGreater(count, 7)
            if order_by == "rank":
                ranks = [each["rank"] for page in pages for each in page["results"]]
                self.assertEqual(ranks[:7], sorted(ranks[:7], reverse=True))
                older = [event_id for event_id in seen[7:] if event_id in said]
                self.assertEqual(older, [event_id for event_id in said if event_id in older])
        # All that Bob wrote before is beyond the bound, and is found in his group nevertheless.
        for who, room in [*[(self.alice, self.street)] * 8, (self.bob, self.garden)]:
            await who.say(room, "bean")
        groupings = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}
        for order_by in ("recent", "rank"):
            answer = await search(
                self.bob, "bean", filter={"limit": 6}, groupings=groupings, order_by=order_by
            )
            for key, groups in answer["groups"].items():
                for value, group in groups.items():
                    together, batch = list(group["results"]), group["next_batch"]
                    while batch:
                        more = await search(
                            self.bob, "bean", next_batch=batch, order_by=order_by,
                            filter={"limit": 4}, groupings=groupings,
                        )  # fmt: skip
                        together += ids(more)
                        batch = more.get("next_batch")
                    self.assertEqual(len(together), len(set(together)))
                    self.assertLessEqual(set(self.said[key, value][1:]), set(together))

    async def test_what_is_not_counted_is_taken_to_be_as_frequent(self) -> None:
        self.assertEqual(estimate(Extent(9, 0), 1000), 9)
        self.assertEqual(estimate(Extent(2000, 75_000), 100_000), 8000)
        self.assertEqual(estimate(Extent(2000, 10**18), 1), 2000)

    async def test_tokens_of_nobody_are_refused(self) -> None:
        body = {"search_categories": {"room_events": {"search_term": "bean"}}}
        for token in (
            "x",
            "1_2",
            "1_2_3_",
            "1_2_3",
            "1_2_3_4_5_color_red",
            "-1_2_3_4_5",
            f"1_2_3_4_{2**63}",
            "1_2_3_4_٣",
        ):
            code, answer = await self.bob.call("POST", "/search", body, query={"next_batch": token})
            self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"), token)
        for token in (
            "9" * 18 + "_1_0_1_1",
            f"{2**59}_{10**9 - 1}_{2**59}_{2**59}_{2**59}",
            "9_9_0_0_9_room_id_!no:where",
            "9_9_9_9_9_sender_x",
        ):
            code, _ = await self.bob.call("POST", "/search", body, query={"next_batch": token})
            self.assertEqual(code, 200, token)

    async def test_pages_and_surroundings_have_bounds(self) -> None:
        for number in range(40):
            await self.bob.say(self.garden, f"bean again {number}")
        huge = 2**53 - 1
        answer = await search(
            self.bob,
            "bean",
            filter={"limit": huge},
            event_context={"before_limit": huge, "after_limit": huge},
        )
        self.assertEqual((answer["count"], len(answer["results"])), (63, 50))
        context = answer["results"][25]["context"]
        self.assertEqual([len(context[f"events_{side}"]) for side in ("before", "after")], [10, 10])
        answer = await search(self.bob, "bean", event_context={"before_limit": 0})
        context = answer["results"][7]["context"]
        self.assertEqual([len(context[f"events_{side}"]) for side in ("before", "after")], [0, 5])

    async def test_searches_have_a_rate_limit(self) -> None:
        self.hearth = await self.server(rate_limits={"search": [0.001, 3]})
        alice = await self.hearth.person("alice")
        body = {"search_categories": {"room_events": {"search_term": "bean"}}}
        codes = [(await alice.call("POST", "/search", body))[0] for _ in range(4)]
        self.assertEqual(codes, [200, 200, 200, 429])
