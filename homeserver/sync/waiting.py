"""Who waits in /sync, and waking them."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from twisted.internet.defer import Deferred

from homeserver.devices import AccountChanged
from storage.stream import Change

AT_ONCE = 25
"""How many answers go out together."""
TURN = 0.2
"""Seconds for which those who are woken go on, before others have their turn."""


class Waiter:
    """One waiting request. Enter it before looking for news, so that nothing falls in between."""

    def __init__(self, waiters: "Waiters", user_id: str) -> None:
        self._waiters = waiters
        self._user_id = user_id
        self._woken = False
        self._sleeping: Deferred[None] | None = None
        self.is_over = False
        """Whoever waits should answer now: perhaps they may not be answered later."""

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

    async def sleep(self, seconds: float) -> bool:
        """Wait until something may have happened; False if nothing did in that time."""
        if not self._woken and seconds > 0:
            self._sleeping = Deferred()
            alarm = self._waiters.reactor.callLater(seconds, self.rouse)
            try:
                await self._sleeping
            finally:
                self._sleeping = None
                if alarm.active():
                    alarm.cancel()
        woken, self._woken = self._woken, False
        return woken

    def wake(self) -> None:
        """Something happened. The sleeper goes on soon, when it is its turn."""
        if not self._woken:
            self._woken = True
            if self._sleeping is not None:
                self._waiters.rouse_soon(self)

    def end(self) -> None:
        """What the account may do has changed: time to answer, and to be asked again who it is."""
        self.is_over = True
        self.wake()

    def rouse(self) -> None:
        """It is its turn, or time has run out."""
        if self._sleeping is not None and not self._sleeping.called:
            self._sleeping.callback(None)


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
        self.reactor = reactor
        self._together = together
        self._joined = joined
        self._waiting: dict[str, set[Waiter]] = defaultdict(set)
        self._due: deque[Waiter] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def enter(self, user_id: str) -> Waiter:
        """A waiter for a request of ``user_id``, to be used in a ``with`` statement."""
        return Waiter(self, user_id)

    def add(self, user_id: str, waiter: Waiter) -> None:
        """``waiter`` wants to hear of what ``user_id`` can see."""
        self._waiting[user_id].add(waiter)

    def remove(self, user_id: str, waiter: Waiter) -> None:
        """It has heard enough."""
        waiting = self._waiting[user_id]
        waiting.discard(waiter)
        if not waiting:
            del self._waiting[user_id]

    def rouse_soon(self, waiter: Waiter) -> None:
        """``waiter`` sleeps and has been woken."""
        self._due.append(waiter)
        if len(self._due) == 1:
            self.reactor.callLater(0, self._rouse_some)

    def _rouse_some(self) -> None:
        end = self.reactor.seconds() + TURN
        while self._due and self.reactor.seconds() <= end:
            with self._together():
                for _ in range(min(AT_ONCE, len(self._due))):
                    self._due.popleft().rouse()
        if self._due:
            self.reactor.callLater(0, self._rouse_some)

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
