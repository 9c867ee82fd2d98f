"""Anything in any order: what each device gets is compared with what a model says it must get."""

from collections.abc import Callable
from random import Random
from time import sleep
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from e2e import one_time_keys as rules
from tests.e2ee.deeds import Deeds
from tests.processes import ServerProcess
from tests.support import Server, WireTest, seed

STORIES = 3
ROUNDS = 250
"""In each round something happens alone, and some things happen at the same time."""
MOST_AT_ONCE = 8
DEATHS = 8
FEW_KEYS = 20

# The larger the number, the more often it happens.
TOGETHER = {
    "send": 8,
    "claim": 6,
    "sync": 6,
    "upload": 5,
    "lose": 3,
    "rename": 2,
    "repeat": 2,
    "sync_twice": 1,
}
ALONE = {
    "sync": 6,
    "query": 3,
    "join": 6,
    "leave": 4,
    "log_in": 4,
    "log_out": 2,
    "log_in_again": 2,
    "lose_keys": 2,
    "lose": 2,
    "ban": 2,
    "invite": 3,
    "decline": 2,
    "flood": 2,
    "upload_again": 2,
    "upload_other": 1,
    "upload_fallback": 3,
    "wait": 3,
    "claim": 2,
    "restart": 1,
}


class ModelTest(WireTest):
    """Nothing is lost, doubled, reordered or handed out twice."""

    timeout = 600

    async def test_whatever_people_do(self) -> None:
        """On a server that commits slowly and restarts now and then."""
        self.patch(rules, "MOST_KEYS", FEW_KEYS)
        begin = seed()
        for number in range(begin, begin + STORIES):
            dice = Random(number)
            server = SlowServer(self, {})
            server.dice = Random(number)
            story = Deeds(await server.start(), dice, FEW_KEYS)
            await self.tell(number, story, lambda s: self.live(s, ROUNDS))
            await server.stop()

    async def live(self, story: Deeds, rounds: int) -> None:
        """So many rounds of life."""
        for _ in range(rounds):
            await story.alone(ALONE)
            await story.together(TOGETHER, story.dice.randint(2, MOST_AT_ONCE))
        await story.catch_up()

    async def test_whenever_the_server_is_killed(self) -> None:
        """SIGKILL while everybody is busy; then everybody repeats what was not answered."""
        begin = seed()
        server = ServerProcess(self, {})
        self.addCleanup(server.kill)
        story = Deeds(await server.start(), Random(begin), rules.MOST_KEYS)
        await self.tell(begin, story, lambda s: self.die(s, server))
        await server.stop()
        self.assertNotIn("Traceback", server.log)

    async def die(self, story: Deeds, server: ServerProcess) -> None:
        """Live for a while, be killed, and go on, some times."""
        quietly = {name: weight for name, weight in ALONE.items() if name != "restart"}
        for _ in range(DEATHS):
            for _ in range(6):
                await story.alone(quietly)
                await story.together(TOGETHER, MOST_AT_ONCE)
            story.may_die = True
            busy = Deferred.fromCoroutine(self.be_busy(story))
            await deferLater(default_reactor, story.dice.uniform(0.1, 0.6))
            story.told.append("the server is killed")
            await server.kill()
            await busy
            story.may_die = False
            await server.start()
            await story.recover()

    async def be_busy(self, story: Deeds) -> None:
        """Many things at once, until something is not answered."""
        while not story.unanswered:
            await story.together(TOGETHER, 3 * MOST_AT_ONCE)

    async def tell(self, number: int, story: Deeds, live: Callable[[Deeds], Any]) -> None:
        """Live a story; if it ends badly, say what happened."""
        try:
            await story.move_in()
            await live(story)
        except Exception as error:
            last = "\n  ".join(story.told[-60:])
            raise AssertionError(
                f"{error}\nHEARTH_TEST_SEED={number}, after {story.done} steps:\n  {last}"
            ) from error


class SlowServer(Server):
    """A server whose commits sometimes take a while, before they are on the disk and after."""

    dice: Random

    async def start(self) -> "SlowServer":
        """Start, or start again."""
        await super().start()
        committer: Any = self.app.storage.store._committer
        commit = committer._commit

        def slow_commit(works: Any) -> Any:
            self.linger()
            committed = commit(works)
            self.linger()
            return committed

        committer._commit = slow_commit
        return self

    def linger(self) -> None:
        """Mostly not at all."""
        if self.dice.random() < 0.2:
            sleep(self.dice.uniform(0, 0.02))
