"""What services need besides events: moments, and everything to encrypt for their users."""

from itertools import count
from typing import Any

from homeserver.bridges.devices import COUNTS, COUNTS_MISSPELT, DEVICE_LISTS, FALLBACK, TO_DEVICE
from homeserver.bridges.ephemeral import NEW, OLD
from storage.transaction import Transaction, WriteTransaction
from tests.little_service import LittleService
from tests.olm_devices import Device, Identity, Stories, Town
from tests.support import Person

ENCRYPTS = {"receive_ephemeral": True, "org.matrix.msc3202": True, "rate_limited": False}


class EphemeralTest(Stories):
    """Typing, receipts, presence."""

    async def test_a_service_that_asks_hears_of_moments_where_it_is(self) -> None:
        new = LittleService(self, "new", {"receive_ephemeral": True})
        old = LittleService(self, "old", {"de.sorunome.msc2409.push_ephemeral": True})
        none = LittleService(self, "none")
        services = (new, old, none)
        hearth = await self.server(
            application_services=[service.registration() for service in services]
        )
        for service in services:
            service.start()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(invite=[f"@_{each.id}_bot:localhost" for each in services])
        private = await alice.create_room(invite=[bob.id])
        await bob.join(private)
        for service in services:
            await service.ask(hearth, "POST", f"/join/{room}")
        for place in (private, room):
            said = await alice.say(place, "hello")
            typing = {"typing": True, "timeout": 30_000}
            await alice.ask("PUT", f"/rooms/{place}/typing/{alice.id}", typing)
            await alice.ask("POST", f"/rooms/{place}/receipt/m.read.private/{said}")
            await alice.ask("POST", f"/rooms/{place}/receipt/m.read/{said}")
        for person, status in ((bob, "unseen"), (alice, "gardening")):
            body = {"presence": "unavailable", "status_msg": status}
            await person.ask("PUT", f"/presence/{person.id}/status", body)
        # The bot's own private receipt is its own.
        path = f"/rooms/{room}/receipt/m.read.private/{said}"
        for service in services:
            await service.ask(hearth, "POST", path)
        for service, key in ((new, NEW), (old, OLD)):
            own = f"@_{service.id}_bot:localhost"

            def has_all(service: LittleService = service, key: str = key, own: str = own) -> bool:
                told = service.pushed(key)
                text = repr(told)
                return (
                    "gardening" in text
                    and "m.typing" in text
                    and own in text
                    and ("m.read'" in text)
                )

            await service.until(has_all)
            events = service.pushed(key)
            rooms = {event.get("room_id") for event in events if event["type"] != "m.presence"}
            self.assertEqual(rooms, {room})
            self.assertEqual({e["sender"] for e in events if "sender" in e}, {alice.id})
            receipts: dict[str, set[str]] = {}
            for event in events:
                if event["type"] == "m.receipt":
                    for kind, people in event["content"][said].items():
                        receipts.setdefault(kind, set()).update(people)
            self.assertEqual(receipts, {"m.read": {alice.id}, "m.read.private": {own}})
            typing_events = [event for event in events if event["type"] == "m.typing"]
            self.assertEqual(typing_events[0]["content"], {"user_ids": [alice.id]})
        self.assertEqual(new.pushed(OLD), [])
        await none.until(lambda: "hello" in none.texts())
        for asked in none.transactions:
            self.assertEqual(set(asked.json), {"events"})


