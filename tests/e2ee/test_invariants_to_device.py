"""Invariants 11 to 15 and 20: to-device messages, each to its device, once and in order."""

from pathlib import Path
from random import Random
from threading import Event
from time import sleep
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from e2e.to_device import MOST_AT_ONCE
from homeserver.assembly.database import engine_for
from homeserver.bridges.devices import TO_DEVICE
from homeserver.clock import system_clock
from homeserver.config import load
from homeserver.device_expiry import DAY_MS
from storage import to_device
from storage.store import Store
from storage.stream import Stream
from storage.transaction import Transaction, WriteTransaction
from tests.e2ee.wire import bodies, changed, messages, sync, token, waiting
from tests.little_service import LittleService
from tests.olm_devices import Device, Json, Meter, Stories, Town

TYPES = (
    "m.room.encrypted",
    "m.room_key_request",
    "m.secret.request",
    "m.dummy",
    "m.room.encryption",
    "m.key.verification.start",
    "m.room_key_bundle",
    "io.element.msc4268.room_key_bundle",
    "io.element.call.encryption_keys",
    "org.example.töpfern?x=1",
)
EACH = 25
"""Messages of each sender."""
QUIET: Json = {
    "account_data": {"types": []},
    "presence": {"types": []},
    "room": {"rooms": [], "timeline": {"types": []}},
    "event_fields": ["type"],
}


