"""Hashing passwords: so dear that it must not be felt by anybody else."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from time import sleep
from typing import Any

import psutil
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from homeserver import password_hasher, passwords
from homeserver.passwords import Passwords
from schema.errors import Unavailable
from tests.support import PASSWORD, Server, WireTest
from tests.test_database_faults import attempt
from tests.test_query_budgets import Spent

LOGIN = {"type": "m.login.password", "password": PASSWORD}


def worker() -> psutil.Process:
    """The process that hashes the passwords of this test's server."""
    [found] = (
        child
        for child in psutil.Process().children()
        if any("password_worker" in word for word in child.cmdline())
    )
    return found


class CrowdTest(WireTest):
    async def test_who_comes_when_too_many_wait_is_told_when_to_come_back(self) -> None:
        self.patch(passwords, "MAX_WAITING", 3)
        hearth = await self.server()
        anna = await hearth.person("anna")
        go_on = self.busy()
        body = {**LOGIN, "user": "anna"}
        logins = [Deferred.fromCoroutine(hearth.call("POST", "/login", body)) for _ in range(4)]
        (code, answer), number = await DeferredList(logins, fireOnOneCallback=True)
        self.assertEqual((code, answer["errcode"]), (429, "M_LIMIT_EXCEEDED"))
        self.assertGreater(answer["retry_after_ms"], 0)
        go_on()
        answers = await gatherResults([each for each in logins if each is not logins[number]])
        self.assertEqual([code for code, _ in answers], [200, 200, 200])
        await hearth.log_in(anna)

    async def test_who_waits_for_their_turn_asks_nothing_of_the_database(self) -> None:
        hearth = await self.server()
        await hearth.people("anna", "bert")
        hashing, store = hearth.app.people.passwords, hearth.app.storage.store
        address = {"type": "m.id.thirdparty", "medium": "email", "address": "anna@example.org"}
        named = [{"user": "anna"}, {"user": "bert"}, {"user": "nobody"}, {"identifier": address}]
        go_on = self.busy()
        bodies = [{**LOGIN, **each} for each in named]
        logins = [Deferred.fromCoroutine(hearth.call("POST", "/login", body)) for body in bodies]
        with Spent(hearth, "POST v3/login") as spent:
            while hashing._waiting < len(logins) or store.reading:
                await deferLater(reactor, 0.005)
        self.assertLessEqual(spent.queries, 1)
        go_on()
        codes = [code for code, _ in await gatherResults(logins)]
        self.assertEqual(codes, [200, 200, 403, 403])

    def busy(self) -> Callable[[], None]:
        """Keep passwords from being hashed, until what is returned is called."""
        process = worker()
        process.suspend()
        return process.resume


class WorkerTest(WireTest):
    """The process is there while it is needed."""

    async def setUp(self) -> None:
        self.hearth: Server = await self.server()
        self.anna = await self.hearth.person("anna")

    async def log_in(self) -> tuple[int, Any]:
        """Anna's login: the status, and what is wrong with it."""
        code, answer = await attempt(self.anna, "POST", "/login", {**LOGIN, "user": "anna"})
        return code, answer.get("errcode")

    async def gone(self, process: psutil.Process) -> None:
        """Wait for its end; the test itself has a time limit."""
        while process.is_running():
            await deferLater(reactor, 0.01)

    async def test_it_lets_all_others_go_first(self) -> None:
        self.assertEqual(worker().nice(), min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10))

    async def test_it_is_handed_nothing(self) -> None:
        process = worker()
        self.assertNotIn("PATH", process.environ())
        self.assertNotIn(PASSWORD, " ".join(process.cmdline()))
        descriptors = {int(each.name) for each in Path(f"/proc/{process.pid}/fd").iterdir()}
        self.assertLessEqual(descriptors, {0, 1, 2})

    async def test_it_ends_when_nobody_logs_in_and_comes_back_for_who_does(self) -> None:
        self.assertEqual(await self.log_in(), (200, None))
        first = worker()
        # Much longer than a hash takes, also where others keep the processors busy.
        self.patch(password_hasher, "SILENCE_SECONDS", 3)
        self.assertEqual(await self.log_in(), (200, None))
        self.assertEqual(worker(), first)
        await self.gone(first)
        self.patch(password_hasher, "SILENCE_SECONDS", 60)
        self.assertEqual(await self.log_in(), (200, None))
        self.assertNotEqual(worker(), first)

    async def test_who_waits_when_it_is_killed_is_told_to_try_again(self) -> None:
        process = worker()
        process.suspend()
        logins = [Deferred.fromCoroutine(self.log_in()) for _ in range(3)]
        hashing = self.hearth.app.people.passwords
        while hashing._waiting < 3 or not hashing._hasher._worker._asked:
            await deferLater(reactor, 0.01)
        process.send_signal(signal.SIGKILL)
        answers = await gatherResults(logins)
        self.assertEqual(Counter(answers), {(503, "M_UNKNOWN"): 1, (200, None): 2})

    async def test_one_that_hangs_is_ended(self) -> None:
        self.patch(password_hasher, "SILENCE_SECONDS", 1)
        process = worker()
        process.suspend()
        self.assertEqual(await self.log_in(), (503, "M_UNKNOWN"))
        await self.gone(process)
        self.patch(password_hasher, "SILENCE_SECONDS", 60)
        self.assertEqual(await self.log_in(), (200, None))

    async def test_where_no_process_can_be_started(self) -> None:
        process = worker()
        process.kill()
        await self.gone(process)
        self.patch(self.hearth.app.people.passwords._hasher, "_command", ["/nowhere/python"])
        self.assertEqual(await self.log_in(), (503, "M_UNKNOWN"))

    async def test_it_does_not_outlive_the_server(self) -> None:
        process = worker()
        await self.hearth.stop()
        self.assertFalse(process.is_running())

    def test_it_does_not_outlive_a_server_that_was_killed(self) -> None:
        """Its input ends then."""
        arguments = [*self.hearth.app.people.passwords._hasher._command]
        done = run(arguments, input=b'["secret", null]\n', capture_output=True, timeout=10)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn("$argon2id$", json.loads(done.stdout))


class StallTest(TestCase):
    async def test_an_answer_from_before_the_end_is_heard_after_it(self) -> None:
        hashing = Passwords(reactor)
        stored = await hashing.hash(PASSWORD)
        asked = Deferred.fromCoroutine(hashing.matches(stored, PASSWORD))
        await deferLater(reactor, 0.005)  # the question is under way; a hash takes longer
        reactor.callLater(0, sleep, 0.5)  # then there is an answer, which nobody has read
        hashing._hasher._worker._silence.reset(0)
        self.assertTrue(await asked)
        await hashing.stop()


class StoppingTest(TestCase):
    async def test_nobody_who_waits_keeps_the_server_from_stopping(self) -> None:
        hashing = Passwords(reactor)
        waiting: list[Deferred[Any]] = [
            Deferred.fromCoroutine(hashing.hash(PASSWORD)) for _ in range(passwords.MAX_WAITING)
        ]
        await hashing.stop()
        refused = await DeferredList(waiting, consumeErrors=True)
        self.assertEqual({(done, each.type) for done, each in refused}, {(False, Unavailable)})

    async def test_a_turn_that_has_begun_does_not_last_for_ever(self) -> None:
        hashing = Passwords(reactor)
        async with hashing.turn():
            await hashing.stop()
            with self.assertRaises(Unavailable):
                await hashing.matches(None, PASSWORD)
