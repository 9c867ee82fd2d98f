"""What is left to people whose account is locked or suspended ("Account moderation")."""

from tests.olm_devices import Device, Identity, Stories
from tests.support import PASSWORD

ADMIN = "/_matrix/client/v1/admin"
BACKUP = {
    "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
    "auth_data": {"public_key": f"A{42 * 'A'}"},
}
SESSION = {
    "first_message_index": 0,
    "forwarded_count": 0,
    "is_verified": True,
    "session_data": {"ciphertext": "x", "ephemeral": "e", "mac": "m"},
}


class RestrictionsTest(Stories):
    """Olga is the organizer, and Bob is in trouble."""

    async def setUp(self) -> None:
        await super().setUp()
        self.olga, self.bob = await self.town.people("olga", "bob")
        self.pad = await self.town.person("bob", "PAD")
        await self.town.server.app.people.accounts.set_admin(self.olga.user_id, True)

    async def restrict(self, name: str, value: dict[str, bool]) -> None:
        await self.olga.ok("PUT", f"{ADMIN}/{name}/{self.bob.user_id}", value)

    async def test_who_is_locked_logs_out_everywhere(self) -> None:
        await self.restrict("lock", {"locked": True})
        self.assertEqual(await self.pad.refused("GET", "/devices"), (401, "M_USER_LOCKED"))
        await self.bob.ok("POST", "/logout/all")
        await self.restrict("lock", {"locked": False})
        for device in (self.bob, self.pad):
            refused = await device.refused("GET", "/account/whoami")
            self.assertEqual(refused, (401, "M_UNKNOWN_TOKEN"))

    async def test_who_is_suspended_looks_after_devices_and_keys(self) -> None:
        await self.restrict("suspend", {"suspended": True})
        await self.bob.upload(one_time=1)
        await self.pad.upload(one_time=1)
        identity = Identity(self.bob)
        await self.bob.ok("POST", "/keys/device_signing/upload", identity.upload())
        signed = identity.sign("self_signing", self.pad.device_keys())
        body = {self.bob.user_id: {self.pad.device_id: signed}}
        answer = await self.bob.ok("POST", "/keys/signatures/upload", body)
        self.assertEqual(answer["failures"], {})
        known = await self.olga.keys_of(self.bob)
        self.assertIn(self.bob.user_id, known["master_keys"])
        version = (await self.bob.ok("POST", "/room_keys/version", BACKUP))["version"]
        path = f"/room_keys/keys/{self.town.street}/s1?version={version}"
        self.assertEqual((await self.bob.ok("PUT", path, SESSION))["count"], 1)

    async def test_who_is_suspended_deletes_devices_and_logs_out(self) -> None:
        lost = await self.town.person("bob", "LOST")
        await self.restrict("suspend", {"suspended": True})
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.bob.user_id},
            "password": PASSWORD,
        }
        await self.bob.ok("DELETE", f"/devices/{lost.device_id}", {"auth": auth})
        await self.pad.ok("POST", "/logout")
        self.assertEqual(await self.devices(self.bob), [self.bob.device_id])
        await self.bob.ok("POST", "/logout/all")
        back = await self.town.person("bob", "NEW")
        self.assertEqual(await self.devices(back), ["NEW"])

    async def devices(self, device: Device) -> list[str]:
        answer = await device.ok("GET", "/devices")
        return [each["device_id"] for each in answer["devices"]]
