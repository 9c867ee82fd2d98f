"""Who waits in /sync: when those who are woken go on. Without a network and without waiting."""

from contextlib import nullcontext

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from homeserver.sync import waiting
from homeserver.sync.waiting import TURN, Waiters

PEOPLE = [f"@neighbour{number}:elm.example" for number in range(5)]


class TurnsTest(SynchronousTestCase):
    """Five neighbours wait for the same message."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.waiters = Waiters(self.clock, lambda room_id: PEOPLE, nullcontext)
        self.happened: list[str] = []
        self.takes = 0.0
        for person in PEOPLE:
            Deferred.fromCoroutine(self.wait(person))

    async def wait(self, person: str) -> None:
        """Sleep once, and take some time for the answer."""
        with self.waiters.enter(person) as waiter:
            if await waiter.sleep(30):
                self.happened.append(person)
                self.clock.rightNow += self.takes

    def test_whoever_sent_the_message_is_answered_first_and_then_all_are(self) -> None:
        self.waiters.wake(PEOPLE)
        self.happened.append("sent")
        self.clock.advance(0)
        self.assertEqual(self.happened, ["sent", *PEOPLE])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_others_have_a_turn_when_there_are_many(self) -> None:
        self.patch(waiting, "AT_ONCE", 1)
        self.takes = TURN * 0.6
        self.waiters.wake(PEOPLE)
        self.clock.callLater(0, self.happened.append, "another")
        self.clock.advance(0)
        self.assertEqual(self.happened, [*PEOPLE[:2], "another", *PEOPLE[2:]])

    def test_whoever_is_woken_twice_goes_on_once_and_sleeps_again(self) -> None:
        self.waiters.wake(PEOPLE)
        self.waiters.wake(PEOPLE[:1])
        self.clock.advance(0)
        self.waiters.wake(PEOPLE)
        self.clock.advance(0)
        self.assertEqual(self.happened, PEOPLE)
        self.assertEqual(len(self.waiters), 0)

    def test_time_runs_out_for_whoever_nobody_wakes(self) -> None:
        self.waiters.wake(PEOPLE[:1])
        self.clock.advance(30)
        self.assertEqual(self.happened, PEOPLE[:1])
        self.assertEqual(len(self.waiters), 0)
