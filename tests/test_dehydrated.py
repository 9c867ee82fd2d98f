"""Dehydrated devices: keys reach people who are logged in nowhere, and nobody else gets them."""

from typing import Any
from urllib.parse import quote

import olm
from twisted.internet.defer import Deferred

from e2e.dehydrated import MOST_AT_ONCE
from schema.errors import Forbidden
from storage import to_device
from tests.olm_devices import Device, Identity, Json, Stories
from tests.test_accounts import own_password

PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
SEAL = "a key in secret storage"


class DriedDevice(Device):
    """A device that is about to be left at the server. Its id is its identity key."""

    @property
    def device_id(self) -> str:
        return str(self.account.identity_keys["curve25519"])

    @property
    def events_path(self) -> str:
        return f"{PATH}/{quote(self.device_id, safe='')}/events"

    def sealed(self, one_time: int = 2, **other: Any) -> Json:
        """The body that leaves it there. It is sealed last, with all its keys."""
        keys = self.one_time_keys(one_time)
        return {
            "device_id": self.device_id,
            "initial_device_display_name": "Dehydrated device",
            "device_keys": self.device_keys(dehydrated=True),
            "one_time_keys": keys,
            "fallback_keys": self.fallback_key(),
            "device_data": {
                "algorithm": "org.matrix.msc3814.v1.olm",
                "device_pickle": self.account.pickle(SEAL).decode(),
            },
            **other,
        }

    async def leave(self, **other: Any) -> None:
        """Leave it at the server."""
        answer = await self.ok("PUT", PATH, self.sealed(**other))
        self.town.test.assertEqual(answer, {"device_id": self.device_id})


