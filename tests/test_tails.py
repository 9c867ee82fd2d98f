"""The ends of timelines in memory: without a gap, without doubles, and never a redacted content."""

from twisted.trial.unittest import SynchronousTestCase

from homeserver.rooms.cache import SHORT, TAIL, Tail
from storage.events import Event
from tests.support import WireTest, timeline


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
