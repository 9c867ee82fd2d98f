"""Devices that nobody uses: they go when the organizer wants that, and never in silence."""

import homeserver.device_expiry
from homeserver.clock import system_clock
from homeserver.config import load
from homeserver.device_expiry import DAY_MS, GRACE_MS
from homeserver.settings import ConfigError
from storage.transaction import WriteTransaction
from tests.olm_devices import Device, Stories, Town
from tests.test_dehydrated import PATH, DriedDevice
from tests.test_identity_log import LOG


class DeviceExpiryStories(Stories):
    """Over the wire, with the clock put forward."""

    async def begin(self, days: int, passed: int = GRACE_MS) -> None:
        """A town whose devices expire, in a server that has been running for some time."""
        self.town = Town(self, await self.server(devices={"expire_after_days": days}))
        self.patch(self.town.server.app.people.expiry, "_began", system_clock() - passed)

    async def unused(self, *devices: Device, days: int) -> None:
        """Nobody has used some devices for so many days."""
        await self.town.server.app.people.last_seen.flush()
        seen = system_clock() - days * DAY_MS

        def work(txn: WriteTransaction) -> None:
            for device in devices:
                txn.run(
                    "UPDATE devices SET last_seen_at = ? WHERE user_id = ? AND device_id = ?",
                    seen - 1,
                    *device.device,
                )

        await self.town.store.write(work)

    async def keep_house(self) -> None:
        """What the server does each minute."""
        self.town.server.app._keep_house()
        await self.town.settle()

    async def test_what_is_not_used_goes_with_all_it_has_and_others_hear_of_it(self) -> None:
        await self.begin(days=30)
        alice, bob = await self.town.people("alice", "bob")
        tablet = await self.town.person("alice", "TABLET")
        await tablet.upload(2, fallback_keys=tablet.fallback_key())
        dried = DriedDevice(self.town, alice.person)
        await dried.leave()
        await bob.send("1", {alice.user_id: {"*": {"body": "hello"}}})
        await self.unused(alice, tablet, dried, days=29)
        await self.keep_house()
        self.assertEqual(await self.town.rows("devices"), 4)

        await self.unused(tablet, dried, days=30)
        token, told = (await bob.sync())["next"], (await alice.sync())["next"]
        await self.keep_house()
        refusal = await tablet.refused("GET", "/account/whoami")
        self.assertEqual(refusal, (401, "M_UNKNOWN_TOKEN"))
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        self.assertEqual(
            set((await bob.keys_of(alice))["device_keys"][alice.user_id]), {dried.device_id}
        )
        for table in ("one_time_keys", "fallback_keys", "to_device_messages"):
            rows = await self.town.rows(f"{table} WHERE device_id = 'TABLET'")
            self.assertEqual(rows, 0, table)
        entry = (await alice.ok("GET", LOG))["chunk"][0]
        self.assertEqual((entry["type"], entry["device_id"]), ("device_expired", "TABLET"))
        (notice,) = (await alice.sync(told))["to_device"]
        self.assertEqual(notice["content"]["changes"], [entry])
        # Who is logged in nowhere still has their dehydrated device.
        self.assertEqual((await alice.ok("GET", PATH))["device_id"], dried.device_id)

    async def test_what_was_used_a_moment_ago_stays(self) -> None:
        await self.begin(days=30)
        alice = await self.town.person("alice")
        await self.unused(alice, days=40)
        await alice.ok("GET", "/account/whoami")
        await self.keep_house()
        await alice.ok("GET", "/account/whoami")

    async def test_after_a_start_people_have_time_to_come_back(self) -> None:
        await self.begin(days=30, passed=GRACE_MS - 60_000)
        alice = await self.town.person("alice")
        await self.unused(alice, days=40)
        await self.keep_house()
        await alice.ok("GET", "/account/whoami")

    async def test_many_go_in_portions(self) -> None:
        self.patch(homeserver.device_expiry, "PORTION", 3)
        await self.begin(days=30)
        people = [*await self.town.people("alice", "bob")]
        people += [await self.town.person(name, "OTHER") for name in ("alice", "bob")]
        await self.unused(*people, days=31)
        for left in (1, 0, 0):
            await self.keep_house()
            self.assertEqual(await self.town.rows("devices"), left)

    async def test_nothing_expires_unless_it_is_wanted(self) -> None:
        self.patch(self.town.server.app.people.expiry, "_began", 0)
        alice = await self.town.person("alice")
        await self.unused(alice, days=4000)
        await self.keep_house()
        await alice.ok("GET", "/account/whoami")

    async def test_a_time_that_is_too_short_is_a_mistake(self) -> None:
        folder = self.town.server._folder
        for days, is_right in ((-1, False), (0, True), (6, False), (7, True)):
            file = folder / "other.yaml"
            file.write_text(f"devices:\n  expire_after_days: {days}\n")
            if is_right:
                self.assertEqual(load(file).devices.expire_after_days, days)
            else:
                with self.assertRaisesRegex(ConfigError, "line 2.*at least 7"):
                    load(file)