class DehydratedStories(Stories):
    """Over the wire."""

    async def dried(self, device: Device, **other: Any) -> DriedDevice:
        """A dehydrated device that somebody has left."""
        left = DriedDevice(self.town, device.person)
        await left.leave(**other)
        return left

    async def contents(self, reader: Device, dried: DriedDevice) -> list[Any]:
        """Everything that has come for a dehydrated device, in the way of matrix-js-sdk."""
        found: list[Any] = []
        body: Json = {}
        while True:
            answer = await reader.ok("POST", dried.events_path, body)
            if not answer["events"]:
                return found
            found += [event["content"]["body"] for event in answer["events"]]
            body = {"next_batch": answer["next_batch"]}

    async def test_who_is_logged_in_nowhere_gets_keys_all_the_same(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        dried = await self.dried(alice)
        await self.town.log_out(alice)

        published = (await bob.keys_of(alice))["device_keys"][alice.user_id][dried.device_id]
        self.assertTrue(published["dehydrated"])
        (one_time_key,) = await bob.claim(dried)
        session = olm.OutboundSession(bob.account, dried.device_id, one_time_key)
        message = session.encrypt("a key of the room")
        content = {"body": message.ciphertext, "type": message.message_type}
        await bob.send("1", {alice.user_id: {"*": content}}, "m.room.encrypted")

        again = await self.town.person("alice", "NEW")
        found = await again.ok("GET", PATH)
        self.assertEqual(found["device_id"], dried.device_id)
        account = olm.Account.from_pickle(found["device_data"]["device_pickle"].encode(), SEAL)
        events = (await again.ok("GET", dried.events_path))["events"]
        self.assertEqual([event["sender"] for event in events], [bob.user_id])
        received = olm.OlmPreKeyMessage(events[0]["content"]["body"])
        plaintext = olm.InboundSession(account, received).decrypt(received)
        self.assertEqual(plaintext, "a key of the room")

    async def test_reading_deletes_nothing_and_goes_page_by_page(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        dried = await self.dried(alice)
        self.assertEqual(await alice.ok("GET", dried.events_path), {"events": []})
        count = MOST_AT_ONCE + 5

        def work(txn: Any) -> None:
            for number in range(count):
                message = f'{{"type":"m.test","sender":"x","content":{{"body":{number}}}}}'
                to_device.add(txn, txn.position(), {dried.device: message})

        await self.town.store.write(work)
        for reader in (alice, alice, await self.town.person("alice", "OTHER")):
            self.assertEqual(await self.contents(reader, dried), [*range(count)])
        pages, query = [], "limit=50"
        while True:
            page = await alice.ok("GET", f"{dried.events_path}?{query}")
            pages.append([event["content"]["body"] for event in page["events"]])
            if "next_batch" not in page:
                break
            query = f"limit=50&from={page['next_batch']}"
        self.assertEqual(sum(pages, []), [*range(count)])
        self.assertEqual([len(page) for page in pages], [50, 50, 5])
        await self.town.server.restart()
        self.assertEqual(await self.contents(alice, dried), [*range(count)])

        for query in ("from=x", f"from={'9' * 40}", "limit=x"):
            refusal = await alice.refused("GET", f"{dried.events_path}?{query}")
            self.assertEqual(refusal, (400, "M_INVALID_PARAM"), query)
        refusal = await bob.refused("GET", dried.events_path)
        self.assertEqual(refusal, (403, "M_FORBIDDEN"))
        refusal = await alice.refused("POST", f"{PATH}/PHONE/events")
        self.assertEqual(refusal, (403, "M_FORBIDDEN"))

    async def test_a_new_one_replaces_the_old_one_and_everything_of_it(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        old = await self.dried(alice)
        await bob.send("1", {alice.user_id: {"*": {"body": "for the old one"}}})
        await bob.keys_of(alice)
        token = (await bob.sync())["next"]

        new = await self.dried(alice)
        answer = await bob.sync(token)
        self.assertEqual(answer["device_lists"]["changed"], [alice.user_id])
        self.assertNotIn("device_lists", await bob.sync(answer["next"]))
        published = (await bob.keys_of(alice))["device_keys"][alice.user_id]
        self.assertEqual(set(published), {new.device_id})
        self.assertEqual(await bob.claim(old), [])
        self.assertEqual((await alice.ok("GET", PATH))["device_id"], new.device_id)
        self.assertEqual(await self.contents(alice, new), [])
        refusal = await alice.refused("GET", old.events_path)
        self.assertEqual(refusal, (403, "M_FORBIDDEN"))
        for table, left in (("device_keys", 1), ("fallback_keys", 1), ("one_time_keys", 2)):
            self.assertEqual(await self.town.rows(table), left, table)

    async def test_replacing_happens_wholly_or_not_at_all(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        old = await self.dried(alice)
        await bob.send("1", {alice.user_id: {"*": {"body": "safe"}}})
        token, keys = (await bob.sync())["next"], await bob.keys_of(alice)

        def fail(*args: Any, **kwargs: Any) -> None:
            raise Forbidden("The power is gone")

        patched = self.patch(self.town.encryption.one_time_keys.__class__, "add", fail)
        new = DriedDevice(self.town, alice.person)
        refusal = await alice.refused("PUT", PATH, new.sealed())
        self.assertEqual(refusal, (403, "M_FORBIDDEN"))
        patched.restore()
        self.assertEqual((await alice.ok("GET", PATH))["device_id"], old.device_id)
        self.assertEqual(await self.contents(alice, old), ["safe"])
        self.assertFalse((await bob.sync(token))["news"])
        self.assertEqual(await bob.keys_of(alice), keys)

    async def test_the_same_one_again_loses_no_message_and_no_key_twice(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        dried = DriedDevice(self.town, alice.person)
        body = dried.sealed(one_time=2)
        await alice.ok("PUT", PATH, body)
        first = await bob.claim(dried)
        await bob.send("1", {alice.user_id: {"*": {"body": "kept"}}})
        await alice.ok("PUT", PATH, body)
        self.assertEqual(await self.contents(alice, dried), ["kept"])
        second = await bob.claim(dried)
        self.assertNotEqual(first, second)
        log = await alice.ok("GET", "/_hearth/client/v1/identity_log")
        added = [each for each in log["chunk"] if each["type"] == "dehydrated_device_added"]
        self.assertEqual(len(added), 1)

    async def test_what_is_wrong_is_refused_and_the_last_one_stays(self) -> None:
        alice, mallory = await self.town.people("alice", "mallory")
        await alice.upload()
        kept = await self.dried(alice)
        dried = DriedDevice(self.town, alice.person)
        foreign = DriedDevice(self.town, mallory.person)
        identity = Identity(alice)
        await alice.ok("POST", "/keys/device_signing/upload", identity.upload())
        right = dried.sealed()
        master = identity.master.public_key
        keys = {f"{a}:{master}": key for a, key in dried.account.identity_keys.items()}
        imposter = {**right["device_keys"], "device_id": master, "keys": keys}
        imposter = {
            **imposter,
            "signatures": {
                alice.user_id: {
                    f"ed25519:{master}": dried.sign(imposter)["signatures"][alice.user_id][
                        f"ed25519:{dried.device_id}"
                    ]
                }
            },
        }
        unsigned = {**right["device_keys"], "signatures": {}}
        large = {"algorithm": "m.dehydration.v1.olm", "device_pickle": "x" * 65_536}
        two = dried.fallback_key("A") | dried.fallback_key("B")
        bare_key = {"signed_curve25519:A": "x"}
        phone = {**right, "device_id": "PHONE", "one_time_keys": {}, "fallback_keys": {}}
        cases: list[tuple[int, str, Json]] = [
            (400, "M_MISSING_PARAM", {k: v for k, v in right.items() if k != "device_keys"}),
            (400, "M_MISSING_PARAM", {k: v for k, v in right.items() if k != "device_data"}),
            (400, "M_MISSING_PARAM", {**right, "device_data": {}}),
            (400, "M_BAD_JSON", {**right, "device_keys": None}),
            (
                413,
                "M_TOO_LARGE",
                {**right, "device_data": large},
            ),
            (400, "M_INVALID_PARAM", {**right, "device_id": "OTHER"}),
            (400, "M_INVALID_PARAM", {**right, "device_id": ""}),
            (400, "M_INVALID_PARAM", {**right, "device_keys": foreign.device_keys()}),
            (400, "M_INVALID_SIGNATURE", {**right, "device_keys": unsigned}),
            (400, "M_INVALID_SIGNATURE", {**right, "one_time_keys": alice.one_time_keys(1)}),
            (400, "M_INVALID_PARAM", {**right, "one_time_keys": bare_key}),
            (400, "M_INVALID_PARAM", {**right, "fallback_keys": two}),
            (403, "M_FORBIDDEN", {**phone, "device_keys": alice.device_keys()}),
            (
                403,
                "M_FORBIDDEN",
                {**phone, "device_id": master, "device_keys": imposter},
            ),
        ]
        token = (await mallory.sync())["next"]
        for status, errcode, body in cases:
            refusal = await alice.refused("PUT", PATH, body)
            self.assertEqual(refusal, (status, errcode), body)
        self.assertEqual((await alice.ok("GET", PATH))["device_id"], kept.device_id)
        self.assertFalse((await mallory.sync(token))["news"])

    async def test_nobody_logs_in_on_it(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        dried = await self.dried(alice)
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": alice.user_id},
            "password": own_password(alice.person)["password"],
            "device_id": dried.device_id,
        }
        code, answer = await self.town.server.call("POST", "/login", login)
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        self.assertEqual((await bob.refused("GET", PATH)), (404, "M_NOT_FOUND"))
        self.assertEqual((await bob.refused("DELETE", PATH)), (404, "M_NOT_FOUND"))
        # The id is nobody's but alice's: another person's device may have the same.
        await self.town.server.log_in(bob.person, device_id=dried.device_id)

    async def test_it_is_one_of_the_devices_but_was_never_seen(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        dried = await self.dried(alice)
        path = f"/devices/{quote(dried.device_id, safe='')}"
        expected = {"device_id": dried.device_id, "display_name": "Dehydrated device"}
        self.assertEqual(await alice.ok("GET", path), expected)
        listed = (await alice.ok("GET", "/devices"))["devices"]
        self.assertEqual({each["device_id"] for each in listed}, {"PHONE", dried.device_id})
        await alice.ok("PUT", path, {"display_name": "Safe"})
        keys = (await bob.keys_of(alice))["device_keys"][alice.user_id][dried.device_id]
        self.assertEqual(keys["unsigned"], {"device_display_name": "Safe"})

        await bob.send("1", {alice.user_id: {"*": {"body": "gone"}}})
        token = (await bob.sync())["next"]
        await alice.ok("DELETE", path, {"auth": own_password(alice.person)})
        self.assertEqual(await alice.refused("GET", PATH), (404, "M_NOT_FOUND"))
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        self.assertEqual((await bob.keys_of(alice))["device_keys"], {alice.user_id: {}})
        queue = f"to_device_messages WHERE device_id = '{dried.device_id}'"
        for table in ("device_keys", "one_time_keys", "fallback_keys", queue):
            self.assertEqual(await self.town.rows(table), 0, table)

    async def test_logging_out_leaves_it_and_closing_the_account_does_not(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        dried = await self.dried(alice)
        for path, body in (
            ("/logout", {}),
            ("/logout/all", {}),
            ("/account/password", {"new_password": own_password(alice.person)["password"]}),
        ):
            if body:
                body["auth"] = own_password(alice.person)
            await alice.ok("POST", path, body)
            alice = await self.town.person("alice")
            self.assertEqual((await alice.ok("GET", PATH))["device_id"], dried.device_id, path)
            self.assertEqual(len(await bob.claim(dried)), 1)
        await alice.ok("POST", "/account/deactivate", {"auth": own_password(alice.person)})
        self.assertEqual((await bob.keys_of(alice))["device_keys"], {alice.user_id: {}})
        for table in ("device_keys", "one_time_keys", "fallback_keys", "identity_log"):
            left = {"identity_log": 1}.get(table, 0)
            self.assertEqual(await self.town.rows(table), left, table)

    async def test_deleting_it_takes_everything_along(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        dried = await self.dried(alice)
        await bob.send("1", {alice.user_id: {"*": {"body": "gone"}}})
        await alice.sync((await alice.sync())["next"])
        await self.town.settle()
        token = (await bob.sync())["next"]
        self.assertEqual(await alice.ok("DELETE", PATH), {"device_id": dried.device_id})
        self.assertEqual(await alice.refused("DELETE", PATH), (404, "M_NOT_FOUND"))
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        self.assertEqual((await bob.keys_of(alice))["device_keys"], {alice.user_id: {}})
        for table in ("device_keys", "one_time_keys", "fallback_keys", "to_device_messages"):
            self.assertEqual(await self.town.rows(table), 0, table)

    async def test_its_owner_vouches_for_it(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        identity = Identity(alice)
        await alice.ok("POST", "/keys/device_signing/upload", identity.upload())
        dried = DriedDevice(self.town, alice.person)
        signed = identity.sign("self_signing", dried.device_keys(dehydrated=True))
        await dried.leave(device_keys=signed)
        published = (await bob.keys_of(alice))["device_keys"][alice.user_id][dried.device_id]
        self.assertEqual(published["signatures"], signed["signatures"])

    async def test_two_clients_that_leave_one_at_once_leave_one(self) -> None:
        alice = await self.town.person("alice")
        laptop = await self.town.person("alice", "LAPTOP")
        dried = [DriedDevice(self.town, each.person) for each in (alice, laptop)]
        await self.at_once(*(each.leave() for each in dried))
        left = (await alice.ok("GET", PATH))["device_id"]
        published = (await alice.keys_of(alice))["device_keys"][alice.user_id]
        self.assertEqual(set(published), {left})

    async def test_neighbours_who_wait_hear_of_it(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        since = (await bob.person.sync())["next_batch"]
        waiting = Deferred.fromCoroutine(bob.person.sync(since, timeout=60_000))
        await self.dried(alice)
        self.assertEqual((await waiting)["device_lists"]["changed"], [alice.user_id])
