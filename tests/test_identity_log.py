"""The identity log: nobody takes over an account without leaving traces its owner sees."""

from typing import Any

from twisted.internet.defer import Deferred

import e2e.identity_log
from e2e.identity_log import NOTICE
from storage import identity_log
from tests.olm_devices import Device, Identity, Json, Stories
from tests.support import Refused
from tests.test_accounts import own_password

LOG = "/_hearth/client/v1/identity_log"


def without_time(entries: list[Json]) -> list[Json]:
    return [{k: v for k, v in entry.items() if k != "ts"} for entry in entries]


class IdentityLogStories(Stories):
    """Over the wire."""

    async def log_of(self, device: Device) -> list[Json]:
        return without_time((await device.ok("GET", LOG))["chunk"])

    async def notices(self, device: Device) -> list[Json]:
        """What the server has told a device, entry by entry."""
        events = (await device.sync())["to_device"]
        self.assertEqual({event["sender"] for event in events} - {device.user_id}, set())
        self.assertEqual({event["type"] for event in events} - {NOTICE}, set())
        return without_time([entry for event in events for entry in event["content"]["changes"]])

    async def publish(self, device: Device) -> Identity:
        """A new identity of somebody, published from one of their devices."""
        identity = Identity(device)
        path, body = "/keys/device_signing/upload", identity.upload()
        code, answer = await device.person.call("POST", path, body)
        if code == 401:
            auth = own_password(device.person, session=answer["session"])
            await device.ok("POST", path, {**body, "auth": auth})
        else:
            self.assertEqual(code, 200, answer)
        return identity

    async def test_what_happens_to_an_account_is_told_and_written_down(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        laptop = await self.town.person("alice", "LAPTOP")
        first = await self.publish(alice)
        second = await self.publish(laptop)
        body = second.upload()
        del body["master_key"]
        third = Identity(alice)
        third.master = second.master
        body["self_signing_key"] = third.key("self_signing")
        path = "/keys/device_signing/upload"
        code, answer = await alice.person.call("POST", path, body)
        self.assertEqual(code, 401)
        auth = own_password(alice.person, session=answer["session"])
        await alice.ok("POST", path, {**body, "auth": auth})
        await laptop.upload()
        await laptop.reinstalled().upload()
        await self.town.log_out(laptop)

        added = {"type": "device_added", "device_id": "LAPTOP", "display_name": "alice's LAPTOP"}
        created = {"type": "identity_created", "public_key": first.master.public_key}
        reset = {"type": "identity_reset", "public_key": second.master.public_key}
        signing = {"type": "signing_key_changed", "public_key": third.self_signing.public_key}
        replaced = {"type": "device_keys_replaced", "device_id": "LAPTOP"}
        removed = {"type": "device_removed", "device_id": "LAPTOP"}
        begin = {"type": "device_added", "device_id": "PHONE", "display_name": "alice's PHONE"}
        written = [begin, added, created, reset, signing, replaced, removed]
        self.assertEqual(await self.log_of(alice), written[::-1])
        # Who does something need not be told of it.
        self.assertEqual(await self.notices(alice), [added, reset, replaced, removed])
        self.assertEqual(len(await self.log_of(bob)), 1)
        self.assertEqual(await self.notices(bob), [])

        keys = (await alice.ok("GET", f"{LOG}/master_keys"))["master_keys"]
        self.assertEqual(
            [key["public_key"] for key in keys],
            [second.master.public_key, first.master.public_key],
        )
        self.assertNotIn("replaced_ts", keys[0])
        self.assertEqual(keys[1]["replaced_ts"], keys[0]["added_ts"])
        self.assertLessEqual(keys[1]["added_ts"], keys[1]["replaced_ts"])
        self.assertEqual((await bob.ok("GET", f"{LOG}/master_keys"))["master_keys"], [])
        code, answer = await self.town.server.call("GET", LOG)
        self.assertEqual((code, answer["errcode"]), (401, "M_MISSING_TOKEN"))

    async def test_a_device_that_waits_is_told_at_once(self) -> None:
        alice = await self.town.person("alice")
        since = (await alice.person.sync())["next_batch"]
        waiting = Deferred.fromCoroutine(alice.person.sync(since, timeout=60_000))
        await self.town.person("alice", "THIEF")
        (event,) = (await waiting)["to_device"]["events"]
        (change,) = event["content"]["changes"]
        self.assertEqual((event["type"], change["device_id"]), (NOTICE, "THIEF"))

    async def test_it_is_written_with_what_causes_it_or_neither_happens(self) -> None:
        alice = await self.town.person("alice")
        await self.publish(alice)

        class DiskFull(Exception):
            pass

        def fail(*args: Any) -> None:
            raise DiskFull

        patched = self.patch(identity_log, "add", fail)
        people, encryption = self.town.server.app.people, self.town.encryption
        identity = Identity(alice)
        keys = {"master": identity.key("master")}
        for attempt in (
            lambda: people.devices.rename_or_create(alice.user_id, "NEW", None, "here"),
            lambda: people.devices.delete(alice.user_id, ["PHONE"]),
            lambda: encryption.cross_signing.upload(alice.user_id, keys, authenticated=True),
        ):
            with self.assertRaises(DiskFull):
                await attempt()
        patched.restore()
        devices = (await alice.ok("GET", "/devices"))["devices"]
        self.assertEqual([each["device_id"] for each in devices], ["PHONE"])
        found = (await alice.keys_of(alice))["master_keys"][alice.user_id]["keys"]
        self.assertNotIn(f"ed25519:{identity.master.public_key}", found)

    async def test_to_log_in_again_on_a_device_is_no_new_one(self) -> None:
        await self.town.person("alice")
        again = await self.town.person("alice")
        self.assertEqual(len(await self.log_of(again)), 1)

    async def test_it_is_read_page_by_page(self) -> None:
        alice = await self.town.person("alice")
        names = ["PHONE", *(f"DEVICE{number}" for number in range(6))]
        for name in names[1:]:
            await self.town.person("alice", name)
        pages, query = [], "limit=3"
        while True:
            answer = await alice.ok("GET", f"{LOG}?{query}")
            pages.append([entry["device_id"] for entry in answer["chunk"]])
            if "next_batch" not in answer:
                break
            query = f"limit=3&from={answer['next_batch']}"
        self.assertEqual(sum(pages, []), names[::-1])
        self.assertEqual([len(page) for page in pages], [3, 3, 1])
        for wrong in ("x", "9" * 30, "-1"):
            refusal = await alice.refused("GET", f"{LOG}?from={wrong}")
            self.assertEqual(refusal, (400, "M_INVALID_PARAM"))

    async def test_it_does_not_grow_for_ever(self) -> None:
        for name, value in (("MOST_ENTRIES", 4), ("MOST_MASTER_KEYS", 2), ("MOST_TOLD", 2)):
            self.patch(e2e.identity_log, name, value)
        alice, bob = await self.town.people("alice", "bob")
        identities = [await self.publish(alice) for _ in range(3)]
        for number in range(4):
            await self.town.person("alice", f"DEVICE{number}")
        found = [entry["device_id"] for entry in await self.log_of(alice)]
        self.assertEqual(found, ["DEVICE3", "DEVICE2", "DEVICE1", "DEVICE0"])
        keys = (await alice.ok("GET", f"{LOG}/master_keys"))["master_keys"]
        self.assertEqual(
            [key["public_key"] for key in keys],
            [each.master.public_key for each in identities[:0:-1]],
        )
        self.assertEqual(len(await self.log_of(bob)), 1)
        # One notice of the second device, then two of each, but one for the newest device itself.
        self.assertLessEqual(await self.town.rows("to_device_messages"), 6)

    async def test_devices_that_go_together_make_one_notice(self) -> None:
        alice = await self.town.person("alice")
        for name in ("ONE", "TWO"):
            await self.town.person("alice", name)
        token = (await alice.sync())["next"]
        body = {"devices": ["ONE", "TWO"], "auth": own_password(alice.person)}
        await alice.ok("POST", "/delete_devices", body)
        (event,) = (await alice.sync(token))["to_device"]
        gone = [change["device_id"] for change in event["content"]["changes"]]
        self.assertEqual(sorted(gone), ["ONE", "TWO"])

    async def test_a_closed_account_leaves_no_log(self) -> None:
        alice = await self.town.person("alice")
        await self.publish(alice)
        await alice.ok("POST", "/account/deactivate", {"auth": own_password(alice.person)})
        for table in ("identity_log", "master_keys"):
            self.assertEqual(await self.town.rows(table), 0, table)
        with self.assertRaises(Refused):
            await self.log_of(alice)
