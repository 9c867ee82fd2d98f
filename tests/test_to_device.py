"""To-device messages: each device gets each message once, in order, whatever happens between."""

from typing import Any

from twisted.internet.defer import Deferred

from e2e.identity_log import NOTICE
from e2e.to_device import LARGEST_KEPT, MOST_AT_ONCE, MOST_KEPT
from homeserver.clock import system_clock
from storage import to_device
from tests.olm_devices import Device, Json, Stories


def bodies(answer: Json) -> list[Any]:
    """The contents in an answer of /sync, without what the server itself has to say."""
    events = [event for event in answer["to_device"] if event["type"] != NOTICE]
    return [event["content"]["body"] for event in events]


class ToDeviceStories(Stories):
    """Over the wire."""

    async def everything(self, device: Device, token: Json | None = None) -> list[Any]:
        """All messages of a device, answer by answer, until there is no news."""
        found, answer = [], await device.sync(token)
        while answer["to_device"]:
            self.assertLessEqual(len(answer["to_device"]), MOST_AT_ONCE)
            found += bodies(answer)
            answer = await device.sync(answer["next"])
        return found

    async def burst(self, device: Device, count: int, begin: int = 0) -> None:
        """Many messages for one device, straight into its queue."""

        def work(txn: Any) -> None:
            for number in range(begin, begin + count):
                message = f'{{"type":"m.test","sender":"x","content":{{"body":{number}}}}}'
                position, queued = txn.position(), {device.device: message}
                to_device.add(txn, position, queued)
                txn.announce(
                    to_device.ToDeviceSent(
                        position=position, users=(device.user_id,), messages=queued
                    )
                )

        await self.town.store.write(work)

    async def test_names_and_words_that_mean_something_to_a_database(self) -> None:
        names = ["NULL", "{}", 'say "hi"', "back\\slash", "a,b", "'; --", "%s", "?", "naïve 🏡"]
        alice = await self.town.person("alice")
        phones = [await self.town.person("bob", name) for name in names]
        tokens = [(await phone.sync())["next"] for phone in phones]
        for phone in phones:
            await phone.upload(1)
        messages: Json = {phone.device_id: {"body": phone.device_id} for phone in phones}
        await alice.send("1", {phones[0].user_id: messages})
        keys = await alice.claim(*phones)
        self.assertEqual(len(set(keys)), len(names))
        for phone, token in zip(phones, tokens, strict=True):
            answer = await phone.sync(token)
            self.assertEqual(bodies(answer), [phone.device_id])
            self.assertEqual(bodies(await phone.sync(answer["next"])), [])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_a_message_arrives_once_as_it_was_sent(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        token = (await bob.sync())["next"]
        await alice.send("1", {bob.user_id: {"PHONE": {"body": "hi"}}}, "m.room.encrypted")
        answer = await bob.sync(token)
        event = {"type": "m.room.encrypted", "sender": alice.user_id, "content": {"body": "hi"}}
        self.assertEqual(answer["to_device"], [event])
        self.assertTrue(answer["news"])
        after = await bob.sync(answer["next"])
        self.assertEqual((after["to_device"], after["news"]), ([], False))
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_the_same_request_again_gives_the_same_messages(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        first = (await bob.sync())["next"]
        for number in range(3):
            await alice.send(str(number), {bob.user_id: {"PHONE": {"body": number}}})
        for restart in (False, True, False):
            if restart:
                await self.town.server.restart()
            for token in (first, None):
                answer = await bob.sync(token)
                self.assertEqual(bodies(answer), [0, 1, 2])
        await alice.send("3", {bob.user_id: {"PHONE": {"body": 3}}})
        self.assertEqual(bodies(await bob.sync(first)), [0, 1, 2, 3])
        # The earlier answer is acknowledged, what came after it is not.
        self.assertEqual(bodies(await bob.sync(answer["next"])), [3])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 1)

    async def test_what_was_acknowledged_does_not_come_back(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        first = await bob.sync()
        await alice.send("1", {bob.user_id: {"PHONE": {"body": 1}}})
        second = await bob.sync(first["next"])
        third = await bob.sync(second["next"])
        self.assertEqual(third["to_device"], [])
        await self.town.server.restart()
        for token in (third["next"], first["next"], None):
            self.assertEqual(bodies(await bob.sync(token)), [])

    async def test_coming_back_acknowledges_when_nothing_else_has_happened(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        first = await bob.person.sync()
        for timeout in (0, 50):
            await alice.send(f"{timeout}", {bob.user_id: {"PHONE": {"body": timeout}}})
            answer = await bob.person.sync(first["next_batch"])
            self.assertEqual(
                [each["content"]["body"] for each in answer["to_device"]["events"]], [timeout]
            )
            await bob.person.sync(answer["next_batch"], timeout=timeout)
            self.assertNotIn("to_device", await bob.person.sync(first["next_batch"]))

    async def test_a_crash_before_the_clean_up_repeats_nothing(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.send("1", {bob.user_id: {"PHONE": {"body": 1}}})
        first = await bob.sync()
        await self.town.server.restart()
        self.assertEqual(await self.town.rows("to_device_messages"), 1)
        self.assertEqual(bodies(await bob.sync(first["next"])), [])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_a_transaction_id_sends_once(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        laptop = await self.town.person("alice", "LAPTOP")
        message = {bob.user_id: {"PHONE": {"body": 1}}}
        await self.at_once(*(alice.send("1", message) for _ in range(5)))
        await self.town.server.restart()
        await alice.send("1", {bob.user_id: {"PHONE": {"body": 2}}})
        self.assertEqual(await self.everything(bob), [1])
        # Another type or another device is another request.
        await alice.send("1", message, "m.other")
        await laptop.send("1", message)
        self.assertEqual(len(await self.everything(bob, (await bob.sync())["next"])), 0)
        self.assertEqual(await self.town.rows("to_device_transactions"), 3)

    async def test_transactions_are_forgotten_in_the_end(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.send("1", {bob.user_id: {"PHONE": {}}})
        self.assertEqual(await self.town.encryption.to_device.forget_old_transactions(), 0)
        clock = system_clock() + 8 * 24 * 3600 * 1000
        self.patch(self.town.encryption.to_device, "_clock", lambda: clock)
        await alice.send("2", {bob.user_id: {"PHONE": {}}})
        self.assertEqual(await self.town.encryption.to_device.forget_old_transactions(), 1)

    async def test_a_star_is_every_device_that_is_not_named(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        laptop = await self.town.person("bob", "LAPTOP")
        tablet = await self.town.person("bob", "TABLET")
        to = {bob.user_id: {"*": {"body": "all"}, "TABLET": {"body": "tablet"}}}
        await alice.send("1", to)
        self.assertEqual([*bodies(await bob.sync()), *bodies(await laptop.sync())], ["all", "all"])
        self.assertEqual(bodies(await tablet.sync()), ["tablet"])
        self.assertEqual(bodies(await alice.sync()), [])

    async def test_devices_that_are_not_here_get_nothing_and_fill_nothing(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        to = {"@nobody:localhost": {"*": {}, "X": {}}, "@far:away.test": {"*": {}}}
        await alice.send("1", {**to, bob.user_id: {"TOASTER": {}}})
        await alice.send("2", {})
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_a_device_that_has_never_synced_gets_what_waits(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        for number in range(3):
            await alice.send(str(number), {bob.user_id: {"PHONE": {"body": number}}})
        self.assertEqual(await self.everything(bob), [0, 1, 2])

    async def test_more_than_one_answer_holds_comes_at_once_and_in_order(self) -> None:
        bob = await self.town.person("bob")
        token = (await bob.sync())["next"]
        count = 3 * MOST_AT_ONCE + 1
        await self.burst(bob, count)
        first = await bob.sync(token)
        self.assertEqual(bodies(first), [*range(MOST_AT_ONCE)])
        self.assertLess(first["next"]["to_device"], first["next"]["position"])
        self.assertEqual(bodies(await bob.sync(token)), [*range(MOST_AT_ONCE)])
        self.assertTrue((await bob.sync(first["next"]))["news"], "the rest does not wait")
        await self.town.server.restart()
        self.assertEqual(await self.everything(bob, first["next"]), [*range(MOST_AT_ONCE, count)])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_messages_wake_a_device_that_waits_and_the_rest_does_not_wait(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        since, found = (await bob.person.sync())["next_batch"], []
        count = 2 * MOST_AT_ONCE + 1
        waiting = Deferred.fromCoroutine(bob.person.sync(since, timeout=60_000))
        await self.burst(bob, count)
        while len(found) < count:
            answer = await waiting
            found += bodies({"to_device": answer["to_device"]["events"]})
            since = answer["next_batch"]
            waiting = Deferred.fromCoroutine(bob.person.sync(since, timeout=60_000))
        await alice.send("1", {bob.user_id: {"PHONE": {"body": count}}})
        count += 1
        found += bodies({"to_device": (await waiting)["to_device"]["events"]})
        self.assertEqual(found, [*range(count)])

    async def test_a_burst_of_ten_thousand(self) -> None:
        bob = await self.town.person("bob")
        await self.burst(bob, 10_000)
        self.assertEqual(await self.everything(bob), [*range(10_000)])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)

    async def test_messages_that_come_between_the_answers_keep_their_order(self) -> None:
        bob = await self.town.person("bob")
        found, token, sent = [], (await bob.sync())["next"], 0
        for size in (1, MOST_KEPT, 2, MOST_KEPT + 5, 0, 3, 250, 1, 0, 0, 0, 1, 0):
            if size:
                await self.burst(bob, size, sent)
            sent += size
            answer = await bob.sync(token)
            found += bodies(answer)
            token = answer["next"]
        self.assertEqual(found, [*range(sent)])

    async def test_only_short_queues_are_kept_in_memory(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        part = self.town.encryption.to_device_part
        for size, length, is_kept in (
            (MOST_KEPT, 1, True),
            (MOST_KEPT + 1, 1, False),
            (1, LARGEST_KEPT, False),
        ):
            await self.everything(bob)
            await self.burst(bob, size - 1)
            await alice.send(f"{size} {length}", {bob.user_id: {"PHONE": {"body": "x" * length}}})
            queue = part._queues[bob.device]
            self.assertEqual(queue.waiting is not None, is_kept, (size, length))

    async def test_messages_that_come_while_the_queue_is_read_are_not_lost(self) -> None:
        bob = await self.town.person("bob")
        found: list[Any] = []
        token, sent = (await bob.sync())["next"], 0
        for _ in range(40):
            self.town.encryption.to_device_part._queues.clear()
            answer, _ = await self.at_once(bob.sync(token), self.burst(bob, 1, sent))
            sent += 1
            found += bodies(answer)
            token = answer["next"]
        found += await self.everything(bob, token)
        self.assertEqual(found, [*range(sent)])

    async def test_a_message_that_comes_before_the_answer_of_the_database_is_not_lost(self) -> None:
        bob = await self.town.person("bob")
        await self.burst(bob, 2)
        await bob.sync()
        self.town.encryption.to_device_part.load()
        self.meanwhile(lambda: self.burst(bob, 1, 2))
        answer = await bob.sync()
        self.assertEqual(bodies(answer), [0, 1])
        self.assertEqual(bodies(await bob.sync(answer["next"])), [2])

    async def test_a_message_that_was_read_before_it_was_announced_comes_once(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        part = self.town.encryption.to_device_part
        announced = self.town.interrupted(part.follow)
        await self.burst(bob, 2)
        self.assertEqual(bodies(await bob.sync()), [0, 1])
        part.follow(announced)
        self.assertEqual(bodies(await bob.sync()), [0, 1])

    async def test_what_is_not_public_yet_waits(self) -> None:
        bob = await self.town.person("bob")
        await self.burst(bob, 3)
        first = self.town.stream.position - 2
        events, upto = await self.town.encryption.to_device_part.since(*bob.device, None, first)
        self.assertEqual((len(events), upto), (1, first))
        events, upto = await self.town.encryption.to_device_part.since(*bob.device, upto, upto + 1)
        self.assertEqual((len(events), upto), (1, first + 1))

    async def test_the_live_edge_costs_no_query(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        token = (await bob.sync())["next"]
        await alice.send("1", {bob.user_id: {"PHONE": {"body": 1}}})
        meter = self.town.metered()
        answer = await bob.sync(token)
        self.assertEqual(bodies(answer), [1])
        self.assertEqual(meter.queries, 0, "it comes from memory")
        answer = await bob.sync(answer["next"])
        await self.town.settle()
        meter.queries = 0
        await bob.sync(answer["next"])
        await self.town.settle()
        self.assertEqual(meter.queries, 0, "nothing is left to delete")

    async def test_large_messages_are_refused_and_middling_ones_are_not_kept_in_memory(
        self,
    ) -> None:
        alice, bob = await self.town.people("alice", "bob")
        token = (await bob.sync())["next"]
        body = {"messages": {bob.user_id: {"PHONE": {"body": "x" * 65_536}}}}
        path = "/sendToDevice/m.test/1"
        self.assertEqual(await alice.refused("PUT", path, body), (413, "M_TOO_LARGE"))
        self.assertEqual(await self.town.rows("to_device_transactions"), 0)
        await alice.send("1", {bob.user_id: {"PHONE": {"body": "x" * 60_000}}})
        self.assertIsNone(self.town.encryption.to_device_part._queues[bob.device].waiting)
        answer = await bob.sync(token)
        self.assertEqual(len(bodies(answer)[0]), 60_000)
        self.assertEqual(await self.everything(bob, answer["next"]), [])

    async def test_odd_requests_are_refused(self) -> None:
        alice = await self.town.person("alice")
        for path, body, errcode in (
            ("/sendToDevice/m.test/1", {"messages": 5}, "M_BAD_JSON"),
            ("/sendToDevice/m.test/1", {}, "M_MISSING_PARAM"),
            ("/sendToDevice/m.test/1", {"messages": {"@x:y": {"D": "no"}}}, "M_BAD_JSON"),
            (f"/sendToDevice/{'t' * 256}/1", {"messages": {}}, "M_INVALID_PARAM"),
            (f"/sendToDevice/m.test/{'t' * 513}", {"messages": {}}, "M_INVALID_PARAM"),
        ):
            self.assertEqual(await alice.refused("PUT", path, body), (400, errcode))

    async def test_a_failed_clean_up_is_tried_again_later(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        token = (await bob.sync())["next"]
        await alice.send("1", {bob.user_id: {"PHONE": {"body": 1}}})
        token = (await bob.sync(token))["next"]

        async def broken(work: Any) -> None:
            raise ConnectionError("the disk is full")

        self.patch(self.town.store, "write", broken)
        await bob.sync(token)
        await self.town.settle()
        self.assertEqual(len(self.flushLoggedErrors(ConnectionError)), 1)
        del self.town.store.write
        self.assertEqual(bodies(await bob.sync(token)), [])
        await alice.send("2", {bob.user_id: {"PHONE": {"body": 2}}})
        answer = await bob.sync(token)
        self.assertEqual(bodies(answer), [2])
        await bob.sync(answer["next"])
        await self.town.settle()
        self.assertEqual(await self.town.rows("to_device_messages"), 0)
