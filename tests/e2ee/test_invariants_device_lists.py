"""Invariants 16 to 18: whoever sends to somebody knows all their devices, and hears in time."""

from collections.abc import Callable, Coroutine
from statistics import median
from time import perf_counter
from typing import Any

from schema.errors import Forbidden
from storage import device_lists
from tests.e2ee.wire import bodies, changed, counts, left, sync, token, waiting
from tests.olm_devices import Device, Identity, Json, Stories, bare
from tests.support import PASSWORD

Happening = Callable[[], Coroutine[Any, Any, Any]]

SIGNING = "/keys/device_signing/upload"
SIGNATURES = "/keys/signatures/upload"
WAKES_WITHIN = 0.03


class Changes(Stories):
    """Alice changes her devices; Bob shares a room with her, Carol does not."""

    async def setUp(self) -> None:
        await super().setUp()
        self.alice, self.bob = await self.town.people("alice", "bob")
        self.carol = await self.town.person("carol", alone=True)
        self.identity = Identity(self.alice)
        await self.alice.upload()

    async def log_in_with_keys(self) -> None:
        self.laptop = await self.town.person("alice", "LAPTOP")
        await self.laptop.upload(1)

    async def rename_a_device(self) -> None:
        await self.alice.ok("PUT", "/devices/LAPTOP", {"display_name": "Kitchen"})

    async def lose_all_keys(self) -> None:
        await self.laptop.reinstalled().upload(1)

    async def publish_an_identity(self) -> None:
        await self.alice.ok("POST", SIGNING, self.identity.upload())

    async def sign_a_device(self) -> None:
        signed = self.identity.sign("self_signing", bare(self.alice.device_keys()))
        body = {self.alice.user_id: {self.alice.device_id: signed}}
        self.assertEqual(await self.alice.ok("POST", SIGNATURES, body), {"failures": {}})

    async def sign_the_identity(self) -> None:
        signed = self.alice.sign(self.identity.key("master"))
        body = {self.alice.user_id: {self.identity.master.public_key: signed}}
        self.assertEqual(await self.alice.ok("POST", SIGNATURES, body), {"failures": {}})

    async def reset_the_identity(self) -> None:
        self.identity = Identity(self.alice)
        await self.with_password(SIGNING, self.identity.upload())

    async def log_out(self) -> None:
        await self.town.log_out(self.laptop)

    async def remove_a_device(self) -> None:
        await self.with_password("/delete_devices", {"devices": ["LAPTOP"]})

    async def with_password(self, path: str, body: Json) -> None:
        code, question = await self.alice.person.call("POST", path, body)
        self.assertEqual(code, 401, question)
        identifier = {"type": "m.id.user", "user": self.alice.user_id}
        auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        await self.alice.ok(
            "POST", path, {**body, "auth": {**auth, "session": question["session"]}}
        )

    async def test_16_every_change_of_devices_is_told_once_and_over_a_restart(self) -> None:
        """16: logins, keys, names, identities, signatures, logouts; to those who share a room."""
        bobs_laptop = await self.town.person("bob", "LAPTOP")
        listeners = [self.alice, bobs_laptop, self.carol]
        for happening in (
            self.log_in_with_keys,
            self.rename_a_device,
            self.lose_all_keys,
            self.publish_an_identity,
            self.sign_a_device,
            self.sign_the_identity,
            self.reset_the_identity,
            self.log_out,
            self.log_in_with_keys,
            self.remove_a_device,
        ):
            name = happening.__name__
            tokens = [await token(each) for each in listeners]
            before = await self.bob.keys_of(self.alice)
            answering = await waiting(self.bob, await token(self.bob))
            await happening()
            answer = await answering
            self.assertEqual(changed(answer), [self.alice.user_id], name)
            # One request may be two changes: a device logs in, and then uploads its keys.
            answer = await sync(self.bob, answer["next_batch"])
            self.assertEqual(changed(await sync(self.bob, answer["next_batch"])), [], name)
            after = await self.bob.keys_of(self.alice)
            self.assertNotEqual(after, before, name)
            await self.town.server.restart()
            self.assertEqual(await self.bob.keys_of(self.alice), after, name)
            heard = [
                changed(await sync(each, since))
                for each, since in zip(listeners, tokens, strict=True)
            ]
            self.assertEqual(heard, [[self.alice.user_id], [self.alice.user_id], []], name)

    async def test_16_keys_and_their_announcement_are_stored_together_or_not_at_all(self) -> None:
        """16: if a change cannot be announced, it does not happen."""
        await self.log_in_with_keys()
        before, since = await self.bob.keys_of(self.alice), await token(self.bob)

        def refuse(*whatever: Any) -> None:
            raise Forbidden("Nobody may hear of it")

        announcing = self.patch(device_lists, "put", refuse)
        tablet = await self.town.person("alice", "TABLET")
        signed = self.identity.sign("self_signing", bare(self.alice.device_keys()))
        for who, method, path, body in (
            (tablet, "POST", "/keys/upload", {"device_keys": tablet.device_keys()}),
            (self.laptop, "POST", "/keys/upload", {"device_keys": tablet.device_keys()}),
            (self.laptop, "PUT", "/devices/LAPTOP", {"display_name": "Kitchen"}),
            (self.laptop, "POST", "/logout", {}),
            (self.laptop, "POST", "/logout/all", {}),
            (self.alice, "POST", SIGNING, self.identity.upload()),
        ):
            code, _ = await who.person.call(method, path, body)
            self.assertIn(code, (400, 403), path)
            self.assertEqual(await self.bob.keys_of(self.alice), before, path)
        announcing.restore()
        await self.publish_an_identity()
        before = await self.bob.keys_of(self.alice)
        announcing = self.patch(device_lists, "put", refuse)
        body = {self.alice.user_id: {self.alice.device_id: signed}}
        self.assertEqual((await self.alice.refused("POST", SIGNATURES, body))[0], 403)
        announcing.restore()
        self.assertEqual(await self.bob.keys_of(self.alice), before)
        await self.town.server.restart()
        self.assertEqual(await self.bob.keys_of(self.alice), before)
        self.assertEqual(changed(await sync(self.bob, since)), [self.alice.user_id])
        self.assertEqual(len(await self.bob.claim(self.laptop)), 1)


