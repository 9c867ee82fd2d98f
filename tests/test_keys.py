"""Device keys: who may publish what, who hears of it, and what others are told."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from e2e.signatures import is_signature
from schema.errors import MissingParam, UnknownToken
from storage import device_keys
from storage.transaction import WriteTransaction
from tests.olm_devices import Json, Stories


class DeviceKeyStories(Stories):
    """Over the wire."""

    async def test_what_a_device_publishes_is_what_others_read(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        self.assertEqual(await alice.upload(3), 3)
        answer = await bob.keys_of(alice)
        published = alice.device_keys()
        unsigned = {"device_display_name": "alice's PHONE"}
        self.assertEqual(
            answer["device_keys"], {alice.user_id: {"PHONE": {**published, "unsigned": unsigned}}}
        )
        self.assertEqual(answer["failures"], {})

    async def test_a_query_may_name_devices(self) -> None:
        alice = await self.town.person("alice")
        laptop = await self.town.person("alice", "LAPTOP")
        await alice.upload()
        await laptop.upload()
        for names, found in (
            ([], {"PHONE", "LAPTOP"}),
            (["LAPTOP"], {"LAPTOP"}),
            (["LAPTOP", "TOASTER"], {"LAPTOP"}),
        ):
            body = {"device_keys": {alice.user_id: names}, "timeout": 10}
            answer = await alice.ok("POST", "/keys/query", body)
            self.assertEqual(set(answer["device_keys"][alice.user_id]), found)

    async def test_people_without_keys_are_known_and_strangers_are_missing(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        wanted: Json = {bob.user_id: [], "@nobody:localhost": [], "@far:away.test": ["X"]}
        answer = await alice.ok("POST", "/keys/query", {"device_keys": wanted})
        self.assertEqual(answer["device_keys"], {bob.user_id: {}})

    async def test_whom_somebody_must_not_know_has_no_keys_for_them(self) -> None:
        child, stranger = await self.town.people("child", "stranger")
        await child.upload(1)
        encryption = self.town.encryption
        for who_answers in (encryption.queries, encryption.one_time_keys):
            self.patch(who_answers, "_may_see", lambda asker, user_id: asker == user_id)
        self.assertEqual((await stranger.keys_of(child))["device_keys"], {})
        self.assertEqual(await stranger.claim(child), [])

    async def test_keys_that_are_wrong_are_refused_and_nothing_is_stored(self) -> None:
        alice, mallory = await self.town.people("alice", "mallory")
        right, invalid, forged = alice.device_keys(), "M_INVALID_PARAM", "M_INVALID_SIGNATURE"
        padded = {**right["keys"], "curve25519:PHONE": "A" * 43 + "="}
        uneven = {**right["keys"], "curve25519:PHONE": "A" * 42 + "B"}
        foreign = {**right["keys"], "ed25519:OTHER": right["keys"]["ed25519:PHONE"]}
        renamed = {k.replace("PHONE", "OTHER"): v for k, v in right["keys"].items()}
        cases: list[tuple[Json, str]] = [
            (mallory.device_keys(), invalid),
            (alice.sign({**right, "device_id": "OTHER"}), invalid),
            (alice.sign({**right, "user_id": mallory.user_id}), invalid),
            (alice.sign({**right, "keys": renamed}), invalid),
            (alice.sign({**right, "keys": padded}), invalid),
            (alice.sign({**right, "keys": uneven}), invalid),
            (alice.sign({**right, "keys": foreign}), invalid),
            (alice.sign({**right, "keys": {"ed25519:PHONE": "short"}}), invalid),
            (
                alice.sign({**right, "keys": dict([*right["keys"].items()][:1])}),
                invalid,
            ),
            ({**right, "signatures": {}}, forged),
            ({**right, "signatures": {alice.user_id: {"ed25519:PHONE": "A" * 86}}}, forged),
            ({**right, "signatures": {alice.user_id: {"ed25519:PHONE": "é"}}}, forged),
            ({**right, "algorithms": ["m.rot13"]}, forged),
            ({**right, "signatures": mallory.sign(right)["signatures"] | right["signatures"]}, ""),
            ({**right, "extra": 1.5}, "M_BAD_JSON"),
            (alice.device_keys(extra="x" * 70_000), "M_TOO_LARGE"),
        ]
        for keys, errcode in cases:
            body = {"device_keys": keys, "one_time_keys": alice.one_time_keys(1)}
            code, answer = await alice.person.call("POST", "/keys/upload", body)
            if errcode:
                self.assertEqual(answer.get("errcode"), errcode, answer)
                self.assertEqual(await self.town.rows("device_keys"), 0)
                self.assertEqual(await self.town.rows("one_time_keys"), 0)
            else:
                self.assertEqual(code, 200, answer)
                await self.town.log_out(alice)
                alice = await self.town.person("alice")

    async def test_signatures_of_others_do_not_ride_along(self) -> None:
        alice, mallory = await self.town.people("alice", "mallory")
        keys = mallory.sign({**alice.device_keys(), "unsigned": {"device_display_name": "God"}})
        await alice.ok("POST", "/keys/upload", {"device_keys": keys})
        found = (await mallory.keys_of(alice))["device_keys"][alice.user_id]["PHONE"]
        self.assertEqual(found["signatures"], alice.device_keys()["signatures"])
        self.assertEqual(found["unsigned"], {"device_display_name": "alice's PHONE"})

    async def test_neighbours_hear_of_new_keys_once_and_strangers_never(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        carol = await self.town.person("carol", alone=True)
        start = (await bob.sync())["next"]
        await alice.upload()
        for each, heard in ((alice, True), (bob, True), (carol, False)):
            answer = await each.sync(start)
            changed = answer.get("device_lists", {}).get("changed", [])
            self.assertEqual(changed, [alice.user_id] if heard else [], each.user_id)
            again = await each.sync(answer["next"])
            self.assertNotIn("device_lists", again)
            self.assertFalse(again["news"])

    async def test_new_keys_wake_neighbours_who_wait(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        since = (await bob.person.sync())["next_batch"]
        answer, _ = await self.at_once(bob.person.sync(since, timeout=60_000), alice.upload())
        self.assertEqual(answer["device_lists"]["changed"], [alice.user_id])

    async def test_the_same_keys_again_are_no_news(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(1)
        token = (await bob.sync())["next"]
        await alice.ok("POST", "/keys/upload", {"device_keys": alice.device_keys()})
        self.assertEqual(
            await alice.ok("POST", "/keys/upload", {}),
            {"one_time_key_counts": {"signed_curve25519": 1}},
        )
        self.assertFalse((await bob.sync(token))["news"])
        self.assertEqual(self.town.stream.position, token["position"])

    async def test_a_change_is_remembered_over_a_restart(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        token = (await bob.sync())["next"]
        await alice.upload()
        await self.town.server.restart()
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        now = (await bob.person.sync())["next_batch"]
        query = f"/keys/changes?from=s{token['position']}_0_0&to={now}"
        self.assertEqual(await bob.ok("GET", query), {"changed": [alice.user_id], "left": []})
        for query, errcode in ((f"from={now}", "MISSING"), (f"from=x&to={now}", "INVALID")):
            refusal = await bob.refused("GET", f"/keys/changes?{query}")
            self.assertEqual(refusal, (400, f"M_{errcode}_PARAM"))

    async def test_who_is_met_is_changed_and_who_is_parted_from_has_left(self) -> None:
        alice, bob, carol = await self.town.people("alice", "bob", "carol")
        token = (await bob.sync())["next"]
        dave = await self.town.person("dave")
        await carol.ok("POST", f"/rooms/{self.town.street}/leave")
        await alice.upload()
        expected = {"changed": [alice.user_id, dave.user_id], "left": [carol.user_id]}
        self.assertEqual((await bob.sync(token))["device_lists"], expected)

    async def test_a_renamed_device_shows_its_name(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload()
        await bob.keys_of(alice)
        token = (await bob.sync())["next"]

        await alice.ok("PUT", "/devices/PHONE", {"display_name": "Pocket"})
        keys = (await bob.keys_of(alice))["device_keys"][alice.user_id]["PHONE"]
        self.assertEqual(keys["unsigned"], {"device_display_name": "Pocket"})
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])

    async def test_a_removed_device_leaves_nothing(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        laptop = await self.town.person("alice", "LAPTOP")
        for device in (alice, laptop):
            await device.upload(2, fallback_keys=device.fallback_key())
            await device.send("1", {bob.user_id: {"*": {}}})
            await device.sync()
        await bob.send("1", {alice.user_id: {"*": {"body": "hello"}}})
        await bob.keys_of(alice)
        token = (await bob.sync())["next"]
        await self.town.log_out(alice)
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        self.assertEqual({*(await bob.keys_of(alice))["device_keys"][alice.user_id]}, {"LAPTOP"})
        self.assertEqual(await bob.claim(alice), [])
        for table, left in (("device_keys", 1), ("one_time_keys", 2), ("fallback_keys", 1)):
            self.assertEqual(await self.town.rows(table), left, table)
        self.assertEqual(await self.town.rows("to_device_transactions"), 2)
        again = await self.town.person("alice")
        answer = await again.sync()
        self.assertEqual(answer["to_device"], [])
        self.assertEqual(answer["device_one_time_keys_count"], {"signed_curve25519": 0})
        self.assertEqual(answer["device_unused_fallback_key_types"], [])

    async def test_keys_survive_a_new_login_and_a_new_identity_begins_anew(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(2, fallback_keys=alice.fallback_key())
        await bob.claim(alice)
        await bob.keys_of(alice)
        reinstalled = alice.reinstalled()
        token = (await bob.sync())["next"]
        # Its key ids begin at the same one again, which must not count as using an id twice.
        self.assertEqual(await reinstalled.upload(2), 2)
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        keys = (await bob.keys_of(alice))["device_keys"][alice.user_id]["PHONE"]["keys"]
        self.assertEqual(keys["ed25519:PHONE"], reinstalled.account.identity_keys["ed25519"])
        answer = await reinstalled.sync()
        self.assertEqual(answer["device_unused_fallback_key_types"], [])

    async def test_a_device_that_is_logged_out_meanwhile_uploads_nothing(self) -> None:
        alice = await self.town.person("alice")
        await self.town.log_out(alice)
        devices, keys = self.town.encryption.devices, alice.device_keys()
        for device_id, refusal in (("PHONE", UnknownToken), ("", MissingParam)):
            with self.assertRaises(refusal):
                await devices.upload(alice.user_id, device_id, keys, {}, {})

    async def test_asking_again_costs_no_query(self) -> None:
        people = await self.town.people("alice", "bob", "carol")
        for person in people:
            await person.upload()
        cold = await people[0].keys_of(*people)
        meter = self.town.metered()
        self.assertEqual(await people[1].keys_of(*people), cold)
        self.assertEqual(meter.queries, 0)

    async def test_the_live_edge_costs_no_query(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(1)
        first = await alice.sync()
        meter = self.town.metered()
        answer = await alice.sync(first["next"])
        self.assertFalse(answer["news"])
        self.assertEqual(meter.queries, 0)

    async def test_an_answer_is_never_older_than_the_change_that_was_heard(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload()
        reinstalled = alice.reinstalled()

        async def replace() -> None:
            json = orjson.dumps(reinstalled.device_keys()).decode()
            await self.town.store.write(lambda txn: put(txn, json))

        def put(txn: WriteTransaction, json: str) -> None:
            device_keys.put(txn, *alice.device, json)
            self.town.encryption.devices.announce(txn, alice.user_id)

        self.meanwhile(replace)
        await bob.keys_of(alice)
        keys = (await bob.keys_of(alice))["device_keys"][alice.user_id]["PHONE"]["keys"]
        self.assertEqual(keys["ed25519:PHONE"], reinstalled.account.identity_keys["ed25519"])


class SignatureProperties(Stories):
    """What is no signature is False, never an exception."""

    async def setUp(self) -> None:
        """No server is needed."""

    @given(st.text(), st.binary(), st.text())
    def test_anything_at_all(self, signature: str, message: bytes, key: str) -> None:
        self.assertFalse(is_signature(signature, message, key))
