"""The ends of timelines in memory: without a gap, without doubles, and never a redacted content."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from homeserver.rooms.cache import SHORT, TAIL, Tail
from storage.events import Event
from tests.support import Person, WireTest, timeline


def event(seq: int, text: str = "") -> Event:
    """Event number ``seq`` of a room, at a position three times as high."""
    fixed = ("m.room.message", "@a:b", None, 0, text, "", None, None, None, None, 0)
    return Event(3 * seq, "!r:b", seq, f"${seq}", *fixed)


def numbers(found: list[Event] | None) -> list[int] | None:
    """Their numbers."""
    return None if found is None else [each.seq for each in found]


class TailsTest(SynchronousTestCase):
    """What the stream brings, and what is fetched from before."""

    def test_what_came_before_joins_on(self) -> None:
        tail = Tail(begins_after=25)
        tail.append(event(9))
        self.assertTrue(tail.is_short)
        self.assertEqual(numbers(tail.between(25, 99)), [9])
        self.assertIsNone(tail.between(20, 99))
        tail.prepend([event(6), event(7), event(8), event(9), event(10)])
        self.assertEqual(numbers(tail.between(17, 99)), [6, 7, 8, 9])
        self.assertIsNone(tail.between(15, 99))
        self.assertEqual(numbers(tail.backwards(24)), [8, 7, 6])

    def test_what_leaves_a_gap_is_not_taken(self) -> None:
        tail = Tail(begins_after=25)
        tail.append(event(9))
        tail.prepend([event(6), event(7)])
        self.assertEqual(numbers(tail.backwards(99)), [9])
        self.assertIsNone(tail.between(20, 99))

    def test_what_was_fetched_before_it_was_public_comes_once(self) -> None:
        tail = Tail(begins_after=25)
        tail.prepend([event(8), event(9)])
        self.assertEqual(numbers(tail.backwards(upto=26)), [8])
        tail.append(event(9))
        tail.append(event(10))
        self.assertEqual(numbers(tail.between(23, 99)), [8, 9, 10])

    def test_it_stays_short_enough_and_becomes_long_enough(self) -> None:
        tail = Tail(begins_after=0)
        tail.prepend([event(seq) for seq in range(100, 100 + SHORT)])
        self.assertFalse(tail.is_short)
        for seq in range(100 + SHORT, 300):
            tail.append(event(seq))
        self.assertEqual(len(tail.backwards(999)), TAIL)
        whole = Tail(begins_after=0)
        whole.prepend([event(1), event(2)])
        self.assertFalse(whole.is_short)


class FirstLookTest(WireTest):
    """Somebody sees rooms for the first time after a restart, while things go on."""

    async def test_a_first_look_and_what_comes_after_it(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(invite=[bob.id])
        await bob.join(room)
        sent = [await alice.say(room, str(number)) for number in range(SHORT + 5)]
        gone = await alice.say(room, "secret")
        await hearth.restart()
        first = await bob.sync()
        self.assertEqual([each["event_id"] for each in timeline(first, room)][-1], gone)
        self.assertTrue(first["rooms"]["join"][room]["timeline"]["limited"])
        await alice.ask("PUT", f"/rooms/{room}/redact/{gone}/{alice.transaction()}")
        last = await alice.say(room, "last")
        again = await (await hearth.log_in(bob)).sync()
        events = {each["event_id"]: each for each in timeline(again, room)}
        self.assertEqual(len(events), len(timeline(again, room)))
        self.assertEqual((events[gone]["content"], list(events)[-1]), ({}, last))
        self.assertIn(sent[-1], events)


class GapTest(WireTest):
    """People catch up on more than is in memory."""

    async def test_the_end_of_a_gap_is_the_same_from_memory_and_from_the_database(self) -> None:
        hearth = await self.server(rooms={"encrypt": [], "self_room": False})
        alice, bob, carol, dave = await hearth.people("alice", "bob", "carol", "dave")
        room = await alice.create_room(preset="public_chat")
        await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
        for person in (bob, carol, dave):
            await person.join(room)
        ignored = {"ignored_users": {bob.id: {}}}
        await carol.ask("PUT", f"/user/{carol.id}/account_data/m.ignored_user_list", ignored)
        readers = {person: [(await person.sync())["next_batch"]] for person in (bob, carol, dave)}
        for number in range(TAIL + 20):
            await (alice, bob)[number % 3 == 0].say(room, str(number))
            if number in (3, TAIL):
                await alice.set_state(room, "m.room.topic", {"topic": str(number)})
            if number == 10:
                await dave.ask("POST", f"/rooms/{room}/leave")
            if number == TAIL - 5:
                await dave.join(room)
            if number in (5, 19, 20, 21, 30):
                for person, tokens in readers.items():
                    tokens.append((await person.sync())["next_batch"])
        limits = [{"limit": limit} for limit in (1, 5, 24, 25, 26, TAIL - 1, TAIL, TAIL + 1, 200)]
        chosen = [{"senders": [bob.id], "limit": 20}, {"types": ["m.room.topic"], "limit": 1}]
        cases = [
            (person, token, {"room": {"timeline": wanted}})
            for person, tokens in readers.items()
            for token in tokens
            for wanted in [*limits, *chosen, {"not_types": ["m.room.message"], "limit": 2}]
        ]
        remembered = [await self.section(*case, room) for case in cases]
        self.assertEqual(
            {section["timeline"]["limited"] for section in remembered if section}, {True, False}
        )
        await hearth.restart()
        for case, section in zip(cases, remembered, strict=True):
            self.assertEqual(await self.section(*case, room), section, case[1:])

    async def section(self, person: Person, since: str, wanted: object, room: str) -> Any:
        """What the person sees of the room, without what depends on the time."""
        answer = await person.sync(since, filter=wanted)
        section = answer.get("rooms", {}).get("join", {}).get(room)
        for part in ("timeline", "state") if section else ():
            for event in section[part]["events"]:
                del event["unsigned"]["age"]
        if section:
            section["state"]["events"].sort(key=lambda event: event["event_id"])
        return section