class Listener:
    """What a device hears of other people's device lists, from its token to the next."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.since: str | None = None

    async def hears(self) -> tuple[list[str], list[str]]:
        """Who has changed, and who is gone, since the last time; as names."""
        answer = await sync(self.device, self.since)
        self.since = answer["next_batch"]
        return _names(changed(answer)), _names(left(answer))


class Meetings(Stories):
    """People come into rooms and leave them."""

    async def setUp(self) -> None:
        await super().setUp()
        self.alice, self.bob, self.carol, self.dave = [
            await self.town.person(name, alone=True) for name in ("alice", "bob", "carol", "dave")
        ]
        self.garden = await self.alice.person.create_room(preset="public_chat")
        self.alices, self.bobs, self.carols = [
            Listener(each) for each in (self.alice, self.bob, self.carol)
        ]
        for listener in (self.alices, self.bobs, self.carols):
            await listener.hears()

    async def about(self, verb: str, who: Device, room: str) -> None:
        await self.alice.ok("POST", f"/rooms/{room}/{verb}", {"user_id": who.user_id})

    async def leave(self, who: Device, room: str) -> None:
        await who.ok("POST", f"/rooms/{room}/leave")

    async def test_17_who_is_met_has_changed_and_who_is_parted_from_has_left(self) -> None:
        """17: for both sides, by joining, leaving, kick and ban; and only with the last room."""
        kitchen = await self.alice.person.create_room(preset="private_chat")
        await self.bob.person.join(self.garden)
        self.assertEqual(await self.bobs.hears(), (["alice"], []))
        self.assertEqual(await self.alices.hears(), (["bob"], []))
        # In one more room they meet again; with one room less they have not parted.
        await self.about("invite", self.bob, kitchen)
        await self.bob.person.join(kitchen)
        self.assertEqual(await self.bobs.hears(), (["alice"], []))
        self.assertEqual(await self.alices.hears(), (["bob"], []))
        await self.leave(self.bob, kitchen)
        self.assertEqual(await self.bobs.hears(), ([], []))
        self.assertEqual(await self.alices.hears(), ([], []))
        for verb in ("kick", "ban"):
            await self.about(verb, self.bob, self.garden)
            self.assertEqual(await self.bobs.hears(), ([], ["alice"]), verb)
            self.assertEqual(await self.alices.hears(), ([], ["bob"]), verb)
            await self.alice.reinstalled().upload()
            self.assertEqual(await self.bobs.hears(), ([], []), verb)
            if verb == "kick":
                await self.bob.person.join(self.garden)
                self.assertEqual(await self.bobs.hears(), (["alice"], []), verb)
                self.assertEqual(await self.alices.hears(), (["alice", "bob"], []), verb)
        self.assertEqual(await self.carols.hears(), ([], []), "she was never there")

    async def test_17_a_gap_in_tokens_and_a_restart_hide_nobody(self) -> None:
        """17: who came back while a client was away has changed, and who came and went has left."""
        await self.bob.person.join(self.garden)
        await self.bobs.hears()
        await self.alices.hears()
        await self.leave(self.alice, self.garden)
        await self.alice.upload()
        await self.alice.person.join(self.garden)
        await self.carol.person.join(self.garden)
        await self.dave.person.join(self.garden)
        await self.leave(self.dave, self.garden)
        await self.town.server.restart()
        changes, gone = await self.bobs.hears()
        self.assertEqual(changes, ["alice", "carol"])
        self.assertIn(gone, ([], ["dave"]), "whom he has never met he need not forget")
        self.assertEqual((await self.alices.hears())[0], ["alice", "bob", "carol"])
        self.assertEqual((await self.carols.hears())[0], ["alice", "bob"])

    async def test_17_a_room_that_is_upgraded_is_a_new_one(self) -> None:
        """17: who follows into the new room meets there, and parts from those who stay behind."""
        for each in (self.bob, self.carol):
            await each.person.join(self.garden)
        for listener in (self.alices, self.bobs, self.carols):
            await listener.hears()
        answer = await self.alice.ok("POST", f"/rooms/{self.garden}/upgrade", {"new_version": "11"})
        meadow = answer["replacement_room"]
        await self.bob.person.join(meadow)
        self.assertEqual(await self.bobs.hears(), (["alice"], []))
        self.assertEqual(await self.alices.hears(), (["bob"], []))
        self.assertEqual(await self.carols.hears(), ([], []))
        for each in (self.alice, self.bob):
            await self.leave(each, self.garden)
        self.assertEqual(await self.carols.hears(), ([], ["alice", "bob"]))
        self.assertEqual(await self.bobs.hears(), ([], ["carol"]))
        await self.alice.upload()
        self.assertEqual(await self.bobs.hears(), (["alice"], []))
        self.assertEqual(await self.carols.hears(), ([], []))

    async def test_17_an_invitation_lets_nobody_see_who_is_inside(self) -> None:
        """17: it changes nothing until it is accepted; declined, it has told of nobody."""
        kitchen = await self.alice.person.create_room(preset="private_chat")
        await self.alices.hears()
        await self.about("invite", self.bob, kitchen)
        self.assertEqual(await self.bobs.hears(), ([], []))
        await self.bob.person.join(kitchen)
        self.assertEqual(await self.bobs.hears(), (["alice"], []))
        self.assertEqual((await self.alices.hears())[0], ["bob"])
        await self.about("invite", self.carol, kitchen)
        await self.carols.hears()
        await self.leave(self.carol, kitchen)
        self.assertEqual(await self.carols.hears(), ([], []))
        await self.about("ban", self.carol, kitchen)
        self.assertEqual(await self.carols.hears(), ([], []))

    async def test_17_who_is_invited_is_known_before_they_come(self) -> None:
        """17: members send to invited people too, so they hear of their new devices in time."""
        kitchen = await self.alice.person.create_room(preset="private_chat")
        await self.alices.hears()
        await self.about("invite", self.bob, kitchen)
        self.assertEqual(await self.alices.hears(), (["bob"], []))
        answering = await waiting(self.alice, await token(self.alice))
        laptop = await self.town.person("bob", "LAPTOP")
        await laptop.upload()
        self.assertEqual(changed(await answering), [self.bob.user_id])
        await self.town.server.restart()
        self.assertEqual(await self.alices.hears(), (["bob"], []))
        await self.leave(self.bob, kitchen)
        self.assertEqual(await self.alices.hears(), ([], ["bob"]))
        await laptop.reinstalled().upload()
        self.assertEqual(await self.alices.hears(), ([], []))
        # Who comes into the room later knows who is awaited there.
        await self.about("invite", self.bob, kitchen)
        await self.about("invite", self.carol, kitchen)
        await self.carol.person.join(kitchen)
        self.assertEqual(await self.carols.hears(), (["alice", "bob"], []))
        await self.leave(self.carol, kitchen)
        self.assertEqual(await self.carols.hears(), ([], ["alice", "bob"]))

    async def test_17_who_comes_after_one_has_left_was_never_met(self) -> None:
        """17: a client that parts from a room does not hear who has come into it since."""
        await self.bob.person.join(self.garden)
        await self.bobs.hears()
        await self.leave(self.bob, self.garden)
        for each in (self.carol, self.dave):
            await each.person.join(self.garden)
        await self.leave(self.dave, self.garden)
        self.assertEqual(await self.bobs.hears(), ([], ["alice"]))


class Wakes(Stories):
    """Whatever a client needs for encryption ends its wait."""

    async def test_18_every_kind_of_news_wakes_a_sync_that_waits(self) -> None:
        """18: account data, keys, messages, rooms: none is held back until time runs out."""
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(2, fallback_keys=alice.fallback_key())
        street = self.town.street
        secret = f"/user/{alice.user_id}/account_data/m.secret_storage.default_key"
        request = {"from_device": "X", "methods": ["m.sas.v1"], "to": alice.user_id}
        verify = {"msgtype": "m.key.verification.request", "body": "verify", **request}
        news: list[tuple[Happening, Callable[[Json], Any]]] = [
            (lambda: bob.send("1", {alice.user_id: {"*": {"body": "hi"}}}), bodies),
            (lambda: bob.claim(alice), lambda answer: counts(answer)[0] == 1),
            (lambda: alice.upload(5), lambda answer: counts(answer)[0] == 6),
            (lambda: bob.upload(), changed),
            (lambda: self.town.person("carol"), changed),
            (lambda: alice.ok("PUT", secret, {"key": "x"}), lambda answer: answer["account_data"]),
            (lambda: bob.person.send(str(street), "m.room.encrypted", {}), in_rooms("timeline")),
            (lambda: bob.person.send(str(street), "m.room.message", verify), in_rooms("timeline")),
            (lambda: bob.ok("POST", f"/rooms/{street}/leave"), left),
        ]
        since = await token(alice)
        for number, (happening, is_there) in enumerate(news):
            answering = await waiting(alice, since)
            await happening()
            answer = await answering
            self.assertTrue(is_there(answer), (number, answer))
            # Several changes may come one by one; what matters has come already.
            since = await token(alice)

    async def test_18_news_do_not_wait_for_a_timer(self) -> None:
        """18: a waiting sync is answered right after the change that it waits for.

        The median, since this machine does other things too; the 95th percentile is measured by
        the load test.
        """
        alice, bob = await self.town.people("alice", "bob")
        since, delays = await token(alice), []
        for number in range(15):
            answering = await waiting(alice, since)
            ended: list[float] = []
            answering.addCallback(lambda answer, e=ended: e.append(perf_counter()) or answer)
            await bob.send(str(number), {alice.user_id: {"*": {"body": number}}})
            began = perf_counter()
            answer = await answering
            delays.append(ended[0] - began)
            since = answer["next_batch"]
        self.assertLess(median(delays), WAKES_WITHIN, delays)


def in_rooms(section: str) -> Callable[[Json], bool]:
    """Whether some room of an answer has events in a section."""

    def has_events(answer: Json) -> bool:
        rooms = answer.get("rooms", {}).get("join", {}).values()
        return any(room.get(section, {}).get("events") for room in rooms)

    return has_events


def _names(user_ids: list[str]) -> list[str]:
    return sorted(user_id[1:].partition(":")[0] for user_id in user_ids)