class EncryptionTest(Stories):
    """A service with devices."""

    async def set_up(self, **more: Any) -> tuple[LittleService, str, Device]:
        """A service that is there, one of its users with a device, and alice."""
        irc = LittleService(self, more={**ENCRYPTS, **more})
        irc.start()
        hearth = await self.server(
            application_services=[irc.registration()], registration={"mode": "open", "guests": True}
        )
        self.town = Town(self, hearth)
        ann = await irc.make_user(self.town.server, "_irc_ann")
        await irc.ask(self.town.server, "PUT", "/devices/BRIDGE", {}, user=ann)
        return irc, ann, await self.town.person("alice", alone=True)

    async def test_counts_of_keys_come_when_they_change(self) -> None:
        irc, ann, alice = await self.set_up()
        hearth = self.town.server
        mask = BridgedDevice(irc, self.town, ann, "BRIDGE")
        keys = {"one_time_keys": mask.device.one_time_keys(2)}
        fallback = {"fallback_keys": mask.device.fallback_key()}
        await mask.ask("POST", "/keys/upload", {"device_keys": mask.device.device_keys(), **keys})

        def latest(key: str) -> Any:
            found = [asked.json[key] for asked in irc.transactions if key in asked.json]
            return found[-1].get(ann, {}).get("BRIDGE") if found else None

        await irc.until(lambda: latest(COUNTS) == {"signed_curve25519": 2})
        self.assertEqual(latest(FALLBACK), [])
        await mask.ask("POST", "/keys/upload", fallback)
        await irc.until(lambda: latest(FALLBACK) == ["signed_curve25519"])
        for left in (1, 0):
            await alice.ok(
                "POST",
                "/keys/claim",
                {"one_time_keys": {ann: {"BRIDGE": "signed_curve25519"}}},
            )
            await irc.until(lambda left=left: latest(COUNTS) == {"signed_curve25519": left})
        self.assertEqual(latest(COUNTS_MISSPELT), latest(COUNTS))
        # After a restart a service hears of all of its devices.
        before = len(irc.transactions)
        await hearth.restart()
        await irc.until(lambda: len(irc.transactions) > before)
        self.assertEqual(latest(COUNTS), {"signed_curve25519": 0})

    async def test_whose_devices_have_changed_and_who_is_gone(self) -> None:
        irc, ann, alice = await self.set_up()
        hearth = self.town.server
        room = (
            await irc.ask(hearth, "POST", "/createRoom", {"invite": [alice.user_id]}, user=ann)
        )["room_id"]

        def told(kind: str) -> list[str]:
            lists = [a.json[DEVICE_LISTS] for a in irc.transactions if DEVICE_LISTS in a.json]
            return [user_id for each in lists for user_id in each[kind]]

        await alice.ok("POST", f"/join/{room}")
        await irc.until(lambda: alice.user_id in told("changed"))
        times = told("changed").count(alice.user_id)
        await alice.upload(1)
        await irc.until(lambda: told("changed").count(alice.user_id) > times)
        stranger = await self.town.person("mallory", alone=True)
        await stranger.upload(1)
        # While it is down, and over a restart.
        await irc.stop()
        times = told("changed").count(alice.user_id)
        tablet = await self.town.person("alice", "TABLET", alone=True)
        await tablet.upload(1)
        await alice.ok("POST", f"/rooms/{room}/leave")
        await hearth.restart()
        irc.start()
        await irc.ask(hearth, "GET", "/account/whoami")
        await irc.until(lambda: alice.user_id in told("left"))
        self.assertNotIn(stranger.user_id, told("changed"))

    async def test_who_syncs_keeps_what_has_not_been_synced(self) -> None:
        """Messages have one consumer: /sync, where a service logs in and does not use MSC3202."""
        irc, ann, alice = await self.set_up(**{"org.matrix.msc3202": False})
        hearth = self.town.server
        who = {"type": "m.id.user", "user": ann}
        login = {"type": "m.login.application_service", "identifier": who, "device_id": "LOGGEDIN"}
        token = (await irc.ask(hearth, "POST", "/login", login))["access_token"]
        message = {ann: {"*": {"body": "hello"}}}
        await alice.send("1", message)

        def hellos() -> list[Any]:
            return [each for each in irc.pushed(TO_DEVICE) if each["type"] == "m.test"]

        await irc.until(lambda: bool(hellos()))
        self.assertEqual([told["to_device_id"] for told in hellos()], ["BRIDGE"])
        code, answer = await hearth.call("GET", "/sync", token=token)
        [synced] = [e for e in answer["to_device"]["events"] if e["type"] == "m.test"]
        self.assertEqual((code, synced["content"]), (200, {"body": "hello"}))

    async def test_people_whom_a_service_may_act_as_keep_their_messages(self) -> None:
        """Double puppeting: who covers everybody must not take away what is for their devices."""
        wide = {"users": [{"exclusive": False, "regex": "@.*"}]}
        irc, ann, alice = await self.set_up(namespaces=wide)
        bob = await self.town.person("bob", alone=True)
        # Whoever has to log in again has no token for a while, and still their messages.
        logged_out = await self.town.person("bob", "TABLET", alone=True)

        def without_tokens(txn: WriteTransaction) -> None:
            txn.run("DELETE FROM access_tokens WHERE device_id = 'TABLET'")

        await self.town.store.write(without_tokens)
        _, login = await self.town.server.call("POST", "/register", query={"kind": "guest"})
        guest = Person(self.town.server, login, count(1))
        everybody = {each: {"*": {"body": "hello"}} for each in (bob.user_id, guest.id, ann)}
        await alice.send("1", everybody)
        await irc.until(lambda: any(each["type"] == "m.test" for each in irc.pushed(TO_DEVICE)))
        tests = [each for each in irc.pushed(TO_DEVICE) if each["type"] == "m.test"]
        self.assertEqual([each["to_user_id"] for each in tests], [ann])
        for person in (bob.person, guest):
            answer = await person.sync()
            self.assertIn("m.test", [each["type"] for each in answer["to_device"]["events"]])
        self.assertEqual(logged_out.user_id, bob.user_id)

        def waiting(txn: Transaction) -> int:
            return int(
                txn.value("SELECT COUNT(*) FROM to_device_messages WHERE device_id = 'TABLET'")
            )

        self.assertGreater(await self.town.store.read(waiting), 0)

    async def test_a_service_replaces_its_cross_signing_keys_without_a_password(self) -> None:
        irc, ann, _ = await self.set_up()
        mask = BridgedDevice(irc, self.town, ann, "BRIDGE")
        await mask.ask("POST", "/keys/upload", {"device_keys": mask.device.device_keys()})
        for _ in range(2):
            identity = Identity(mask.device)
            body = identity.upload("master", "self_signing", "user_signing")
            await mask.ask("POST", "/keys/device_signing/upload", body)


class BridgedDevice:
    """A device of a service's user, with keys, used with the service's token."""

    def __init__(self, service: LittleService, town: Town, user_id: str, device_id: str) -> None:
        self._service = service
        self._town = town
        self._who = {"user": user_id, "device_id": device_id}
        login = {"user_id": user_id, "device_id": device_id, "access_token": service.as_token}
        self.device = Device(town, Person(town.server, login, count(1)))

    async def ask(self, method: str, path: str, body: Any) -> Any:
        """A request as this device; it has to succeed."""
        return await self._service.ask(self._town.server, method, path, body, **self._who)
