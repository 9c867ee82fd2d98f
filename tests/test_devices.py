"""Devices: seeing them, naming them, and getting rid of them."""

from collections.abc import Sequence
from urllib.parse import quote

from homeserver.clock import system_clock
from homeserver.devices import DeviceHooks, Devices
from homeserver.requester import Requester
from schema.errors import Forbidden
from storage.transaction import WriteTransaction
from tests.support import Server, WireTest
from tests.test_accounts import own_password


class DevicesTest(WireTest):
    async def test_people_see_and_name_their_own_devices_only(self) -> None:
        server = await self.server()
        ann = await server.person("ann", initial_device_display_name="Laptop")
        ben = await server.person("ben", device_id="PAD")
        odd = await server.log_in(ann, device_id="a/b ü")
        await ann.ask("PUT", f"/devices/{quote(odd.device_id, safe='')}", {"display_name": "Pad"})
        devices = (await ann.ask("GET", "/devices"))["devices"]
        named = {device["device_id"]: device["display_name"] for device in devices}
        self.assertEqual(named, {ann.device_id: "Laptop", "a/b ü": "Pad"})
        self.assertEqual(devices[0]["last_seen_ip"], "127.0.0.1")
        self.assertGreater(devices[0]["last_seen_ts"], 0)

        await ann.ask("PUT", f"/devices/{ann.device_id}", {})
        self.assertEqual(
            (await ann.ask("GET", f"/devices/{ann.device_id}"))["display_name"], "Laptop"
        )
        self.assertNotIn("display_name", await ben.ask("GET", "/devices/PAD"))
        for method, body in (("GET", None), ("PUT", {"display_name": "Mine"}), ("PUT", {})):
            code, answer = await ann.call(method, "/devices/PAD", body)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))
        long = {"display_name": "x" * 256}
        self.assertEqual((await ann.call("PUT", f"/devices/{ann.device_id}", long))[0], 400)

    async def test_deleting_a_device_needs_the_password_and_ends_its_session(self) -> None:
        server = await self.server()
        ann, ben = await server.people("ann", "ben")
        lost = await server.log_in(ann)
        path = f"/devices/{lost.device_id}"
        code, question = await ann.call("DELETE", path)
        self.assertEqual(code, 401)
        auth = own_password(ann, "not the password", session=question["session"])
        code, answer = await ann.call("DELETE", path, {"auth": auth})
        self.assertEqual((code, answer["errcode"]), (401, "M_FORBIDDEN"))
        self.assertEqual((await lost.call("GET", "/account/whoami"))[0], 200)
        auth = own_password(ann, session=question["session"])
        await ann.ask("DELETE", path, {"auth": auth})
        self.assertEqual((await lost.call("GET", "/account/whoami"))[0], 401)
        # Gone already is as good as gone.
        await ann.ask("DELETE", path, {"auth": own_password(ann)})

    async def test_several_devices_go_at_once_and_nobody_elses(self) -> None:
        server = await self.server()
        ann, ben = await server.people("ann", "ben")
        others = [await server.log_in(ann) for _ in range(2)]
        wanted = [device.device_id for device in (*others, ben)] + ["NEVER"]
        body = {"devices": wanted, "auth": own_password(ann)}
        await ann.ask("POST", "/delete_devices", body)
        await server.restart()
        for gone in others:
            self.assertEqual((await gone.call("GET", "/account/whoami"))[0], 401)
        self.assertEqual((await ben.call("GET", "/account/whoami"))[0], 200)
        self.assertEqual((await ann.call("GET", "/account/whoami"))[0], 200)

    def devices(self, server: Server, hooks: DeviceHooks) -> Devices:
        """The devices of a server, seen by other features through ``hooks``."""
        people, store = server.app.people, server.app.storage.store
        return Devices(store, system_clock, people.last_seen, hooks)

    async def test_other_features_hear_of_it_in_the_same_transaction(self) -> None:
        server = await self.server()
        ann = await server.person("ann", device_id="ONE")
        two = await server.log_in(ann, device_id="TWO")
        heard: list[object] = []

        def added(txn: WriteTransaction, user_id: str, device_id: str, name: str | None) -> None:
            heard.append((user_id, device_id, name))

        def removed(
            txn: WriteTransaction, user_id: str, device_ids: Sequence[str], expired: bool
        ) -> None:
            heard.append((user_id, sorted(device_ids)))
            if "ONE" in device_ids:
                raise Forbidden("The hook does not want it")

        hooks = DeviceHooks(
            added=added,
            removed=removed,
            renamed=lambda txn, user_id: heard.append(user_id),
            is_reserved=lambda txn, user_id, device_id: device_id == "KEY",
        )
        devices = self.devices(server, hooks)
        with self.assertRaises(Forbidden):
            await devices.delete(ann.id, ["ONE", "TWO"])
        self.assertEqual((await two.call("GET", "/account/whoami"))[0], 200)
        heard.clear()
        await devices.delete(ann.id, ["TWO", "NEVER"])
        await devices.delete(ann.id, ["NEVER"])
        await devices.rename(ann.id, "ONE", "Pad")
        self.assertEqual(heard, [(ann.id, ["TWO"]), ann.id])
        with self.assertRaises(Forbidden):
            await devices.rename_or_create(ann.id, "KEY", None, "here")
        heard.clear()
        for _ in range(2):
            await devices.rename_or_create(ann.id, "NEW", None, "here")
        self.assertEqual(heard, [(ann.id, "NEW", None)])

    async def test_an_application_service_creates_devices_and_needs_no_password(self) -> None:
        server = await self.server()
        ann = await server.person("ann")
        people = server.app.people
        created = [
            await people.devices.rename_or_create(ann.id, "BRIDGE", name, "here")
            for name in (None, "Bridge")
        ]
        self.assertEqual(created, [True, False])
        self.assertEqual((await ann.ask("GET", "/devices/BRIDGE"))["display_name"], "Bridge")
        service = Requester(ann.id, "BRIDGE", application_service="irc")
        await people.uia.require(service, "anything", None)
