"""What services are told: everything that concerns them, in order, however long they were away."""

from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred

from homeserver.bridges import pusher
from homeserver.bridges.interest import MOST_EVENTS
from tests.little_service import Asked, LittleService
from tests.processes import ServerProcess
from tests.support import WireTest


def keyed(event: dict[str, Any]) -> tuple[str, str | None]:
    return event["type"], event.get("state_key")


class PushingTest(WireTest):
    """A service that is there."""

    async def test_a_service_hears_what_concerns_it_and_nothing_else(self) -> None:
        irc = LittleService(self)
        irc.start()
        hearth = await self.server(application_services=[irc.registration()])
        alice, bob = await hearth.people("alice", "bob")
        ann = await irc.make_user(hearth, "_irc_ann")
        private = await alice.create_room(invite=[bob.id])
        await alice.say(private, "nobody's business")
        room = await alice.create_room(name="Garden")
        await alice.say(room, "before")
        await alice.ask("POST", f"/rooms/{room}/invite", {"user_id": ann})
        await irc.ask(hearth, "POST", f"/join/{room}", user=ann)
        said = await alice.say(room, "hello")
        await alice.set_state(room, "m.room.topic", {"topic": "Roses"})
        await irc.ask(hearth, "POST", f"/rooms/{room}/leave", user=ann)
        await alice.say(room, "after")
        await alice.say(private, "still nobody's business")
        back = await irc.ask(hearth, "POST", "/createRoom", {"invite": [alice.id]}, user=ann)
        await irc.until(lambda: ("m.room.member", alice.id) in map(keyed, irc.pushed()))
        events = irc.pushed()
        in_room = [event for event in events if event["room_id"] == room]
        self.assertEqual(
            [(event["type"], event["content"].get("membership")) for event in in_room],
            [
                ("m.room.member", "invite"),
                ("m.room.member", "join"),
                ("m.room.message", None),
                ("m.room.topic", None),
                ("m.room.member", "leave"),
            ],
        )
        self.assertEqual({event["room_id"] for event in events}, {room, back["room_id"]})
        [message] = [event for event in in_room if event["type"] == "m.room.message"]
        self.assertEqual(message["event_id"], said)
        self.assertEqual(message["sender"], alice.id)
        self.assertNotIn("transaction_id", message["unsigned"])
        self.assertGreaterEqual(message["unsigned"]["age"], 0)
        for asked in irc.transactions:
            self.assertEqual(asked.method, "PUT")
            self.assertTrue(asked.path.startswith("/_matrix/app/v1/transactions/"))
            self.assertEqual(asked.authorization, f"Bearer {irc.hs_token}")
            self.assertEqual(asked.query, {})

    async def test_rooms_by_their_id_and_alias_concern_a_service_without_members(self) -> None:
        logger = LittleService(
            self,
            "log",
            {
                "namespaces": {
                    "users": [],
                    "rooms": [],
                    "aliases": [{"exclusive": False, "regex": "#market"}],
                }
            },
        )
        every = LittleService(
            self,
            "all",
            {"namespaces": {"rooms": [{"exclusive": False, "regex": "!"}]}},
        )
        for service in (logger, every):
            service.start()
        hearth = await self.server(
            application_services=[logger.registration(), every.registration()]
        )
        alice = await hearth.person("alice")
        other = await alice.create_room()
        market = await alice.create_room(room_alias_name="market")
        await alice.say(other, "in the other room")
        await alice.say(market, "in the market")
        await logger.until(lambda: "in the market" in logger.texts())
        await every.until(lambda: "in the market" in every.texts())
        self.assertEqual({event["room_id"] for event in logger.pushed()}, {market})
        self.assertEqual(every.texts(), ["in the other room", "in the market"])
        self.assertEqual(every.pushed()[0]["type"], "m.room.create")

    async def test_what_fails_is_repeated_to_the_letter_and_first(self) -> None:
        self.patch(pusher, "FIRST_PAUSE", 1000.0)
        irc = LittleService(self)
        irc.start()
        hearth = await self.server(application_services=[irc.registration()])
        alice = await hearth.person("alice")
        room = await alice.create_room(invite=["@_irc_bot:localhost"])
        await irc.until(lambda: bool(irc.transactions))
        await irc.ask(hearth, "POST", f"/join/{room}")
        await alice.say(room, "0")
        await irc.until(lambda: "0" in irc.texts())
        fails = [500, 403, (200, {})]
        seen = len(irc.transactions)
        moments: list[float] = []

        def fail(asked: Asked) -> Any:
            moments.append(monotonic())
            return fails.pop(0) if fails else None

        irc.answers.append(fail)
        texts = [str(number) for number in range(1, 8)]
        event = await alice.say(room, texts[0])
        for text in texts[1:]:
            await alice.say(room, text)
        await alice.ask("PUT", f"/rooms/{room}/redact/{event}/r", {})  # no retry is altered
        while len(irc.transactions) < seen + 3:
            # Whoever calls is there, so it need not wait; but neither is it asked without pause.
            await irc.ask(hearth, "GET", "/account/whoami")
            before = len(irc.transactions)
            await irc.until(lambda count=before: len(irc.transactions) > count)
        self.assertGreater(moments[2] - moments[0], 1.9)
        first, second, third = irc.transactions[seen : seen + 3]
        self.assertEqual((first.path, first.body), (second.path, second.body))
        self.assertEqual((first.path, first.body), (third.path, third.body))
        self.assertEqual(first.json["events"][0]["content"]["body"], "1")
        await irc.until(lambda: any(e["type"] == "m.room.redaction" for e in irc.pushed()))
        self.assertEqual(irc.texts(), ["0", *texts])
        ids = [asked.path for asked in irc.transactions]
        self.assertEqual(len(set(ids)), len(ids) - 2)

    async def test_one_at_a_time_and_together_what_has_come_meanwhile(self) -> None:
        irc = LittleService(self)
        irc.start()
        hearth = await self.server(application_services=[irc.registration()])
        alice = await hearth.person("alice")
        room = await alice.create_room(invite=["@_irc_bot:localhost"])
        await irc.ask(hearth, "POST", f"/join/{room}")
        await irc.until(lambda: len(irc.pushed()) >= 2)
        slow: Deferred[int] = Deferred()
        holding = [slow]
        irc.answers.append(lambda asked: holding.pop() if holding else None)
        count = len(irc.transactions)
        for number in range(20):
            await alice.say(room, str(number))
        self.assertEqual(len(irc.transactions), count + 1)
        slow.callback(200)
        await irc.until(lambda: "19" in irc.texts())
        self.assertEqual(irc.texts(), [str(number) for number in range(20)])
        self.assertEqual(len(irc.transactions), count + 2)

    async def test_older_endpoints_and_services_without_an_address(self) -> None:
        old = LittleService(self, "old")
        silent = LittleService(self, "silent", {"url": None})
        old.answers.append(
            lambda asked: (404, {}) if asked.path.startswith("/_matrix/app/v1/") else None
        )
        old.start()
        hearth = await self.server(application_services=[old.registration(), silent.registration()])
        alice = await hearth.person("alice")
        room = await alice.create_room(invite=["@_old_bot:localhost", "@_silent_bot:localhost"])
        for service in (old, silent):
            await service.ask(hearth, "POST", f"/join/{room}")
        await alice.say(room, "hello")
        await old.until(lambda: any(asked.path.startswith("/transactions/") for asked in old.asked))
        await old.until(lambda: "hello" in old.texts())
        self.assertEqual(silent.asked, [])

    async def test_the_address_of_a_service_is_allowed_to_nobody_else(self) -> None:
        irc = LittleService(self)
        irc.start()
        hearth = await self.server(application_services=[irc.registration()])
        guard: Any = hearth.app.egress._agent.agent._endpointFactory.guard
        self.assertEqual((guard._networks, guard._hosts), ([], set()))

    async def test_a_registration_that_is_taken_out_loses_its_place(self) -> None:
        irc = LittleService(self)
        hearth = await self.server(application_services=[irc.registration()])
        alice = await hearth.person("alice")
        room = await alice.create_room(invite=["@_irc_bot:localhost"])
        await hearth.stop()
        hearth._settings = {}
        await hearth.start()
        await alice.say(room, "while it was no part of this server")
        await hearth.stop()
        hearth._settings = {"application_services": [irc.registration()]}
        irc.start()
        await hearth.start()
        await irc.ask(hearth, "POST", f"/join/{room}")
        await alice.say(room, "now")
        await irc.until(lambda: "now" in irc.texts())
        self.assertEqual(irc.texts(), ["now"])

    async def test_metrics_say_how_far_behind_a_service_is(self) -> None:
        people = [{"exclusive": True, "regex": "@_irc_"}]
        irc = LittleService(self, more={"namespaces": {"users": people}})
        hearth = await self.server(application_services=[irc.registration()])
        alice = await hearth.person("alice")
        value = hearth.app.metrics.registry.get_sample_value
        await alice.create_room(invite=["@_irc_bot:localhost"])
        while not hearth.app.bridges.pushers["irc"].failures:
            await alice.sync()
        irc_only = {"service": "irc"}
        self.assertGreater(value("hearth_application_service_behind", irc_only), 0)
        self.assertGreaterEqual(value("hearth_application_service_waiting_seconds", irc_only), 0)
        self.assertGreater(value("hearth_application_service_failures", irc_only), 0)
        irc.start()
        await irc.ask(hearth, "GET", "/account/whoami")
        await irc.until(lambda: bool(irc.transactions))
        while value("hearth_application_service_behind", irc_only):
            await alice.sync()
        await alice.create_room()  # what is no concern of it leaves it up to date
        self.assertEqual(value("hearth_application_service_behind", irc_only), 0)
        self.assertEqual(value("hearth_application_service_waiting_seconds", irc_only), 0)


