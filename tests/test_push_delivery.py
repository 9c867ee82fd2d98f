"""Push gateways: a phone hears of what concerns it, once, in order, whatever breaks on the way."""

from collections.abc import Callable
from threading import Event
from time import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from homeserver.push import delivery
from homeserver.push.notices import Notices
from schema.errors import Unavailable
from storage import store
from tests.push_gateway import PushGateway
from tests.support import Person, Server, WireTest

Json = dict[str, Any]
HERE = {"allow_private_addresses": ["127.0.0.1"]}


def after(gate: Event, work: Callable[..., Any]) -> Callable[..., Any]:
    """``work``, for a thread, that waits until the gate is open."""

    def waiting(*args: Any) -> Any:
        gate.wait(10)
        return work(*args)

    return waiting


class PushDeliveryTest(WireTest):
    """Bob has a phone; Alice writes to him."""

    async def setUp(self) -> None:
        self.patch(delivery, "FIRST_WAIT", 0.02)
        self.gateway = PushGateway(self)
        self.hearth: Server = await self.server(**HERE)
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat", name="Street")
        await self.bob.join(self.room)

    async def set_pusher(self, who: Person, pushkey: str = "key", **data: Any) -> None:
        pusher = {
            "pushkey": pushkey,
            "kind": "http",
            "app_id": "org.example.app",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": {"url": self.gateway.url, "brand": "x", **data},
        }
        await who.ask("POST", "/pushers/set", pusher)

    async def remove_pusher(self) -> None:
        removal = {"pushkey": "key", "app_id": "org.example.app", "kind": None}
        await self.bob.ask("POST", "/pushers/set", removal)

    async def settled(self) -> None:
        """Wait until the server knows that everything has been told."""
        while len(self.hearth.app.rooms.push.delivery):
            await deferLater(reactor, 0.01)

    async def quiet(self) -> None:
        """Wait until no question to a gateway is under way."""
        while self.hearth.app.rooms.push.delivery._asking:
            await deferLater(reactor, 0.001)

    def texts(self) -> list[str]:
        """What was told, in order."""
        return [told["content"]["body"] for told in self.gateway.told if "content" in told]

    async def test_a_number_that_a_message_brings_along_is_not_told_before_it(self) -> None:
        await self.set_pusher(self.bob)
        counted: Deferred[None] = Deferred()
        unread = Notices.unread

        async def counting(notices: Notices, user_id: str) -> int:
            await counted
            return await unread(notices, user_id)

        self.patch(Notices, "unread", counting)
        await self.bob.say(self.room, "my own")  # whoever writes has read the rest
        await self.alice.say(self.room, "hello Bob")
        counted.callback(None)
        await self.settled()
        self.assertEqual(self.texts(), ["hello Bob"])
        self.assertEqual([told["counts"] for told in self.gateway.told], [{"unread": 1}])

    async def test_a_message_is_told_with_what_a_phone_shows(self) -> None:
        await self.set_pusher(self.bob)
        path = f"/profile/{self.alice.id}/displayname"
        await self.alice.ask("PUT", path, {"displayname": "Alice"})
        await self.bob.say(self.room, "my own")
        event_id = await self.alice.say(self.room, "hello Bob")
        (told,) = await self.gateway.hears(1)
        (device,) = told.pop("devices")
        self.assertLess(abs(device.pop("pushkey_ts") - time()), 60)
        expected: Json = {"app_id": "org.example.app", "pushkey": "key", "data": {"brand": "x"}}
        # The rule for rooms of two makes a sound.
        self.assertEqual(device, {**expected, "tweaks": {"sound": "default"}})
        self.assertEqual(
            told,
            {
                "event_id": event_id,
                "room_id": self.room,
                "type": "m.room.message",
                "sender": self.alice.id,
                "sender_display_name": "Alice",
                "room_name": "Street",
                "prio": "high",
                "content": {"msgtype": "m.text", "body": "hello Bob"},
                "counts": {"unread": 1},
            },
        )

    async def test_a_mention_is_urgent_and_says_how_it_sounds(self) -> None:
        await self.set_pusher(self.bob)
        await self.alice.say(self.room, "Bob!", **{"m.mentions": {"user_ids": [self.bob.id]}})
        (told,) = await self.gateway.hears(1)
        tweaks = {"sound": "default", "highlight": True}
        self.assertEqual((told["prio"], told["devices"][0]["tweaks"]), ("high", tweaks))

    async def test_a_client_that_wants_ids_only_gets_nothing_else(self) -> None:
        await self.set_pusher(self.bob, format="event_id_only")
        await self.alice.say(self.room, "secret")
        (told,) = await self.gateway.hears(1)
        expected = {"event_id", "room_id", "counts", "devices", "prio"}
        self.assertEqual(set(told), expected)

    async def test_everything_of_the_data_but_the_address_is_passed_on(self) -> None:
        own = {"org.example": {"a": [1, None]}, "default_payload": {"aps": {"badge": 1}}}
        await self.set_pusher(self.bob, format="event_id_only", **own)
        await self.alice.say(self.room, "x")
        (told,) = await self.gateway.hears(1)
        expected = {"brand": "x", "format": "event_id_only", **own}
        self.assertEqual(told["devices"][0]["data"], expected)

    async def test_an_invitation_is_told_and_whom_it_is_for(self) -> None:
        await self.set_pusher(self.bob)
        await self.alice.create_room(invite=[self.bob.id])
        (told,) = await self.gateway.hears(1)
        self.assertEqual((told["type"], told["user_is_target"]), ("m.room.member", True))
        self.assertEqual(told["counts"], {"unread": 1})

    async def test_the_badge_follows_what_is_read(self) -> None:
        await self.set_pusher(self.bob)
        for text in "ab":
            last = await self.alice.say(self.room, text)
        await self.gateway.hears(2)
        await self.bob.ask("POST", f"/rooms/{self.room}/receipt/m.read/{last}")
        told = (await self.gateway.hears(3))[-1]
        self.assertEqual((told["counts"], told.get("event_id")), ({"unread": 0}, None))
        await self.alice.say(self.room, "c")
        self.assertEqual((await self.gateway.hears(4))[-1]["counts"], {"unread": 1})

    async def test_nobody_is_told_of_whom_they_ignore(self) -> None:
        carol = await self.hearth.person("carol")
        await carol.join(self.room)
        await self.set_pusher(self.bob)
        await carol.say(self.room, "one")
        self.assertEqual((await self.gateway.hears(1))[-1]["counts"], {"unread": 1})
        self.gateway.status = 503
        await carol.say(self.room, "two")
        await self.gateway.until(lambda: self.gateway.asked >= 2)
        path = f"/user/{self.bob.id}/account_data/m.ignored_user_list"
        await self.bob.ask("PUT", path, {"ignored_users": {carol.id: {}}})
        await self.quiet()
        self.gateway.status = 200
        told = (await self.gateway.hears(2))[-1]
        self.assertEqual((told["counts"], told.get("event_id")), ({"unread": 0}, None))
        await carol.say(self.room, "three")
        await carol.create_room(invite=[self.bob.id])
        await self.alice.say(self.room, "hello Bob")
        told = (await self.gateway.hears(3))[-1]
        self.assertEqual((self.texts(), told["counts"]), (["one", "hello Bob"], {"unread": 1}))
        await self.settled()
        self.gateway.status = 503
        await self.alice.say(self.room, "hello again")
        for number in range(delivery.MOST_DUE):
            await carol.say(self.room, str(number))
        self.gateway.status = 200
        await self.gateway.hears(4)
        await self.settled()
        await self.hearth.restart()
        await carol.say(self.room, "four")
        await self.alice.say(self.room, "good night")
        await self.gateway.hears(5)
        texts = ["one", "hello Bob", "hello again", "good night"]
        self.assertEqual(self.texts(), texts)

    async def test_a_pusher_that_is_silenced_is_told_nothing(self) -> None:
        enabled = "org.matrix.msc3881.enabled"
        await self.set_pusher(self.bob)
        await self.set_pusher(self.bob, "other")
        [silenced] = [
            each
            for each in (await self.bob.ask("GET", "/pushers"))["pushers"]
            if each["pushkey"] == "key"
        ]
        for number, is_enabled in enumerate((False, True)):
            wish = {**silenced, enabled: is_enabled}
            await self.bob.ask("POST", "/pushers/set", wish)
            await self.alice.say(self.room, str(number))
            await self.gateway.hears(1 if number == 0 else 3)
        told = [(e["content"]["body"], e["devices"][0]["pushkey"]) for e in self.gateway.told]
        self.assertEqual(sorted(told), [("0", "other"), ("1", "key"), ("1", "other")])

    async def test_each_phone_is_told_and_nobody_elses(self) -> None:
        carol = await self.hearth.person("carol")
        await carol.join(self.room)
        await self.set_pusher(self.bob, "one")
        await self.set_pusher(self.bob, "two")
        await self.set_pusher(carol, "three")
        await self.set_pusher(self.alice, "four")
        await self.alice.say(self.room, "x")
        told = await self.gateway.hears(3)
        keys = sorted(each["devices"][0]["pushkey"] for each in told)
        self.assertEqual(keys, ["one", "three", "two"])
        self.assertEqual({(e["prio"], "tweaks" in e["devices"][0]) for e in told}, {("low", False)})

    async def test_a_gateway_that_is_down_is_told_later_and_in_order(self) -> None:
        await self.set_pusher(self.bob)
        self.gateway.status = 503
        for number in range(5):
            await self.alice.say(self.room, str(number))
        await self.gateway.until(lambda: self.gateway.asked >= 3)
        self.gateway.status = 200
        await self.gateway.hears(5)
        self.assertEqual(self.texts(), ["0", "1", "2", "3", "4"])

    async def test_one_gateway_that_is_down_holds_up_no_other(self) -> None:
        down = PushGateway(self)
        down.status = 500
        await self.set_pusher(self.bob, "down", url=down.url)
        await self.set_pusher(self.bob, "up")
        for text in "ab":
            await self.alice.say(self.room, text)
        await self.gateway.hears(2)
        self.assertEqual(self.texts(), ["a", "b"])

    async def test_what_is_due_survives_a_restart_and_nothing_is_told_twice(self) -> None:
        await self.set_pusher(self.bob)
        await self.alice.say(self.room, "before")
        await self.gateway.hears(1)
        self.gateway.status = 502
        for text in ("while down", "still down"):
            await self.alice.say(self.room, text)
        await self.gateway.until(lambda: self.gateway.asked >= 2)
        await self.hearth.restart()
        self.gateway.status = 200
        await self.gateway.hears(3)
        await self.settled()
        await self.hearth.restart()
        await self.alice.say(self.room, "after")
        await self.gateway.hears(4)
        self.assertEqual(self.texts(), ["before", "while down", "still down", "after"])

    async def test_a_silent_gateway_keeps_nobody_from_stopping(self) -> None:
        await self.set_pusher(self.bob)
        self.gateway.is_silent = True
        await self.alice.say(self.room, "hello?")
        await self.gateway.until(lambda: self.gateway.asked == 1)
        began = time()
        await self.hearth.stop()
        self.assertLess(time() - began, 5)
        self.gateway.is_silent = False
        await self.hearth.start()
        await self.gateway.hears(1)
        self.assertEqual(self.texts(), ["hello?"])

    async def test_what_was_read_meanwhile_is_not_told(self) -> None:
        await self.set_pusher(self.bob)
        self.gateway.status = 503
        read = await self.alice.say(self.room, "read")
        await self.bob.ask("POST", f"/rooms/{self.room}/receipt/m.read/{read}")
        await self.settled()
        await self.alice.say(self.room, "news")
        self.gateway.status = 200
        await self.gateway.until(lambda: "news" in self.texts())
        self.assertEqual(self.texts(), ["news"])

    async def test_what_was_redacted_meanwhile_is_not_told(self) -> None:
        await self.set_pusher(self.bob)
        self.gateway.status = 503
        await self.alice.say(self.room, "first")
        gone = await self.alice.say(self.room, "gone")
        await self.alice.ask("PUT", f"/rooms/{self.room}/redact/{gone}/t1")
        await self.alice.say(self.room, "last")
        self.gateway.status = 200
        await self.gateway.until(lambda: "last" in self.texts())
        self.assertEqual(self.texts(), ["first", "last"])
        ids = [told["event_id"] for told in self.gateway.told]
        self.assertNotIn(gone, ids)

    async def test_what_is_redacted_while_pushers_are_looked_for_is_not_told(self) -> None:
        push = self.hearth.app.rooms.push.delivery
        look = push._read

        async def slow_look(user_id: str) -> Any:
            found = await look(user_id)
            patched.restore()
            gone = await self.alice.say(self.room, "gone")
            await self.alice.ask("PUT", f"/rooms/{self.room}/redact/{gone}/t1")
            return found

        patched = self.patch(push, "_read", slow_look)
        await self.set_pusher(self.bob)
        while push._loading:
            await deferLater(reactor, 0.01)
        await self.alice.say(self.room, "last")
        await self.gateway.until(lambda: "last" in self.texts())
        self.assertEqual(self.texts(), ["last"])

    async def test_a_room_that_is_muted_is_not_told(self) -> None:
        await self.set_pusher(self.bob)
        muted = {"actions": [], "conditions": []}
        muted["conditions"] = [{"kind": "event_match", "key": "room_id", "pattern": self.room}]
        await self.bob.ask("PUT", f"/pushrules/global/override/{self.room}", muted)
        await self.alice.say(self.room, "noise")
        kitchen = await self.alice.create_room(preset="public_chat")
        await self.bob.join(kitchen)
        await self.alice.say(kitchen, "news")
        await self.gateway.hears(1)
        self.assertEqual(self.texts(), ["news"])

    async def test_after_a_restart_each_phone_goes_on_where_it_was(self) -> None:
        down = PushGateway(self)
        await self.set_pusher(self.bob, "down", url=down.url)
        await self.set_pusher(self.bob, "up")
        down.status = 500
        await self.alice.say(self.room, "a")
        await self.gateway.hears(1)
        while len(self.hearth.app.rooms.push.delivery) > 1:
            await deferLater(reactor, 0.01)
        await self.hearth.restart()
        down.status = 200
        await self.alice.say(self.room, "b")
        await down.hears(2)
        await self.gateway.hears(2)
        self.assertEqual(self.texts(), ["a", "b"])
        self.assertEqual([told["content"]["body"] for told in down.told], ["a", "b"])

    async def test_a_gateway_that_knows_the_phone_no_more_ends_the_pusher(self) -> None:
        await self.set_pusher(self.bob)
        self.gateway.rejected = ["key"]
        for text in "ab":
            await self.alice.say(self.room, text)
            await self.gateway.hears(1)
            while (await self.bob.ask("GET", "/pushers"))["pushers"]:
                await deferLater(reactor, 0.01)
        self.assertEqual(self.texts(), ["a"])

    async def test_nothing_is_told_after_the_pusher_is_gone(self) -> None:
        await self.set_pusher(self.bob)
        await self.alice.say(self.room, "a")
        await self.gateway.hears(1)
        self.gateway.status = 503
        await self.alice.say(self.room, "too late")
        await self.gateway.until(lambda: self.gateway.asked >= 2)
        await self.remove_pusher()
        await self.quiet()
        self.gateway.status = 200
        laptop = await self.hearth.log_in(self.bob)
        await self.set_pusher(laptop, "laptop")
        await laptop.ask("POST", "/logout")
        await self.alice.say(self.room, "b")
        await self.set_pusher(self.bob, "new")
        await self.alice.say(self.room, "c")
        await self.gateway.hears(2)
        self.assertEqual(self.texts(), ["a", "c"])

    async def test_nothing_is_told_while_the_server_looks_who_is_gone(self) -> None:
        await self.set_pusher(self.bob)
        self.gateway.status = 503
        await self.alice.say(self.room, "too late")
        await self.gateway.until(lambda: self.gateway.asked >= 1)
        gate = Event()
        self.addCleanup(gate.set)
        self.patch(delivery, "_read", after(gate, delivery._read))
        await self.remove_pusher()
        await self.quiet()
        self.gateway.status = 200
        await deferLater(reactor, 0.2)  # many times as long as until the next attempt
        gate.set()
        await self.set_pusher(self.bob, "new")
        await self.alice.say(self.room, "in time")
        await self.gateway.hears(1)
        self.assertEqual(self.texts(), ["in time"])

    async def test_a_pusher_that_cannot_be_looked_up_at_once_is_told_all_the_same(self) -> None:
        usual = store.MAX_READING
        self.patch(store, "MAX_READING", 0)
        await self.set_pusher(self.bob)
        await deferLater(reactor, 0.1)
        self.patch(store, "MAX_READING", usual)
        await self.alice.say(self.room, "hello Bob")
        await self.gateway.hears(1)
        self.assertEqual(self.texts(), ["hello Bob"])

    async def test_what_cannot_be_counted_at_once_is_told_all_the_same(self) -> None:
        await self.set_pusher(self.bob)
        unread, failures = Notices.unread, [Unavailable("not now"), Unavailable("nor now")]

        async def counting(notices: Notices, user_id: str) -> int:
            if failures:
                raise failures.pop()
            return await unread(notices, user_id)

        self.patch(Notices, "unread", counting)
        await self.alice.say(self.room, "hello Bob")
        await self.gateway.hears(1)
        self.assertEqual(self.texts(), ["hello Bob"])

    async def test_many_that_wait_are_not_all_told(self) -> None:
        await self.set_pusher(self.bob)
        self.gateway.status = 503
        for number in range(delivery.MOST_DUE + 5):
            await self.alice.say(self.room, str(number))
        self.gateway.status = 200
        await self.gateway.until(lambda: str(delivery.MOST_DUE + 4) in self.texts())
        self.assertLessEqual(len(self.texts()), delivery.MOST_DUE + 1)
        self.assertEqual(self.texts(), sorted(self.texts(), key=int))


class AddressesTest(WireTest):
    """People name the addresses of gateways."""

    async def test_the_server_does_not_talk_to_what_is_beside_it(self) -> None:
        self.patch(delivery, "FIRST_WAIT", 0.02)
        gateway = PushGateway(self)
        hearth = await self.server(**HERE)
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        pusher = {
            "pushkey": "key",
            "kind": "http",
            "app_id": "org.example.app",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": {"url": gateway.url},
        }
        await bob.ask("POST", "/pushers/set", pusher)
        await hearth.restart(allow_private_addresses=[])
        await alice.say(room, "x")
        await deferLater(reactor, 0.2)
        self.assertEqual(gateway.asked, 0)
        self.assertEqual(len(hearth.app.rooms.push.delivery), 1)
        code, answer = await bob.call("POST", "/pushers/set", {**pusher, "pushkey": "other"})
        self.assertEqual((code, answer["errcode"]), (400, "M_INVALID_PARAM"))
