"""Who waits in /sync, and waking them."""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from types import TracebackType
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from homeserver.devices import AccountChanged
from storage.stream import Change

AT_ONCE = 25
"""How many answers go out together."""
TURN = 0.2
"""Seconds for which those who are woken go on, before others have their turn."""
EARLY = 1 / 16
"""How much of a wait may be left out, for it to end together with others."""


class Waiter:
    """One waiting request. Enter it before looking for news, so that nothing falls in between."""

    def __init__(self, waiters: "Waiters", user_id: str, end: float) -> None:
        self.waited = 0.0
        """Seconds that it has slept."""
        self._waiters = waiters
        self._user_id = user_id
        self._end = end
        self._woken = False
        self._ended = False
        self._sleeping: Deferred[None] | None = None

    @property
    def is_over(self) -> bool:
        """It is time to answer: there is none left, or perhaps they may not be answered later."""
        return self._ended or self._waiters.seconds() >= self._end

    def __enter__(self) -> "Waiter":
        self._waiters.add(self._user_id, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiters.remove(self._user_id, self)

    async def sleep(self) -> None:
        """Wait until something may have happened, or it is over."""
        if not self._woken and not self.is_over:
            began = self._waiters.seconds()
            self._sleeping = Deferred()
            self._waiters.set_alarm(self, self._end)
            try:
                await self._sleeping
            finally:
                self._sleeping = None
                self._waiters.clear_alarm(self, self._end)
                self.waited += self._waiters.seconds() - began
        self._woken = False

    def wake(self) -> None:
        """Something happened. The sleeper goes on soon, when it is its turn."""
        if not self._woken:
            self._woken = True
            if self._sleeping is not None:
                self._waiters.rouse_soon(self)

    def end(self) -> None:
        """What the account may do has changed: time to answer, and to be asked again who it is."""
        self._ended = True
        self.wake()

    def rouse(self) -> None:
        """It is its turn."""
        if self._sleeping is not None and not self._sleeping.called:
            self._sleeping.callback(None)

    def expire(self) -> None:
        """Its time has run out."""
        self._ended = True
        self.rouse()


@define
class Alarm:
    """Those whose time runs out together."""

    call: IDelayedCall
    waiters: set[Waiter] = field(factory=set)


class Waiters:
    """Everybody who waits, by person.

    Those who are woken together go on together, and soon: so whoever sent the message has their
    answer first, and the last receiver need not wait until the first have come back and been read.
    """

    def __init__(
        self,
        reactor: Any,
        joined: Callable[[str], Collection[str]],
        together: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """``joined`` tells who has joined a room; what is answered within ``together`` goes out at
        its end."""
        self._reactor = reactor
        self.seconds: Callable[[], float] = reactor.seconds
        self._together = together
        self._joined = joined
        self._waiting: dict[str, set[Waiter]] = defaultdict(set)
        self._due: deque[Waiter] = deque()
        self._alarms: dict[float, Alarm] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def enter(self, user_id: str, seconds: float) -> Waiter:
        """A waiter for a request of ``user_id``, to be used in a ``with`` statement.

        It is over after ``seconds``, or up to a sixteenth of them earlier: to answer many at once
        takes a fraction of what it takes to be called for each of them.
        """
        end = self.seconds() + seconds
        if seconds > 0:
            end -= end % 2.0 ** math.floor(math.log2(seconds * EARLY))
        return Waiter(self, user_id, end)

    def add(self, user_id: str, waiter: Waiter) -> None:
        """``waiter`` wants to hear of what ``user_id`` can see."""
        self._waiting[user_id].add(waiter)

    def remove(self, user_id: str, waiter: Waiter) -> None:
        """It has heard enough."""
        waiting = self._waiting[user_id]
        waiting.discard(waiter)
        if not waiting:
            del self._waiting[user_id]

    def set_alarm(self, waiter: Waiter, end: float) -> None:
        """Have ``waiter`` roused when it is over."""
        alarm = self._alarms.get(end)
        if alarm is None:
            seconds = max(0.0, end - self.seconds())
            alarm = Alarm(self._reactor.callLater(seconds, self._ring, end))
            self._alarms[end] = alarm
        alarm.waiters.add(waiter)

    def clear_alarm(self, waiter: Waiter, end: float) -> None:
        """``waiter`` no longer sleeps."""
        alarm = self._alarms[end]
        alarm.waiters.discard(waiter)
        if not alarm.waiters:
            del self._alarms[end]
            if alarm.call.active():
                alarm.call.cancel()

    def _ring(self, end: float) -> None:
        """Time has run out for some. Nothing has happened, so others have a turn between them."""
        alarm = self._alarms[end]
        with self._together():
            for waiter in list(islice(alarm.waiters, AT_ONCE)):
                waiter.expire()
        if end in self._alarms:
            alarm.call = self._reactor.callLater(0, self._ring, end)

    def rouse_soon(self, waiter: Waiter) -> None:
        """``waiter`` sleeps and has been woken."""
        self._due.append(waiter)
        if len(self._due) == 1:
            self._reactor.callLater(0, self._rouse_some)

    def _rouse_some(self) -> None:
        end = self.seconds() + TURN
        while self._due and self.seconds() <= end:
            with self._together():
                for _ in range(min(AT_ONCE, len(self._due))):
                    self._due.popleft().rouse()
        if self._due:
            self._reactor.callLater(0, self._rouse_some)

    def follow(self, changes: Sequence[Change]) -> None:
        """Wake everybody who can see one of the changes, or may no longer see anything."""
        for room_id in {room_id for change in changes for room_id in change.rooms}:
            self.wake(self._joined(room_id))
        self.wake({user_id for change in changes for user_id in change.users})
        for change in changes:
            if isinstance(change, AccountChanged):
                for waiter in self._waiting.get(change.user_id, ()):
                    waiter.end()

    def wake(self, users: Collection[str]) -> None:
        """Wake those of ``users`` who wait."""
        if len(users) > len(self._waiting):
            users = [user_id for user_id in self._waiting if user_id in users]
        for user_id in users:
            for waiter in self._waiting.get(user_id, ()):
                waiter.wake()
