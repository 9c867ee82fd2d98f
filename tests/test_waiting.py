"""Who waits in /sync: when those who are woken go on. Without a network and without waiting."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from homeserver.sync import waiting
from homeserver.sync.waiting import AT_ONCE, EARLY, TURN, Waiters

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
        with self.waiters.enter(person, 30) as waiter:
            await waiter.sleep()
            if not waiter.is_over:
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
        self.clock.advance(0)
        self.clock.advance(30)
        self.assertEqual(self.happened, PEOPLE[:1])
        self.assertEqual(len(self.waiters), 0)


class RunningOutTest(SynchronousTestCase):
    """Neighbours for whom nothing happens."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.waiters = Waiters(self.clock, lambda room_id: (), self.together)
        self.waited: list[float] = []
        self.answered_together: list[int] = []

    @contextmanager
    def together(self) -> Iterator[None]:
        """Count who is answered within."""
        before = len(self.waited)
        yield
        self.answered_together.append(len(self.waited) - before)

    def wait(self, seconds: float) -> Deferred[None]:
        """Wait for so long."""

        async def until_it_is_over() -> None:
            with self.waiters.enter("@anna:elm.example", seconds) as waiter:
                while not waiter.is_over:
                    await waiter.sleep()
                self.waited.append(waiter.waited)

        return Deferred.fromCoroutine(until_it_is_over())

    @given(st.floats(0, 2e9), st.floats(0.001, 120))
    def test_a_wait_is_never_longer_and_hardly_shorter_than_asked_for(
        self, now: float, seconds: float
    ) -> None:
        self.setUp()
        self.clock.rightNow = now
        self.wait(seconds)
        [alarm] = self.clock.getDelayedCalls()
        rounding = 1e-6
        self.assertLessEqual(alarm.getTime(), now + seconds + rounding)
        self.assertGreaterEqual(alarm.getTime(), now + seconds * (1 - EARLY) - rounding)
        self.clock.advance(seconds + rounding)
        self.assertEqual(len(self.waited), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_that_end_within_half_a_second_end_together(self) -> None:
        for _ in range(5):
            self.wait(10)
            self.clock.advance(0.09)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(10)
        self.assertEqual(self.answered_together, [5])

    def test_others_have_a_turn_when_many_end_together(self) -> None:
        for _ in range(AT_ONCE + 1):
            self.wait(10)
        self.clock.callLater(10.01, lambda: self.assertEqual(len(self.waited), AT_ONCE))
        self.clock.advance(10.02)
        self.assertEqual(len(self.waited), AT_ONCE + 1)

    def test_whoever_goes_away_takes_nobody_with_them(self) -> None:
        gone, other = self.wait(10), self.wait(10)
        gone.addErrback(lambda failure: None)
        gone.cancel()
        self.clock.advance(10)
        self.assertTrue(other.called)
        self.wait(10).addErrback(lambda failure: None).cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_time_at_all_is_over_at_once(self) -> None:
        self.wait(0)
        self.assertEqual(self.waited, [0.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])
