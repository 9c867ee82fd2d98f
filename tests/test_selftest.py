"""``hearth selftest e2ee``: content with a server that works, and plain about one that does not."""

import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
from olm import Account
from rich.console import Console
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from e2e.selftest.ledger import Ledger
from e2e.selftest.run import Outcome, run
from e2e.selftest.sign_up import Interactive, Registration, SharedSecret
from homeserver.cli.selftest import show
from storage.transaction import Transaction
from tests.processes import ServerProcess
from tests.support import Server, WireTest

ROOT = Path(__file__).parents[1]
LAST_STEP = "Leave, close accounts"
IMPATIENT_SECONDS = 0.7


class Watcher:
    """Hears of the steps; may do something when one begins."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.when: dict[str, Callable[[], object]] = {}

    def begins(self, title: str, number: int, of: int) -> None:
        self.titles.append(title)
        self.when.get(title, lambda: None)()

    def advances(self, done: int, of: int) -> None:
        assert 0 < done <= of


class Selftests(WireTest):
    """What all tests of the self-test share."""

    async def selftest(
        self,
        server: Server,
        registration: Registration | None = None,
        *,
        members: int = 4,
        **more: Any,
    ) -> Outcome:
        """A self-test of a server of this process."""
        how = registration or Interactive()
        self.watcher = Watcher()
        return await run(reactor, server.base, how, self.watcher, members=members, **more)

    async def open_accounts(self, server: Server) -> int:
        """How many accounts have not been closed."""

        def work(txn: Transaction) -> int:
            return int(txn.value("SELECT COUNT(*) FROM accounts WHERE deactivated_at IS NULL"))

        return await server.app.storage.store.read(work)

    async def command(self, *options: str) -> tuple[int, str]:
        """``hearth selftest e2ee`` as an operator runs it: exit code, and what it printed."""
        line = [sys.executable, "-m", "homeserver", "selftest", "e2ee", *options]
        done = await deferToThread(
            subprocess.run, line, cwd=ROOT, capture_output=True, text=True, timeout=100
        )
        return done.returncode, done.stdout + done.stderr


class AServerThatWorks(Selftests):
    async def test_ten_people_of_an_open_server(self) -> None:
        server = await ServerProcess(self, {}).start()
        code, printed = await self.command("--members", "10", "--url", server.base)
        self.assertEqual(code, 0, printed)
        self.assertIn("Nothing was wrong with the encryption.", printed)
        self.assertIn("Claim of 9 one-time keys", printed)
        self.assertRegex(printed, r"The budgets held|SLOW")

    async def test_a_server_with_registration_tokens_and_its_configuration(self) -> None:
        server = await ServerProcess(self, {"registration": {"mode": "token"}}).start()
        file = str((server.data / "hearth.yaml").resolve())
        code, printed = await self.command("--members", "3", "--config", file)
        self.assertEqual(code, 0, printed)

    async def test_nothing_is_left_open(self) -> None:
        server = await self.server()
        outcome = await self.selftest(server, members=3)
        self.assertEqual(outcome.faults, [])
        self.assertEqual(await self.open_accounts(server), 0)

    async def test_a_registration_token_that_is_handed_over(self) -> None:
        server = await self.server(registration={"mode": "token"})
        token = await server.app.people.tokens.create(uses_allowed=3)
        outcome = await self.selftest(server, Interactive(token), members=3)
        self.assertEqual(outcome.faults, [])

    async def test_a_shared_secret(self) -> None:
        secret = "a long and random secret"
        server = await self.server(registration={"mode": "closed", "shared_secret": secret})
        outcome = await self.selftest(server, SharedSecret(secret), members=3)
        self.assertEqual(outcome.faults, [])

    async def test_rate_limits_are_waited_for(self) -> None:
        server = await self.server(rate_limits={"registration": [10, 1]})
        outcome = await self.selftest(server, members=3)
        self.assertEqual(outcome.faults, [])
        self.assertGreater(outcome.ledger.limited_seconds, 0)

    async def test_whoever_interrupts_it_leaves_no_accounts_behind(self) -> None:
        server = await self.server()
        signing_up, sharing = "Sign up 4 people", "Share the room key"
        for step, faults in (
            (signing_up, [f"{signing_up}: interrupted"]),
            (sharing, [f"{sharing}: interrupted"]),
            (LAST_STEP, []),
        ):
            outcome = await self.interrupted(server, step)
            self.assertEqual(outcome.faults, faults)
            self.assertEqual(self.watcher.titles[-1], LAST_STEP)
            self.assertEqual(await self.open_accounts(server), 0)

    async def interrupted(self, server: Server, step: str) -> Outcome:
        """A self-test that is cancelled soon after a step has begun."""
        self.watcher = Watcher()
        self.watcher.when[step] = lambda: reactor.callLater(0.02, lambda: running.cancel())
        running = Deferred.fromCoroutine(
            run(reactor, server.base, Interactive(), self.watcher, members=4)
        )
        return await running


class AServerThatDoesNot(Selftests):
    """Each breaks the server in one place, and expects the one sentence that says so."""

    async def setUp(self) -> None:
        self.broken = await self.server()
        self.encryption = self.broken.app.encryption

    async def assert_fault(self, pattern: str) -> None:
        outcome = await self.selftest(self.broken, patience=IMPATIENT_SECONDS)
        self.assertEqual(len(outcome.faults), 1, outcome.faults)
        self.assertRegex(outcome.faults[0], pattern)
        self.assertEqual(await self.open_accounts(self.broken), 0)

    async def test_claims_bring_nothing(self) -> None:
        async def claim(asker: str, wanted: Any) -> Any:
            return {}

        self.patch(self.encryption.one_time_keys, "claim", claim)
        await self.assert_fault(r"^Claim a key of each: A claim brought 0 keys of @.* instead of")

    async def test_keys_are_given_out_twice(self) -> None:
        claim, answers = self.encryption.one_time_keys.claim, dict[str, Any]()

        async def claim_again(asker: str, wanted: Any) -> Any:
            return answers.setdefault(str(wanted), await claim(asker, wanted))

        self.patch(self.encryption.one_time_keys, "claim", claim_again)
        await self.assert_fault("^Use up all keys: A one-time key was given to several people")

    async def test_somebody_puts_keys_of_their_own_in_between(self) -> None:
        claim = self.encryption.one_time_keys.claim

        async def forge(asker: str, wanted: Any) -> Any:
            answer = orjson.loads(orjson.dumps(await claim(asker, wanted)))
            for devices in answer.values():
                for keys in devices.values():
                    for key in keys.values():
                        key["key"] = Account().identity_keys["curve25519"]
            return answer

        self.patch(self.encryption.one_time_keys, "claim", forge)
        await self.assert_fault("^Claim a key of each: The signature of ed25519:.* is not valid")

    async def test_device_keys_are_those_of_somebody_else(self) -> None:
        query = self.encryption.queries.query

        async def mix_up(asker: str, wanted: Any) -> Any:
            answer = await query(asker, wanted)
            keys = answer["device_keys"]
            answer["device_keys"] = dict(zip(keys, reversed(keys.values()), strict=True))
            return answer

        self.patch(self.encryption.queries, "query", mix_up)
        await self.assert_fault("^Query and verify keys: The server has no keys of the device")

    async def test_a_claim_is_not_told_to_the_owner(self) -> None:
        part, answers = self.encryption.counts, dict[str, Any]()
        since = part.since

        async def stale(user_id: str, *where: Any) -> Any:
            return answers.setdefault(user_id, await since(user_id, *where))

        self.patch(part, "since", stale)
        await self.assert_fault(
            "^Claim a key of each: The count of one-time keys that @.* is told must be 4, but is 5"
        )

    async def test_to_device_messages_are_lost(self) -> None:
        async def lose(*message: Any) -> None:
            """Say that all is well."""

        self.patch(self.encryption.to_device, "send", lose)
        await self.assert_fault(
            "^Share the room key: 3 of 3 members have not got their to-device message"
        )

    async def test_to_device_messages_come_again(self) -> None:
        part = self.encryption.to_device_part
        since = part.since

        async def from_the_beginning(user_id: str, device_id: str, _: Any, upto: int) -> Any:
            return await since(user_id, device_id, None, upto)

        self.patch(part, "since", from_the_beginning)
        # Whoever has everything is not looked after again, so it shows with the next messages.
        await self.assert_fault("^One leaves, new key: The number of to-device .* be 1, but is 2")

    async def test_a_new_device_is_kept_secret(self) -> None:
        async def nothing(*where: Any) -> Any:
            return {}, False

        self.patch(self.encryption.lists, "since", nothing)
        await self.assert_fault("^Add a device: .* members have not got the news of a new device")

    async def test_whoever_leaves_can_still_read(self) -> None:
        async def stay(*who: Any, **how: Any) -> None:
            """Say that all is well."""

        self.patch(type(self.broken.app.rooms.membership), "leave", stay)
        outcome = await self.selftest(self.broken)
        self.assertRegex(outcome.faults[0], "^One leaves, new key: The members of the room must be")

    async def test_room_keys_go_to_whoever_has_left(self) -> None:
        send, earlier = self.encryption.to_device.send, dict[str, Any]()

        async def send_to_more(sender: Any, kind: str, txn_id: str, messages: Any) -> None:
            earlier.update(messages)
            await send(sender, kind, txn_id, earlier)

        self.patch(self.encryption.to_device, "send", send_to_more)
        await self.assert_fault("^One leaves, new key: Who .* was sent the new room key")

    async def test_signatures_are_thrown_away(self) -> None:
        async def throw_away(*signed: Any) -> Any:
            return {}

        self.patch(self.encryption.cross_signing, "sign", throw_away)
        await self.assert_fault("^Two verify each other: A signature of .* is missing")


class AServerThatIsNotReady(Selftests):
    async def test_it_does_not_run(self) -> None:
        code, printed = await self.command("--url", "http://127.0.0.1:9")
        self.assertEqual(code, 1, printed)
        self.assertRegex(printed, r"WRONG +Sign up 10 people: POST /register was not answered")

    async def test_it_wants_a_registration_token(self) -> None:
        server = await self.server(registration={"mode": "token"})
        (fault,) = (await self.selftest(server)).faults
        self.assertIn("this server wants m.login.registration_token: hand over a reg", fault)

    async def test_it_does_not_know_the_registration_token(self) -> None:
        server = await self.server(registration={"mode": "token"})
        (fault,) = (await self.selftest(server, Interactive("mellon"))).faults
        self.assertIn("This registration token is wrong, expired or used up", fault)

    async def test_nobody_can_sign_up(self) -> None:
        server = await ServerProcess(self, {"registration": {"mode": "closed"}}).start()
        file = str((server.data / "hearth.yaml").resolve())
        code, printed = await self.command("--config", file)
        self.assertEqual(code, 1, printed)
        self.assertIn("nobody can sign up", printed)


class BudgetsTest(TestCase):
    def test_one_hiccup_in_a_hundred_is_forgiven_and_two_are_not(self) -> None:
        for hiccups, held in ((1, True), (2, False)):
            ledger = Ledger()
            with ledger.step("Write and read"):
                ledger.current.network.all_ms += [5.0] * (100 - hiccups) + [150.0] * hiccups
            self.assertEqual(ledger.is_within_budget, held)

    def test_slowness_is_said_and_is_no_fault(self) -> None:
        ledger = Ledger()
        with ledger.step("Write and read"):
            ledger.current.encryption.all_ms += [1.0, 51.0]
        ledger.note("499 to-device messages accepted", 0.039, 40.0)
        paper = StringIO()
        show(Console(file=paper, width=100), Outcome(ledger, []))
        printed = paper.getvalue()
        for words in ("2 × 26, 51 ms !", "39 ms", "Nothing was wrong", "SLOW"):
            self.assertIn(words, printed)
