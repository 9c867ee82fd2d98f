"""Design promise 2: the same transaction id never makes two events, and loses none beside it."""

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.support import Person, Server, WireTest, bodies, timeline

TEXT = {"msgtype": "m.text", "body": "hello"}


async def at_once(*requests: Any) -> list[Any]:
    """The results of several requests that are under way at the same time."""
    return list(await gatherResults([Deferred.fromCoroutine(each) for each in requests]))


async def texts(person: Person, room: str) -> Counter[str]:
    """How often each text stands in a room."""
    page = await person.messages(room, limit=1000)
    return Counter(bodies(page["chunk"]))


class TransactionTest(WireTest):
    """One device, one transaction id, one event: at once, again, after a restart."""

    async def setUp(self) -> None:
        self.hearth: Server = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(invite=[self.bob.id])
        await self.bob.join(self.room)

    async def test_twenty_at_once_and_again_and_after_a_restart(self) -> None:
        since = (await self.bob.sync())["next_batch"]
        send = (self.room, "m.room.message", TEXT, "once")
        sent = set(await at_once(*[self.alice.send(*send) for _ in range(20)]))
        self.assertEqual(len(sent), 1)
        self.assertEqual({await self.alice.send(*send)}, sent)
        await self.hearth.restart()
        self.assertEqual(set(await at_once(*[self.alice.send(*send) for _ in range(5)])), sent)
        events = timeline(await self.bob.sync(since=since), self.room)
        self.assertEqual([event["event_id"] for event in events], list(sent))

    async def test_what_comes_again_is_not_looked_at_again(self) -> None:
        first = await self.alice.send(self.room, "m.room.message", TEXT, "1")
        again = await self.alice.send(self.room, "m.room.message", {"body": "other"}, "1")
        self.assertEqual(first, again)
        await self.alice.ask("POST", f"/rooms/{self.room}/leave")
        self.assertEqual(await self.alice.send(self.room, "m.room.message", TEXT, "1"), first)

    async def test_many_retries_of_many_messages(self) -> None:
        """A client on a bad line repeats everything; a neighbour's refused request is no matter."""
        eve = await self.hearth.person("eve")
        requests, large = [], {"msgtype": "m.text", "body": "x" * 70_000}
        for number in range(8):  # 48 connections: more than the test's port takes at once get lost
            content = {"msgtype": "m.text", "body": f"message {number}"}
            path = f"/rooms/{self.room}/send/m.room.message/{number}"
            requests += [self.alice.call("PUT", path, content) for _ in range(3)]
            requests += [self.bob.call("PUT", path, {**content, "body": f"bob {number}"})]
            requests += [eve.call("PUT", path, content)]
            requests += [self.bob.call("PUT", f"{path}large", large)]
        answers = await at_once(*requests)
        codes = Counter(code for code, _ in answers)
        self.assertEqual(codes, {200: 32, 403: 8, 413: 8})
        ids = {answer["event_id"] for code, answer in answers if code == 200}
        self.assertEqual(len(ids), 16)
        found = await texts(self.alice, self.room)
        expected = [f"{who} {number}" for who in ("message", "bob") for number in range(8)]
        self.assertEqual(found, Counter(expected))

    async def test_devices_do_not_know_each_others_ids(self) -> None:
        laptop = await self.hearth.log_in(self.alice)
        first = await self.alice.send(self.room, "m.room.message", TEXT, "1")
        second = await laptop.send(self.room, "m.room.message", TEXT, "1")
        self.assertNotEqual(first, second)
        [seen] = [
            event
            for event in timeline(await laptop.sync(), self.room)
            if event.get("unsigned", {}).get("transaction_id")
        ]
        self.assertEqual((seen["event_id"], seen["unsigned"]["transaction_id"]), (second, "1"))

    async def test_an_id_belongs_to_its_room_and_type(self) -> None:
        other = await self.alice.create_room()
        places = [
            (room, type_) for room in (self.room, other) for type_ in ("m.room.message", "m.x")
        ]
        sent = [await self.alice.send(*place, TEXT, "1") for place in places]
        self.assertEqual(len(set(sent)), 4)

    async def test_it_is_still_the_same_device_with_the_next_access_token(self) -> None:
        login = await self.hearth.log_in(self.alice, refresh_token=True)
        first = await login.send(self.room, "m.room.message", TEXT, "1")
        body = {"refresh_token": login.login["refresh_token"]}
        code, fresh = await self.hearth.call("POST", "/refresh", body)
        self.assertEqual(code, 200, fresh)
        login.token = fresh["access_token"]
        self.assertEqual(await login.send(self.room, "m.room.message", TEXT, "1"), first)

    async def test_it_is_another_device_after_logging_out(self) -> None:
        pad = await self.hearth.log_in(self.alice)
        first = await pad.send(self.room, "m.room.message", TEXT, "1")
        await pad.ask("POST", "/logout")
        pad = await self.hearth.log_in(self.alice)
        self.assertNotEqual(await pad.send(self.room, "m.room.message", TEXT, "1"), first)

    async def test_redactions(self) -> None:
        event_id = await self.alice.say(self.room, "secret")
        path = f"/rooms/{self.room}/redact/{event_id}/1"
        answers = await at_once(*[self.alice.ask("PUT", path) for _ in range(10)])
        await self.hearth.restart()
        answers.append(await self.alice.ask("PUT", path))
        self.assertEqual(len({answer["event_id"] for answer in answers}), 1)
        page = await self.bob.messages(self.room, limit=100)
        redactions = [e for e in page["chunk"] if e["type"] == "m.room.redaction"]
        self.assertEqual(len(redactions), 1)

    async def test_state_that_is_set_already(self) -> None:
        """State has no transaction ids; setting what is set is no event."""
        topic = (self.room, "m.room.topic", {"topic": "tea"})
        sent = await at_once(*[self.alice.set_state(*topic) for _ in range(10)])
        await self.hearth.restart()
        sent.append(await self.alice.set_state(*topic))
        self.assertEqual(len(set(sent)), 1)

    async def test_messages_to_devices(self) -> None:
        body = {"messages": {self.bob.id: {self.bob.device_id: {"n": 1}}}}
        path = "/sendToDevice/m.test/1"
        await at_once(*[self.alice.ask("PUT", path, body) for _ in range(10)])
        await self.hearth.restart()
        await self.alice.ask("PUT", path, body)
        answer = await self.bob.sync()
        self.assertEqual(len(answer["to_device"]["events"]), 1)
        after = await self.bob.sync(since=answer["next_batch"])
        self.assertNotIn("to_device", after)

    async def test_joining_and_inviting_many_times_at_once_happens_once(self) -> None:
        carol = await self.hearth.person("carol")
        invite = (f"/rooms/{self.room}/invite", {"user_id": carol.id})
        await at_once(*[self.alice.ask("POST", *invite) for _ in range(5)])
        await at_once(*[carol.ask("POST", f"/join/{self.room}") for _ in range(5)])
        page = await self.alice.messages(self.room, limit=100)
        steps = [
            event["content"]["membership"]
            for event in page["chunk"]
            if event["type"] == "m.room.member" and event["state_key"] == carol.id
        ]
        self.assertEqual(steps, ["join", "invite"])

    async def test_a_direct_room_is_made_once(self) -> None:
        wish = {"is_direct": True, "invite": [self.bob.id], "preset": "trusted_private_chat"}
        rooms = await at_once(
            *[self.alice.create_room(**wish) for _ in range(5)],
            *[self.bob.create_room(**{**wish, "invite": [self.alice.id]}) for _ in range(5)],
        )
        self.assertEqual(len(set(rooms)), 1)
