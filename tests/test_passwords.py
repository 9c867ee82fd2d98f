"""Hashing passwords: so dear that it must not be felt by anybody else."""

import os
import sys
from threading import Event
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import TestCase

from homeserver import passwords
from homeserver.passwords import Passwords
from schema.errors import Unavailable
from tests.support import PASSWORD, WireTest
from tests.test_query_budgets import Spent


class CrowdTest(WireTest):
    async def test_who_comes_when_too_many_wait_is_told_when_to_come_back(self) -> None:
        self.patch(passwords, "MAX_WAITING", 3)
        hearth = await self.server()
        anna = await hearth.person("anna")
        go_on = self.busy(hearth.app.people.passwords)
        body = {"type": "m.login.password", "user": "anna", "password": PASSWORD}
        logins = [Deferred.fromCoroutine(hearth.call("POST", "/login", body)) for _ in range(4)]
        (code, answer), number = await DeferredList(logins, fireOnOneCallback=True)
        self.assertEqual((code, answer["errcode"]), (429, "M_LIMIT_EXCEEDED"))
        self.assertGreater(answer["retry_after_ms"], 0)
        go_on.set()
        answers = await gatherResults([each for each in logins if each is not logins[number]])
        self.assertEqual([code for code, _ in answers], [200, 200, 200])
        await hearth.log_in(anna)

    async def test_who_waits_for_their_turn_asks_nothing_of_the_database(self) -> None:
        hearth = await self.server()
        await hearth.people("anna", "bert")
        hashing, store = hearth.app.people.passwords, hearth.app.storage.store
        address = {"type": "m.id.thirdparty", "medium": "email", "address": "anna@example.org"}
        named = [{"user": "anna"}, {"user": "bert"}, {"user": "nobody"}, {"identifier": address}]
        go_on = self.busy(hashing)
        bodies = [{"type": "m.login.password", "password": PASSWORD, **each} for each in named]
        logins = [Deferred.fromCoroutine(hearth.call("POST", "/login", body)) for body in bodies]
        with Spent(hearth, "POST v3/login") as spent:
            while hashing._waiting < len(logins) or store.reading:
                await deferLater(reactor, 0.005)
        self.assertLessEqual(spent.queries, 1)
        go_on.set()
        codes = [code for code, _ in await gatherResults(logins)]
        self.assertEqual(codes, [200, 200, 403, 403])

    @skipUnless(sys.platform == "linux", "only Linux gives a thread a niceness of its own")
    async def test_the_thread_lets_all_others_go_first(self) -> None:
        hearth = await self.server()
        await hearth.person("anna")
        pool = hearth.app.people.passwords._pool
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        its = await deferToThreadPool(reactor, pool, os.getpriority, os.PRIO_PROCESS, 0)
        self.assertEqual(its, min(19, ours + passwords.NICENESS))

    def busy(self, hashing: Passwords) -> Event:
        """Keep the thread until the event is set, but not for ever."""
        go_on = Event()
        self.addCleanup(go_on.set)
        hashing._pool.callInThread(go_on.wait, 10)
        return go_on


class StoppingTest(TestCase):
    async def test_nobody_who_waits_keeps_the_server_from_stopping(self) -> None:
        hashing = Passwords(reactor)
        hashing.start()
        waiting: list[Deferred[Any]] = [
            Deferred.fromCoroutine(hashing.hash(PASSWORD)) for _ in range(passwords.MAX_WAITING)
        ]
        hashing.stop()
        _, *others = await DeferredList(waiting, consumeErrors=True)
        self.assertEqual({(done, each.type) for done, each in others}, {(False, Unavailable)})

    async def test_a_turn_that_has_begun_does_not_last_for_ever(self) -> None:
        hashing = Passwords(reactor)
        hashing.start()
        async with hashing.turn():
            hashing.stop()
            with self.assertRaises(Unavailable):
                await hashing.matches(None, PASSWORD)