class AwayTest(WireTest):
    """A service that is not there, and a server that is killed meanwhile."""

    async def setUp(self) -> None:
        self.irc = LittleService(self)
        settings = {"application_services": [self.irc.registration()]}
        self.hearth = await ServerProcess(self, settings).start()
        self.addCleanup(self.hearth.kill)
        self.alice = await self.hearth.person("alice")

    async def test_nothing_is_lost_while_both_are_away(self) -> None:
        irc, hearth, alice = self.irc, self.hearth, self.alice
        room = await alice.create_room(invite=["@_irc_bot:localhost"])
        await irc.ask(hearth, "POST", f"/join/{room}")
        said = [f"first {number}" for number in range(MOST_EVENTS + 20)]
        for text in said[:30]:
            await alice.say(room, text)
        await hearth.kill()
        await hearth.start()
        for text in said[30:]:
            await alice.say(room, text)
        await hearth.kill()
        irc.start()
        await hearth.start()
        await irc.until(lambda: said[-1] in irc.texts())
        self.assertEqual(irc.texts(), said)
        # And from the last acknowledgement on, not from the beginning: whoever gets the next one
        # is known to have the one before, and only that next one may come twice.
        await alice.say(room, "perhaps twice")
        await irc.until(lambda: "perhaps twice" in irc.texts())
        await hearth.stop()
        before = len(irc.transactions)
        await hearth.start()
        await alice.say(room, "the end")
        await irc.until(lambda: "the end" in irc.texts())
        again = [text for asked in irc.transactions[before:] for text in _texts(asked)]
        self.assertEqual([text for text in again if text != "perhaps twice"], ["the end"])
        self.assertNotIn("Traceback", hearth.log)
        self.assertNotIn(irc.as_token, hearth.log)
        self.assertNotIn(irc.hs_token, hearth.log)

    async def test_an_acknowledgement_that_got_lost_brings_the_same_again(self) -> None:
        irc, hearth, alice = self.irc, self.hearth, self.alice
        irc.start()
        room = await alice.create_room(invite=["@_irc_bot:localhost"])
        await irc.ask(hearth, "POST", f"/join/{room}")
        await irc.until(lambda: len(irc.pushed()) >= 2)
        never: Deferred[int] = Deferred()
        irc.answers.append(lambda asked: never)
        await alice.say(room, "once")
        await irc.until(lambda: "once" in irc.texts())
        await alice.say(room, "later")
        await hearth.kill()
        irc.answers.clear()
        seen = len(irc.transactions)
        await hearth.start()
        await irc.until(lambda: "later" in irc.texts())
        last, first = irc.transactions[seen - 1], irc.transactions[seen]
        self.assertEqual((last.path, last.body), (first.path, first.body))
        self.assertEqual(irc.texts(), ["once", "later"])
        never.callback(200)

    async def test_who_was_there_then_decides_not_who_is_there_now(self) -> None:
        irc, hearth, alice = self.irc, self.hearth, self.alice
        ann = await irc.make_user(hearth, "_irc_ann")
        room = await alice.create_room()
        await alice.say(room, "before she came")
        await alice.ask("POST", f"/rooms/{room}/invite", {"user_id": ann})
        await irc.ask(hearth, "POST", f"/join/{room}", user=ann)
        await alice.say(room, "while she was there")
        name = await irc.ask(
            hearth, "PUT", f"/profile/{ann}/displayname", {"displayname": "Ann"}, user=ann
        )
        self.assertEqual(name, {})
        await alice.say(room, "still")
        await irc.ask(hearth, "POST", f"/rooms/{room}/leave", user=ann)
        await alice.say(room, "after she had gone")
        await hearth.kill()
        irc.start()
        await hearth.start()
        await alice.create_room(invite=[ann], name="the end")
        await irc.until(lambda: len({event["room_id"] for event in irc.pushed()}) == 2)
        self.assertEqual(irc.texts(), ["while she was there", "still"])


def _texts(asked: Asked) -> list[str]:
    return [e["content"]["body"] for e in asked.json["events"] if "body" in e["content"]]