class ToDeviceInvariants(Stories):
    """From the sender's answer to the receiver's next token."""

    async def everything(self, device: Device, since: str | None) -> list[Any]:
        """All that waits for a device, answer by answer."""
        found: list[Any] = []
        while True:
            answer = await sync(device, since)
            if not messages(answer):
                return found
            found += bodies(answer)
            since = answer["next_batch"]

    async def test_11_nothing_is_skipped_while_commits_are_slow(self) -> None:
        """11: who sees a message has seen all earlier ones, also when commits are delayed."""
        bob, *senders = await self.town.people("bob", "alice", "carol", "dave", "erin", "frank")
        dice, part = Random(11), self.town.encryption.to_device_part
        committer: Any = self.town.store._committer
        commit = committer._commit

        def slow_commit(works: Any) -> Any:
            sleep(dice.uniform(0, 0.01))
            committed = commit(works)
            sleep(dice.uniform(0, 0.01))
            return committed

        self.patch(committer, "_commit", slow_commit)
        since = await token(bob)

        async def send_on(sender: Device) -> None:
            for number in range(EACH):
                message = {"body": [sender.user_id, number]}
                await sender.send(str(number), {bob.user_id: {bob.device_id: message}})

        sending = self.at_once(*(send_on(sender) for sender in senders))
        sent = Deferred.fromCoroutine(sending)
        found: list[Any] = []
        while len(found) < EACH * len(senders):
            if dice.random() < 0.3:
                part.load()  # so that the database is asked while messages come
            answer = await sync(bob, since, timeout=5_000)
            self.assertTrue(messages(answer), f"only {len(found)} came")
            found += bodies(answer)
            since = answer["next_batch"]
        await sent
        for sender in senders:
            numbers = [number for user_id, number in found if user_id == sender.user_id]
            self.assertEqual(numbers, [*range(EACH)])
        self.assertEqual(await self.everything(bob, since), [])

    async def test_11_positions_become_visible_in_their_order_across_processes(self) -> None:
        """11: a second process gets the next position only when the first one has committed."""
        bob = await self.town.person("bob")
        file = Path(self.town.server._folder) / "hearth.yaml"
        other = Store(default_reactor, engine_for(load(file)), Stream(), Meter())
        other.open()
        self.addCleanup(other.close)
        begun, may_end = Event(), Event()

        def put(txn: WriteTransaction, body: str, wait: bool) -> int:
            position = txn.position()
            if wait:
                begun.set()
                may_end.wait(10)
            to_device.add(txn, position, {bob.device: body})
            return position

        def waiting_for_bob(txn: Transaction) -> list[str]:
            return [json for _, json in to_device.after(txn, bob.device, 0, 10)]

        first = Deferred.fromCoroutine(self.town.store.write(lambda txn: put(txn, "first", True)))
        while not begun.is_set():
            await deferLater(default_reactor, 0.002)
        second = Deferred.fromCoroutine(other.write(lambda txn: put(txn, "second", False)))
        for _ in range(20):
            await deferLater(default_reactor, 0.005)
            self.assertEqual(await self.town.store.read(waiting_for_bob), [])
        may_end.set()
        self.assertEqual(await second, await first + 1)
        self.assertEqual(await self.town.store.read(waiting_for_bob), ["first", "second"])

    async def test_12_only_a_later_token_deletes(self) -> None:
        """12: the same request again gives the same messages, until its answer was received."""
        alice, bob = await self.town.people("alice", "bob")
        since = await token(bob)
        for number in range(3):
            await alice.send(str(number), {bob.user_id: {bob.device_id: {"body": number}}})
        for restart in (False, False, True, False):
            if restart:
                await self.town.server.restart()
            answer = await sync(bob, since)
            self.assertEqual(bodies(answer), [0, 1, 2])
            self.assertEqual(bodies(await sync(bob)), [0, 1, 2], "a client without a token")
            await self.town.settle()
            self.assertEqual(await self.town.rows("to_device_messages"), 3)
        await alice.send("3", {bob.user_id: {bob.device_id: {"body": 3}}})
        last = await sync(bob, answer["next_batch"])
        self.assertEqual(bodies(last), [3])
        self.assertEqual(bodies(await sync(bob, answer["next_batch"])), [3])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 1)
        self.assertEqual(bodies(await sync(bob, last["next_batch"])), [])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_13_what_does_not_fit_makes_the_next_sync_return_at_once(self) -> None:
        """13: whoever has more waiting than fits into an answer does not wait for the rest."""
        alice, bob = await self.town.people("alice", "bob")
        since = await token(bob)
        count = 2 * MOST_AT_ONCE + 1
        for begin in range(0, count, 20):
            numbers = range(begin, min(begin + 20, count))
            for number in numbers:
                await alice.send(str(number), {bob.user_id: {bob.device_id: {"body": number}}})
        found: list[Any] = []
        for size in (MOST_AT_ONCE, MOST_AT_ONCE, 1):
            # Held by the server, it would fail.
            answer = await (await waiting(bob, since))
            self.assertEqual(len(messages(answer)), size)
            found += bodies(answer)
            since = answer["next_batch"]
        self.assertEqual(found, [*range(count)])

    async def test_14_no_kind_of_message_is_dropped(self) -> None:
        """14: neither the type of a message nor the filter of a sync keeps it back."""
        alice, bob = await self.town.people("alice", "bob")
        since = await token(bob)
        for event_type in TYPES:
            message = {bob.user_id: {bob.device_id: {"body": event_type}}}
            await alice.send("1", message, event_type)
        for query in ({}, {"filter": QUIET}, {"filter": QUIET, "full_state": "true"}):
            answer = await sync(bob, since, **query)
            self.assertEqual([message["type"] for message in messages(answer)], [*TYPES])
            self.assertEqual(bodies(answer), [*TYPES])

    async def test_15_a_service_that_is_down_gets_every_message_when_it_is_back(self) -> None:
        """15: for devices of a service, queued until it has acknowledged them, in order, once."""
        irc = LittleService(
            self,
            more={"receive_ephemeral": True, "org.matrix.msc3202": True, "rate_limited": False},
        )
        self.town = Town(self, await self.server(application_services=[irc.registration()]))
        hearth = self.town.server
        alice = await self.town.person("alice")
        bot = await irc.make_user(hearth, "_irc_ann")
        await irc.ask(hearth, "PUT", "/devices/BRIDGE", {}, user=bot)
        count = MOST_AT_ONCE + 20
        for number in range(count):
            await alice.send(str(number), {bot: {"BRIDGE": {"body": number}}})
        await hearth.restart()
        held: Deferred[int] = Deferred()
        first = [held]
        irc.answers.append(lambda asked: first.pop() if first else None)
        irc.start()
        await irc.ask(hearth, "GET", "/account/whoami")
        await irc.until(lambda: bool(irc.pushed(TO_DEVICE)))
        # It has them, but has not said so: they are there, for a /sync of the device too.
        self.assertEqual(await self.town.rows("to_device_messages"), count)
        shown = await irc.ask(hearth, "GET", "/sync", user=bot, device_id="BRIDGE")
        self.assertEqual(bodies(shown), [*range(MOST_AT_ONCE)])
        held.callback(200)
        await irc.until(lambda: len(irc.pushed(TO_DEVICE)) == count)
        await alice.send("last", {bot: {"*": {"body": count}}})
        await irc.until(lambda: len(irc.pushed(TO_DEVICE)) == count + 1)
        told = irc.pushed(TO_DEVICE)
        self.assertEqual([message["content"]["body"] for message in told], [*range(count + 1)])
        for message in told:
            self.assertEqual(
                {key: message[key] for key in ("type", "sender", "to_user_id", "to_device_id")},
                {
                    "type": "m.test",
                    "sender": alice.user_id,
                    "to_user_id": bot,
                    "to_device_id": "BRIDGE",
                },
            )
        while await self.town.rows("to_device_messages"):
            await self.town.settle()

        async def left(since: str | None = None) -> Json:
            more = {} if since is None else {"since": since}
            return await irc.ask(hearth, "GET", "/sync", user=bot, device_id="BRIDGE", **more)

        since = (await left())["next_batch"]
        self.assertEqual(messages(await left(since)), [])
        # Now /sync has the queue in memory, which must follow.
        await alice.send("one more", {bot: {"*": {"body": "one more"}}})
        await irc.until(lambda: irc.pushed(TO_DEVICE)[-1]["content"]["body"] == "one more")
        while await self.town.rows("to_device_messages"):
            await self.town.settle()
        self.assertEqual(messages(await left(since)), [])

    async def test_20_a_device_that_is_gone_has_no_queue(self) -> None:
        """20: the queue goes with the device; one of the same name begins with an empty one."""
        alice, bob = await self.town.people("alice", "bob")
        to_bob = {bob.user_id: {"*": {"body": "hello"}}}
        for number in range(3):
            await alice.send(f"before {number}", to_bob)
        self.assertEqual(await self.town.rows("to_device_messages"), 3)
        await self.town.log_out(bob)
        self.assertEqual(await self.town.rows("to_device_messages"), 0)
        await alice.send("after", {bob.user_id: {"*": {"body": 1}, bob.device_id: {"body": 2}}})
        self.assertEqual(await self.town.rows("to_device_messages"), 0)
        again = await self.town.person("bob")
        self.assertEqual(again.device_id, bob.device_id)
        self.assertEqual(messages(await sync(again)), [])
        await alice.send("new", to_bob)
        self.assertEqual(bodies(await sync(again)), ["hello"])

    async def test_20_a_device_that_nobody_uses_expires_and_everybody_hears_of_it(self) -> None:
        """20: its queue goes when its time has come, and never in silence."""
        self.town = Town(self, await self.server(devices={"expire_after_days": 30}))
        alice, bob = await self.town.people("alice", "bob")
        tablet = await self.town.person("bob", "TABLET")
        await tablet.upload(1)
        await alice.send("1", {bob.user_id: {"*": {"body": "hello"}}})
        people = self.town.server.app.people
        await people.last_seen.flush()
        later = system_clock() + 29 * DAY_MS
        self.patch(people.expiry, "_clock", lambda: later)
        self.assertEqual(await people.expiry.run(), 0)
        await bob.ok("GET", "/account/whoami")

        def long_ago(txn: WriteTransaction) -> None:
            txn.run("UPDATE devices SET last_seen_at = 1 WHERE device_id = 'TABLET'")

        await self.town.store.write(long_ago)
        alices, bobs = await token(alice), await token(bob)
        self.assertEqual(await people.expiry.run(), 1)
        self.assertEqual(changed(await sync(alice, alices)), [bob.user_id])
        self.assertEqual(changed(await sync(bob, bobs)), [bob.user_id])
        self.assertEqual(await alice.claim(tablet), [])
        self.assertEqual(await tablet.refused("GET", "/sync"), (401, "M_UNKNOWN_TOKEN"))
        again = await self.town.person("bob", "TABLET")
        self.assertEqual(messages(await sync(again)), [])
