"""The group that the steps work with, and the ways in which all of its members do something."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from e2e.selftest.client import Client, in_turns, together
from e2e.selftest.faults import check
from e2e.selftest.ledger import Ledger
from e2e.selftest.member import Member
from e2e.selftest.olm_device import PublicDevice

AT_ONCE = 8
"""Requests under way at a time, where the whole group asks for something."""

T = TypeVar("T")
U = TypeVar("U")


class Progress(Protocol):
    """Somebody who watches."""

    def begins(self, title: str, number: int, of: int) -> None:
        """A step begins."""

    def advances(self, done: int, of: int) -> None:
        """So much of it has been done."""


@frozen
class Delivery:
    """How something reached many."""

    accepted_seconds: float
    """From sending it to the server's answer."""
    last_seconds: float
    """From that answer to its arrival at the last receiver."""


@define(eq=False)
class Group:
    """Throw-away people on one server, the room that they share, and what has been seen so far."""

    client: Client
    ledger: Ledger
    progress: Progress
    size: int
    name: str
    """What the names of all accounts begin with."""
    password: str
    patience: float
    """How many seconds a delivery may take before it counts as lost."""
    members: list[Member] = field(factory=list)
    """In the order of their arrival. The first one makes the room and writes."""
    room_id: str = ""
    devices: dict[str, PublicDevice] = field(factory=dict)
    """What the server has told of the members' devices, verified."""
    _transactions: int = 0

    @property
    def writer(self) -> Member:
        """Whoever makes the room and writes."""
        return self.members[0]

    @property
    def readers(self) -> list[Member]:
        """Everybody else who is in the room."""
        return [member for member in self.members[1:] if member.is_in_room]

    def transaction(self) -> str:
        """A transaction id that has not been used."""
        self._transactions += 1
        return f"{self.name}-{self._transactions}"

    async def all(
        self, work: Callable[[T], Awaitable[U]], things: Sequence[T], at_once: int = AT_ONCE
    ) -> list[U]:
        """Network operations for many members, some at a time."""
        total = len(things)
        return await in_turns(
            work, things, at_once, lambda done: self.progress.advances(done, total)
        )

    async def compute(self, work: Callable[[T], U], things: Iterable[T]) -> list[U]:
        """Encryption work for many members, on a thread, each piece timed."""

        def timed() -> list[U]:
            results = []
            for thing in things:
                with self.ledger.encryption():
                    results.append(work(thing))
            return results

        results: list[U] = await deferToThread(timed)
        return results

    async def catch_up(self, members: Sequence[Member]) -> None:
        """Have members sync to where the server is now."""
        await self.all(lambda member: member.sync(), members)

    async def deliver(
        self,
        send: Callable[[], Awaitable[Any]],
        receivers: Sequence[Member],
        happened: Callable[[Member], bool],
        what: str,
    ) -> Delivery:
        """Send something while all receivers wait in /sync, and see that it reaches them.

        They forget what they have seen before, so ``happened`` judges what comes now.

        Raises:
            Fault: some never get it; ``what`` says what it is.
        """
        await self.catch_up(receivers)
        for member in receivers:
            member.forget()
        waiting = Deferred.fromCoroutine(
            together(member.until(happened, self.patience) for member in receivers)
        )
        try:
            await self.client.calm()
            begun = perf_counter()
            await send()
            accepted = perf_counter()
            arrivals = await waiting
        except BaseException:
            # They have nothing to say any more, and how they end is of no interest.
            waiting.addErrback(lambda failure: None)
            waiting.cancel()
            raise
        arrived = [arrival for arrival in arrivals if arrival is not None]
        missing = len(receivers) - len(arrived)
        check(
            missing == 0,
            f"{missing} of {len(receivers)} members have not got {what} within {self.patience:g} s",
        )
        return Delivery(accepted - begun, max(0.0, max(arrived) - accepted))


def check_exactly(got: Any, expected: Any, what: str) -> None:
    """Go on only if two values are the same.

    Raises:
        Fault: they are not; ``what`` says what they are.
    """
    check(got == expected, f"{what} must be {expected!r}, but is {got!r}")
