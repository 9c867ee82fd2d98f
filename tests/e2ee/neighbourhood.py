"""How people ask the server, one by one or at once, and how answers are compared with the model.

What they ask is in ``deeds``.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, FirstError, gatherResults

from tests.e2ee.model import KnownDevice, Message, World, check
from tests.e2ee.wire import bodies, sync
from tests.olm_devices import Json
from tests.support import Server


@define(eq=False)
class Attempt:
    """A request that may be repeated: a second time it does nothing."""

    sender: KnownDevice
    method: str
    path: str
    body: Json
    succeeded: Callable[[], None]

    async def make(self) -> None:
        """Ask; it has to succeed."""
        await self.sender.device.person.ask(self.method, self.path, self.body)
        self.succeeded()


@define(eq=False)
class Neighbourhood:
    """Everybody who lives on a server, and what the model knows of them."""

    server: Server
    dice: Random
    most_keys: int
    world: World = field(factory=World)
    told: list[str] = field(factory=list)
    """What has happened, for whoever has to find out why it went wrong."""
    done: int = 0
    may_die: bool = False
    """Whether the server may be killed at any moment."""
    is_quiet: bool = True
    """Whether one thing happens at a time, so that counts can be compared."""
    unanswered: list[Attempt] = field(factory=list)
    sent: list[Attempt] = field(factory=list)
    renaming: set[str] = field(factory=set)
    numbers: Any = field(factory=count)

    async def alone(self, acts: dict[str, int]) -> None:
        """One thing, while nothing else happens."""
        (name,) = self.dice.choices([*acts], [*acts.values()])
        await self._do(name)
        self._settle()

    async def together(self, acts: dict[str, int], number: int) -> None:
        """So many things at the same time."""
        self.is_quiet = False
        names = self.dice.choices([*acts], [*acts.values()], k=number)
        self.told.append("at once:")
        await self._at_once(*(self._do(name) for name in names))
        self.is_quiet = True
        self._settle()

    async def recover(self) -> None:
        """The server was killed and is back: everybody repeats what was not answered."""
        attempts, self.unanswered = self.unanswered, []
        for attempt in attempts:
            await attempt.make()
        self._settle()
        await self.catch_up()

    async def catch_up(self) -> None:
        """Every device gets everything: nothing may be missing, and the counts must be true."""
        for known in self.world.everywhere:
            while bodies(await self._sync(known)):
                pass
            check(not known.queue, f"{known.address} never got {[*known.queue]}")
            check(not known.must, f"{known.address} never heard of {[*known.must]}")

    async def _do(self, name: str) -> None:
        await getattr(self, name)()
        self.done += 1

    def _settle(self) -> None:
        """Nothing is under way: look at what was handed out."""
        if not self.unanswered:
            for known in self.world.everywhere:
                known.settle_claims()

    # How it is done.

    async def _begin(self, known: KnownDevice) -> None:
        """A new device makes itself known."""
        self.told.append(f"{known.address} logs in")
        self.world.devices[known.user_id].append(known)
        await self._introduce(known)

    async def _introduce(self, known: KnownDevice) -> None:
        self.told.append(f"{known.address} has a new identity")
        await known.device.ok("POST", "/keys/upload", {"device_keys": known.device.device_keys()})
        self.world.changed(known.user_id)

    async def _upload(self, known: KnownDevice, number: int) -> None:
        keys = known.device.one_time_keys(number)

        def succeeded() -> None:
            known.is_uploading = False
            known.uploaded(keys, self.world.now(), self.most_keys)

        known.is_uploading = True
        self.told.append(f"{known.address} uploads {[*keys]}")
        body = {"one_time_keys": keys}
        await self._attempt(Attempt(known, "POST", "/keys/upload", body, succeeded))

    async def _send(self, people: list[tuple[str, bool]]) -> None:
        """A message for people: for all of their devices, or for some."""
        message = Message(next(self.numbers), self.world.now())
        content, targets, receivers = {"body": message.body}, {}, []
        for user_id, is_for_all in people:
            devices = self.world.devices[user_id]
            if is_for_all:
                targets[user_id] = {"*": content}
            else:
                devices = self.dice.sample(devices, self.dice.randint(1, len(devices)))
                targets[user_id] = {known.name: content for known in devices}
                targets[user_id]["TOASTER"] = content
            receivers += devices
        for known in receivers:
            known.queue[message.body] = message

        def succeeded() -> None:
            message.ended = min(message.ended, self.world.now())

        sender, path = self._known(), f"/sendToDevice/m.room.encrypted/t{message.body}"
        names = [known.address for known in receivers]
        self.told.append(f"{sender.address} sends {message.body} to {names}")
        attempt = Attempt(sender, "PUT", path, {"messages": targets}, succeeded)
        self.sent.append(attempt)
        await self._attempt(attempt)

    async def _attempt(self, attempt: Attempt) -> None:
        try:
            await attempt.make()
        except Exception as error:
            self._forgive(error)
            self.unanswered.append(attempt)

    async def _sync(
        self, known: KnownDevice, *, is_lost: bool = False, times: int = 1, timeout: int = 0
    ) -> Json:
        """One /sync, or several of the same, each of them checked; the last answer."""
        began, is_quiet = self.world.now(), self.is_quiet
        known.is_busy = True
        try:
            answers = await self._at_once(
                *(sync(known.device, known.since, timeout * 1000) for _ in range(times))
            )
        except Exception as error:
            self._forgive(error)
            return {}
        finally:
            known.is_busy = False
        known.unacknowledged = {}
        tracked = self.world.tracked_by(known.user_id)
        for answer in answers:
            came = known.check_messages(answer, began, overlapped=times > 1)
            self.told.append(f"{known.address} syncs{' in vain' * is_lost}: {came}")
            known.check_device_lists(answer, began, tracked)
            if is_quiet:
                known.check_counts(answer)
            known.shown = max(known.shown, came, key=len)
        if not is_lost:
            known.process(answers[-1], came, began, tracked)
        return answers[-1]

    def _forgive(self, error: Exception) -> None:
        """Only a server that was killed need not answer."""
        if not self.may_die or isinstance(error, AssertionError):
            raise error

    async def _at_once(self, *works: Any) -> list[Any]:
        doing = [Deferred.fromCoroutine(each) for each in works]
        try:
            return list(await gatherResults(doing, consumeErrors=True))
        except FirstError as error:
            raise error.subFailure.value from None

    def _owner(self, method: str, path: str, body: Json) -> Awaitable[Json]:
        return self.world.everywhere[0].device.ok(method, path, body)

    def _keeps(self, room: str, user_id: str) -> bool:
        """Whether the owner of a room is there to do something about somebody else."""
        owner = self.world.everywhere[0].user_id
        return owner in self.world.rooms[room] and user_id != owner

    def _known(self) -> KnownDevice:
        return self.dice.choice(self.world.everywhere)

    def _idle(self) -> KnownDevice | None:
        idle = [known for known in self.world.everywhere if not known.is_busy]
        return self.dice.choice(idle) if idle else None

    def _room(self) -> str:
        return self.dice.choice([*self.world.rooms])
