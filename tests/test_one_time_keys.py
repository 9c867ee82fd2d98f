"""One-time keys: handed out at most once, oldest first, counted in truth."""

from collections import Counter

from e2e import one_time_keys as rules
from storage import one_time_keys
from storage.transaction import WriteTransaction
from tests.olm_devices import Json, Stories

COUNT = "device_one_time_keys_count"
UNUSED = "device_unused_fallback_key_types"


def counts(answer: Json) -> tuple[int, list[str]]:
    """Keys left, and unused fallback keys, in an answer of /sync."""
    return answer[COUNT]["signed_curve25519"], answer[UNUSED]


class OneTimeKeyStories(Stories):
    """Over the wire."""

    async def test_a_key_is_handed_out_once_and_as_it_was_uploaded(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        keys = alice.one_time_keys(1)
        await alice.upload(one_time_keys=keys)
        wanted: Json = {alice.user_id: {"PHONE": "signed_curve25519", "TOASTER": "x"}}
        wanted["@nobody:localhost"] = {"X": "signed_curve25519"}
        body = {"one_time_keys": wanted, "timeout": 10_000}
        answer = await bob.ok("POST", "/keys/claim", body)
        self.assertEqual(answer["one_time_keys"], {alice.user_id: {"PHONE": keys}})
        self.assertEqual(
            await bob.ok("POST", "/keys/claim", body), {"one_time_keys": {}, "failures": {}}
        )

    async def test_the_oldest_upload_is_handed_out_first(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        uploads = []
        await alice.upload()
        for _ in range(3):
            keys = alice.one_time_keys(2)
            # The ids of later keys sort before those of earlier ones.
            keys = {
                f"signed_curve25519:{9 - len(uploads)}{i}": key
                for i, key in enumerate(keys.values())
            }
            uploads.append({key["key"] for key in keys.values()})
            await alice.upload(one_time_keys=keys)
        for upload in uploads:
            got = {*(await bob.claim(alice)), *(await bob.claim(alice))}
            self.assertEqual(got, upload)

    async def test_ids_of_keys_may_be_odd_and_other_algorithms_have_no_keys(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        (key,) = alice.one_time_keys(1).values()
        keys = {'signed_curve25519:A\n{"B":"\\n': key}
        await alice.upload(one_time_keys=keys)
        for algorithm, expected in (("curve25519", {}), ("signed_curve25519", keys)):
            wanted = {alice.user_id: {alice.device_id: algorithm}}
            answer = await bob.ok("POST", "/keys/claim", {"one_time_keys": wanted})
            theirs = answer["one_time_keys"].get(alice.user_id, {})
            self.assertEqual(theirs.get(alice.device_id, {}), expected)

    async def test_many_who_claim_at_once_get_different_keys(self) -> None:
        alice, *others = await self.town.people("alice", *(f"p{i}" for i in range(12)))
        await alice.upload(10)
        got = await self.at_once(*(each.claim(alice) for each in others))
        keys = [key for each in got for key in each]
        self.assertEqual((len(keys), len(set(keys))), (10, 10))
        self.assertEqual(counts(await alice.sync()), (0, []))

    async def test_claims_and_uploads_at_once_lose_and_repeat_nothing(self) -> None:
        alice, *others = await self.town.people("alice", *(f"p{i}" for i in range(5)))
        await alice.upload()
        uploads = [alice.one_time_keys(4) for _ in range(6)]
        got = await self.at_once(
            *(alice.upload(one_time_keys=keys) for keys in uploads),
            *(each.claim(alice) for each in others for _ in range(4)),
        )
        claimed = [key for each in got[6:] for key in each]
        claimed += [key for _ in range(24) for key in await others[0].claim(alice)]
        uploaded = [key["key"] for keys in uploads for key in keys.values()]
        self.assertEqual(Counter(claimed), Counter(uploaded))

    async def test_no_key_that_was_handed_out_comes_back(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        keys = alice.one_time_keys(2)
        await alice.upload(one_time_keys=keys)
        self.assertEqual(len(await bob.claim(alice)), 1)
        await self.town.server.restart()
        # The client did not see the answer to its upload, and repeats it.
        self.assertEqual(await alice.upload(one_time_keys=keys), 1)
        self.assertEqual(len(await bob.claim(alice)), 1)
        self.assertEqual(await bob.claim(alice), [])

    async def test_another_key_under_a_known_id_is_refused_and_noticed(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        first, second = alice.one_time_keys(1), alice.one_time_keys(2)
        (name,) = first
        await alice.upload(one_time_keys=first)
        swapped = {**second, name: next(iter(second.values()))}
        for _ in range(2):  # before and after the key is handed out
            code, answer = await alice.person.call(
                "POST", "/keys/upload", {"one_time_keys": swapped}
            )
            self.assertEqual((code, answer["errcode"]), (400, "M_UNKNOWN"))
            self.assertTrue(answer["error"].startswith(f"One time key {name} already exists."))
            self.assertEqual(await self.town.rows("one_time_keys"), 1)
            await bob.claim(alice)
        registry = self.town.server.app.metrics.registry
        of_device = {"user_id": alice.user_id, "device_id": alice.device_id}
        counted = registry.get_sample_value("hearth_one_time_key_conflicts_total", of_device)
        self.assertEqual(counted, 2)

    async def test_keys_that_are_wrong_are_refused_together_with_the_right_ones(self) -> None:
        alice, mallory = await self.town.people("alice", "mallory")
        await alice.upload()
        right = alice.one_time_keys(1)
        ((name, key),) = right.items()
        for wrong, errcode in (
            ({"curve25519:A": key["key"]}, "M_INVALID_PARAM"),
            ({"signed_curve25519:A": key["key"]}, "M_INVALID_PARAM"),
            ({"curve25519:A": key}, "M_INVALID_PARAM"),
            ({"signed_curve25519:A": alice.sign({"key": "AAAA"})}, "M_INVALID_PARAM"),
            ({"signed_curve25519:A": {**key, "key": "A" * 43}}, "M_INVALID_SIGNATURE"),
            ({"signed_curve25519:A": {**key, "fallback": True}}, "M_INVALID_SIGNATURE"),
            ({"signed_curve25519:A": {**key, "signatures": {}}}, "M_INVALID_SIGNATURE"),
            (mallory.one_time_keys(1), "M_INVALID_SIGNATURE"),
            ({"signed_curve25519:" + "A" * 256: key}, "M_INVALID_PARAM"),
            ({"signed_curve25519:A": alice.sign({**key, "x": "y" * 5000})}, "M_TOO_LARGE"),
        ):
            for kind in ("one_time_keys", "fallback_keys"):
                body = {kind: wrong} if kind == "fallback_keys" else {kind: {**right, **wrong}}
                refusal = await alice.refused("POST", "/keys/upload", body)
                self.assertEqual(refusal, (413 if "LARGE" in errcode else 400, errcode), wrong)
                self.assertEqual(await self.town.rows("one_time_keys"), 0)
                self.assertEqual(await self.town.rows("fallback_keys"), 0)
        two = {**alice.fallback_key("A"), **alice.fallback_key("B")}
        self.assertEqual(
            await alice.refused("POST", "/keys/upload", {"fallback_keys": two}),
            (400, "M_INVALID_PARAM"),
        )

    async def test_a_device_without_identity_has_nothing_to_sign_with(self) -> None:
        alice = await self.town.person("alice")
        body = {"one_time_keys": alice.one_time_keys(1)}
        self.assertEqual(
            await alice.refused("POST", "/keys/upload", body), (400, "M_MISSING_PARAM")
        )

    async def test_keys_of_an_identity_that_is_being_replaced_are_refused(self) -> None:
        alice = await self.town.person("alice")
        await alice.upload()
        reinstalled = alice.reinstalled()
        body = {"one_time_keys": alice.one_time_keys(2)}
        self.meanwhile(reinstalled.upload)
        self.assertEqual(await alice.refused("POST", "/keys/upload", body), (409, "M_UNKNOWN"))
        self.assertEqual(await self.town.rows("one_time_keys"), 0)

    async def test_a_client_without_measure_keeps_its_newest_keys(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        most = rules.MOST_KEYS
        await alice.upload()
        first = {}
        while len(first) < 60:
            first |= alice.one_time_keys(30)
        self.assertEqual(await alice.upload(one_time_keys=first), 60)
        for _ in range(4):
            second: Json = {}
            for _ in range(2):
                second |= alice.one_time_keys(30)
            last = await alice.upload(one_time_keys=second)
        self.assertEqual(last, most)
        self.assertEqual(counts(await alice.sync())[0], most)
        # What was pushed out does not come back either.
        self.assertEqual(await alice.upload(one_time_keys=first), most)
        pushed_out = {key["key"] for key in first.values()}
        got = [key for _ in range(most) for key in await bob.claim(alice)]
        self.assertEqual(len({*got}), most)
        self.assertEqual(len({*got} & pushed_out), 60 - 50)

    async def test_issued_ids_are_not_remembered_without_end(self) -> None:
        self.patch(rules, "MOST_REMEMBERED", 5)
        alice, bob = await self.town.people("alice", "bob")
        for _ in range(4):
            await alice.upload(3)
            for _ in range(3):
                await bob.claim(alice)
        await alice.upload(1)
        self.assertEqual(await self.town.rows("one_time_keys"), 5 + 1)

    async def test_counts_are_there_from_the_first_sync_and_always_true(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        answer = await alice.sync()
        self.assertEqual(counts(answer), (0, []))
        unused = ["signed_curve25519"]
        for work, expected in (
            (lambda: alice.upload(3, fallback_keys=alice.fallback_key()), (3, unused)),
            (lambda: bob.claim(alice), (2, unused)),
            (lambda: alice.upload(2), (4, unused)),
            (lambda: alice.claim(alice), (3, unused)),
            (lambda: self.at_once(*(bob.claim(alice) for _ in range(3))), (0, unused)),
            (lambda: bob.claim(alice), (0, [])),
        ):
            await work()
            answer = await alice.sync(answer["next"])
            self.assertEqual(counts(answer), expected)
            self.assertTrue(answer["news"], "a claim or an upload wakes the device")
            truth = await self.town.store.read(lambda txn: one_time_keys.left(txn, [alice.device]))
            self.assertEqual(rules.counted(truth[alice.device]), answer[COUNT])
        self.assertFalse((await alice.sync(answer["next"]))["news"])

    async def test_counts_are_there_when_there_is_nothing_else_to_say(self) -> None:
        [alice] = await self.town.people("alice")
        await alice.upload(3, fallback_keys=alice.fallback_key())
        since = (await alice.person.sync())["next_batch"]
        for timeout in (0, 50):
            answer = await alice.person.sync(since, timeout=timeout)
            self.assertEqual(counts(answer), (3, ["signed_curve25519"]))
            self.assertEqual(answer["next_batch"], since)

    async def test_a_claim_wakes_a_device_that_waits(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(1, fallback_keys=alice.fallback_key())
        since = (await alice.person.sync())["next_batch"]
        for expected in ((0, ["signed_curve25519"]), (0, [])):
            answer, _ = await self.at_once(
                alice.person.sync(since, timeout=60_000), bob.claim(alice)
            )
            self.assertEqual(counts(answer), expected)
            since = answer["next_batch"]

    async def test_counts_that_change_while_they_are_looked_up_are_not_kept(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(3)
        self.town.encryption.counts.load(self.town.stream.position)
        self.meanwhile(lambda: bob.claim(alice))
        await alice.sync()
        self.assertEqual(counts(await alice.sync())[0], 2)

    async def test_a_change_is_not_counted_twice_when_it_was_looked_up_already(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(3)
        part = self.town.encryption.counts
        changes = self.town.interrupted(part.follow)
        part.load(self.town.stream.position)
        await bob.claim(alice)
        await alice.sync()
        part.follow(changes)
        self.assertEqual(counts(await alice.sync())[0], 2)

    async def test_the_fallback_key_serves_when_nothing_else_is_left(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        fallback = alice.fallback_key()
        await alice.upload(1, fallback_keys=fallback)
        first, second, third = [await bob.claim(alice) for _ in range(3)]
        self.assertNotEqual(first, second)
        self.assertEqual(second, third)
        self.assertEqual(second, [key["key"] for key in fallback.values()])

    async def test_a_used_fallback_key_stays_used_until_another_one_comes(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        fallback = alice.fallback_key()
        await alice.upload(fallback_keys=fallback)
        await bob.claim(alice)
        await alice.upload(fallback_keys=fallback)
        self.assertEqual(counts(await alice.sync()), (0, []))
        old_name = {"org.matrix.msc2732.fallback_keys": alice.fallback_key("AAAFB2")}
        await alice.upload(**old_name)
        self.assertEqual(counts(await alice.sync()), (0, ["signed_curve25519"]))
        # The same id with another key is another key.
        await bob.claim(alice)
        await alice.upload(fallback_keys=alice.fallback_key("AAAFB2"))
        self.assertEqual(counts(await alice.sync()), (0, ["signed_curve25519"]))

    async def test_a_restored_backup_hands_out_no_one_time_key(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        laptop = await self.town.person("alice", "LAPTOP")
        keys = alice.one_time_keys(3)
        fallback = alice.fallback_key()
        await alice.upload(one_time_keys=keys, fallback_keys=fallback)
        await laptop.upload(2)
        token = (await alice.sync())["next"]
        withdrawn = await self.town.store.write(one_time_keys.withdraw_all)
        self.assertEqual(withdrawn, 5)
        await self.town.server.restart()
        answer = await alice.sync(token)
        self.assertEqual(counts(answer), (0, ["signed_curve25519"]))
        self.assertTrue(answer["news"], "clients refill when they hear of it")
        self.assertEqual(counts(await laptop.sync()), (0, []))
        self.assertEqual(await alice.upload(one_time_keys=keys), 0)
        self.assertEqual(await bob.claim(alice), [key["key"] for key in fallback.values()])
        self.assertEqual(await alice.upload(1), 1)

    async def test_many_keys_are_claimed_with_few_statements(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        devices = [(alice.user_id, f"D{i:03}") for i in range(300)]

        def fill(txn: WriteTransaction) -> None:
            for device in devices:
                one_time_keys.lengthen(txn, device, "signed_curve25519", 1)
                one_time_keys.add(txn, device, "signed_curve25519", {"A": '{"key":"A"}'}, 1)

        await self.town.store.write(fill)
        meter = self.town.metered()
        wanted = {alice.user_id: {device_id: "signed_curve25519" for _, device_id in devices}}
        claimed = await self.town.encryption.one_time_keys.claim(bob.user_id, wanted)
        self.assertEqual(len(claimed[alice.user_id]), 300)
        self.assertLess(meter.queries, 8)
        crowd = {f"@p{i}:localhost": {str(j): "x" for j in range(101)} for i in range(100)}
        refusal = await bob.refused("POST", "/keys/claim", {"one_time_keys": crowd})
        self.assertEqual(refusal, (400, "M_INVALID_PARAM"))
        self.assertEqual(await self.town.encryption.one_time_keys.claim(bob.user_id, wanted), {})
