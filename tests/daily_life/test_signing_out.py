"""Somebody has lost their bag, and signs out everywhere."""

from tests.daily_life.device import DailyLife, Device
from tests.e2ee.wire import waiting
from tests.olm_devices import Device as OlmDevice
from tests.olm_devices import Town
from tests.support import PASSWORD, Refused

UNKNOWN = (401, "M_UNKNOWN_TOKEN")


class SigningOutTest(DailyLife):
    """All devices are gone at once, with their keys, and everybody hears of it."""

    async def with_keys(self, device: Device) -> OlmDevice:
        """The device, after it has uploaded what others need to encrypt for it."""
        keys = OlmDevice(Town(self, self.hearth), device.person)
        await keys.upload(one_time=2)
        return keys

    async def test_alice_signs_out_everywhere(self) -> None:
        alice, bob = await self.people("alice", "bob")
        laptop = await self.another_device(alice)
        tablet = await self.another_device(alice)
        hers = [alice, laptop, tablet]
        street = await self.room(bob, alice)
        bobs = await self.with_keys(bob)
        alices = [await self.with_keys(device) for device in hers]
        await self.everybody_looks()
        known = await bobs.keys_of(alices[0])
        self.assertEqual(set(known["device_keys"][alice.id]), {d.person.device_id for d in hers})
        self.assertEqual(len(await bobs.claim(*alices)), 3)
        await self.everybody_looks()

        # The tablet waits for news; what comes is that it is signed out.
        assert tablet.token is not None
        on_tablet = await waiting(alices[2], tablet.token)
        await laptop.ask("POST", "/logout/all")
        refusal = await self.assertFailure(on_tablet, Refused)
        self.assertIn("401", str(refusal))
        self.assertIn("M_UNKNOWN_TOKEN", str(refusal))

        await self.hearth.restart()

        for device in hers:
            self.assertEqual(await device.tries("GET", "/account/whoami"), UNKNOWN)
            self.assertEqual(await device.tries("GET", f"/sync?since={device.token}"), UNKNOWN)
            self.devices.remove(device)
        await bob.sync()
        self.assertEqual(bob.changed, {alice.id})
        known = await bobs.keys_of(alices[0])
        self.assertEqual(known["device_keys"], {alice.id: {}})
        self.assertEqual(await bobs.claim(*alices), [])
        await bobs.send("1", {alice.id: {"*": {"body": "a key"}}})

        # The account itself is as it was: she comes back to her rooms. Even under the name of
        # her old phone it is a new device, which knows no keys.
        await bob.say(street, "Have you found your bag?")
        back = await self.another_device(alice, device_id=alice.person.device_id)
        await back.sync()
        known = await bobs.keys_of(alices[0])
        self.assertEqual(known["device_keys"], {alice.id: {}})
        self.assertEqual(back.shown(street), ["Have you found your bag?"])
        self.assertNotIn("to_device", back.news)
        devices = (await back.ask("GET", "/devices"))["devices"]
        self.assertEqual([d["device_id"] for d in devices], [back.person.device_id])
        await self.with_keys(back)
        await bob.sync()
        self.assertEqual(bob.changed, {alice.id})

    async def test_one_lost_phone_is_signed_out_from_another_device(self) -> None:
        alice, bob = await self.people("alice", "bob")
        laptop = await self.another_device(alice)
        await self.room(bob, alice)
        bobs = await self.with_keys(bob)
        phone, _ = [await self.with_keys(device) for device in (alice, laptop)]
        await self.everybody_looks()
        await self.hearth.restart()
        path = f"/devices/{alice.person.device_id}"
        code, challenge = await laptop.person.call("DELETE", path, {})
        self.assertEqual(code, 401)
        identifier = {"type": "m.id.user", "user": alice.id}
        password = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        await laptop.ask("DELETE", path, {"auth": {**password, "session": challenge["session"]}})
        self.assertEqual(await alice.tries("GET", "/account/whoami"), UNKNOWN)
        self.devices.remove(alice)
        await self.everybody_looks()
        for device in (bob, laptop):
            self.assertEqual(device.changed, {alice.id})
        known = await bobs.keys_of(phone)
        self.assertEqual(set(known["device_keys"][alice.id]), {laptop.person.device_id})
