"""Invariants 2 to 10 and 19: keys that are uploaded, counted and handed out."""

from typing import Any

from twisted.logger import capturedLogs

from e2e import one_time_keys as rules
from tests.e2ee.wire import (
    ALGORITHM,
    changed,
    counts,
    olm_message,
    public_keys,
    read,
    sync,
    token,
    waiting,
)
from tests.olm_devices import Device, Identity, Json, Stories, bare


class OneTimeKeyInvariants(Stories):
    """From the upload of a one-time key to its last use."""

    async def test_02_the_key_that_was_uploaded_first_is_issued_first(self) -> None:
        """2: no key lingers until its client has dropped the private half."""
        alice, bob = await self.town.people("alice", "bob")
        uploads = []
        for number in range(3):
            keys = alice.one_time_keys(2)
            # Ids of later uploads sort before earlier ones, as clients' ids do after a wrap.
            named = {f"{ALGORITHM}:{9 - number}{i}": k for i, k in enumerate(keys.values())}
            await alice.upload(one_time_keys=named)
            uploads.append(set(public_keys(named)))
        await self.town.server.restart()
        for upload in uploads:
            self.assertEqual({*(await bob.claim(alice)), *(await bob.claim(alice))}, upload)

    async def test_03_a_key_is_issued_once_though_many_claim_at_once(self) -> None:
        """3: one atomic statement hands a key out, its id is remembered, its return ignored."""
        alice, *others = await self.town.people("alice", *(f"p{i}" for i in range(9)))
        keys = alice.one_time_keys(6)
        await alice.upload(one_time_keys=keys)
        for each in others:
            await each.upload()
        claims = await self.at_once(*(each.claim(alice) for each in others))
        issued = [(each, key) for each, found in zip(others, claims, strict=True) for key in found]
        self.assertEqual(len(issued), 6)
        # Each key opens exactly one session: a second one with it would be unreadable.
        for who, key in issued:
            message = olm_message(who, alice, key, f"hello from {who.user_id}")
            self.assertEqual(read(alice, message), f"hello from {who.user_id}")
        new = alice.one_time_keys(1)
        self.assertEqual(await alice.upload(one_time_keys=new), 1)
        self.assertEqual(await alice.upload(one_time_keys=keys), 1)
        self.assertEqual(await others[0].claim(alice), public_keys(new))
        self.assertEqual(await others[0].claim(alice), [])

    async def test_04_another_key_under_a_known_id_is_refused_and_noticed(self) -> None:
        """4: 400 with the sentence that clients know; the organizer sees which device is sick."""
        alice, bob = await self.town.people("alice", "bob")
        first = alice.one_time_keys(1)
        (name,) = first
        other = {name: next(iter(alice.one_time_keys(1).values()))}
        await alice.upload(one_time_keys=first)
        with capturedLogs() as logs:
            code, answer = await alice.person.call("POST", "/keys/upload", {"one_time_keys": other})
        self.assertEqual((code, answer["errcode"]), (400, "M_UNKNOWN"))
        self.assertTrue(answer["error"].startswith(f"One time key {name} already exists."))
        sick = [(log.get("user_id"), log.get("device_id")) for log in logs]
        self.assertIn((alice.user_id, alice.device_id), sick)
        registry = self.town.server.app.metrics.registry
        of_device = {"user_id": alice.user_id, "device_id": alice.device_id}
        counted = registry.get_sample_value("hearth_one_time_key_conflicts_total", of_device)
        self.assertEqual(counted, 1)
        self.assertEqual(await bob.claim(alice), public_keys(first))

    async def test_05_the_count_is_never_from_a_stale_cache(self) -> None:
        """5: upload and /sync tell the number that is there, whoever has just changed it."""
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(5)
        since = await token(alice)
        for left in (4, 3, 2):
            await bob.claim(alice)
            answer = await sync(alice, since)
            since = answer["next_batch"]
            self.assertEqual(counts(answer)[0], left)
            again = await alice.ok("POST", "/keys/upload", {})
            self.assertEqual(again["one_time_key_counts"], {ALGORITHM: left})
        # A claim while the number is looked up does not leave the old one behind.
        self.town.encryption.counts.load(self.town.stream.position)
        self.meanwhile(lambda: bob.claim(alice))
        answer = await sync(alice, since)
        self.assertEqual(counts(await sync(alice, answer["next_batch"]))[0], 1)

    async def test_06_zero_is_a_number(self) -> None:
        """6: the count is in every answer, also when nothing is left or was ever there."""
        alice, bob = await self.town.people("alice", "bob")
        first = await sync(alice)
        self.assertEqual(counts(first)[0], 0)
        await alice.upload(1)
        await bob.claim(alice)
        second = await sync(alice, first["next_batch"])
        self.assertEqual(counts(second)[0], 0)
        # No news at all, and still it is there; also for a client that starts anew.
        self.assertEqual(counts(await sync(alice, second["next_batch"]))[0], 0)
        self.assertEqual(counts(await sync(alice))[0], 0)

    async def test_07_the_count_is_that_of_the_moment_of_the_answer(self) -> None:
        """7: an upload or a claim ends the wait of a sync, and shows in an answer under way."""
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload(2)
        since = await token(alice)
        for left, happening in ((1, lambda: bob.claim(alice)), (4, lambda: alice.upload(3))):
            answering = await waiting(alice, since)
            await happening()
            answer = await answering
            self.assertEqual(counts(answer)[0], left)
            since = answer["next_batch"]
        # The database is asked for other things first; keys that come meanwhile are counted.
        await self.town.server.restart()
        await alice.ok("GET", "/account/whoami")
        self.meanwhile(lambda: alice.upload(2))
        self.assertEqual(counts(await sync(alice))[0], 6)

    async def test_08_a_client_without_measure_loses_its_oldest_keys(self) -> None:
        """8: there is a cap for each device, and what is evicted is the oldest, for good."""
        alice, bob = await self.town.people("alice", "bob")
        uploads = []
        while sum(map(len, uploads)) < rules.MOST_KEYS + 40:
            uploads.append({})
            for _ in range(2):
                uploads[-1] |= alice.one_time_keys(40)
            count = await alice.upload(one_time_keys=uploads[-1])
        self.assertEqual(count, rules.MOST_KEYS)
        self.assertEqual(counts(await sync(alice))[0], rules.MOST_KEYS)
        gone = sum(map(len, uploads)) - rules.MOST_KEYS
        self.assertLess(gone, len(uploads[0]))
        self.assertEqual(await alice.upload(one_time_keys=uploads[0]), rules.MOST_KEYS)
        left_of_first = len(uploads[0]) - gone
        issued = [key for _ in range(left_of_first + 1) for key in await bob.claim(alice)]
        self.assertLessEqual({*issued[:-1]}, {*public_keys(uploads[0])})
        self.assertIn(issued[-1], public_keys(uploads[1]))

    async def test_09_the_same_fallback_key_again_stays_used(self) -> None:
        """9: only another key makes the fallback key an unused one."""
        alice, bob = await self.town.people("alice", "bob")
        fallback = alice.fallback_key()
        await alice.upload(fallback_keys=fallback)
        self.assertEqual(counts(await sync(alice)), (0, [ALGORITHM]))
        self.assertEqual(await bob.claim(alice), public_keys(fallback))
        for restart in (False, True):
            if restart:
                await self.town.server.restart()
            await alice.upload(fallback_keys=fallback)
            self.assertEqual(counts(await sync(alice)), (0, []))
            self.assertEqual(await bob.claim(alice), public_keys(fallback), "it still serves")
        await alice.upload(fallback_keys=alice.fallback_key("AAAFB2"))
        self.assertEqual(counts(await sync(alice)), (0, [ALGORITHM]))

    async def test_10_the_unused_fallback_keys_are_always_listed(self) -> None:
        """10: the list is there before the first upload, and in answers without any news."""
        alice, bob = await self.town.people("alice", "bob")
        first = await sync(alice)
        self.assertEqual(counts(first), (0, []))
        self.assertEqual(counts(await sync(alice, first["next_batch"])), (0, []))
        await alice.upload(fallback_keys=alice.fallback_key())
        await bob.claim(alice)
        second = await sync(alice, first["next_batch"])
        self.assertEqual(counts(second), (0, []))
        self.assertEqual(counts(await sync(alice, second["next_batch"])), (0, []))


class UploadInvariants(Stories):
    """What is wrong with a key is found before anybody else sees it."""

    async def test_19_no_bad_key_reaches_another_client(self) -> None:
        """19: structure, size, owner and signature of every uploaded key are checked."""
        alice, bob, mallory = await self.town.people("alice", "bob", "mallory")
        await alice.upload()
        await mallory.upload()
        identity = Identity(alice)
        await alice.ok("POST", "/keys/device_signing/upload", identity.upload())
        before, since = await bob.keys_of(alice), await token(bob)
        for path, body in self.bad_uploads(alice, mallory, identity):
            code, answer = await alice.person.call("POST", path, body)
            refused = code in (400, 413) or bool(answer.get("failures"))
            self.assertTrue(refused, (path, body, answer))
            self.assertEqual(await bob.keys_of(alice), before, (path, body))
            self.assertEqual(await bob.claim(alice), [], (path, body))
        self.assertEqual(changed(await sync(bob, since)), [])

    def bad_uploads(
        self, alice: Device, mallory: Device, identity: Identity
    ) -> list[tuple[str, Json]]:
        """Paths and bodies: one thing is wrong with each."""
        right, one_time = alice.device_keys(), alice.one_time_keys(1)
        ((name, key),) = one_time.items()
        cut = {f"curve25519:{alice.device_id}": "A" * 42}
        device_keys: list[Any] = [
            5,
            {},
            mallory.device_keys(),
            alice.sign({**right, "user_id": mallory.user_id}),
            alice.sign({**right, "device_id": "OTHER"}),
            alice.sign({**right, "keys": {**right["keys"], **cut}}),
            alice.sign({**right, "keys": {}}),
            alice.sign({**right, "keys": 5}),
            {**right, "signatures": {}},
            {**right, "signatures": mallory.device_keys()["signatures"]},
            {**right, "algorithms": ["m.rot13"]},
            {**right, "more": 1.5},
            alice.device_keys(more="x" * 70_000),
        ]
        keys: list[Any] = [
            5,
            {name: 5},
            {name: key["key"]},
            {"signed_curve25519:": key},
            {f"rot13:{name}": key},
            {name: alice.sign({"key": "A" * 42})},
            {name: alice.sign({"key": 5})},
            {name: {**key, "signatures": {}}},
            {name: {**key, "key": alice.account.identity_keys["curve25519"]}},
            {name: alice.sign({**key, "more": "x" * 5_000})},
            mallory.one_time_keys(1),
        ]
        claim = bare(right)
        other, own = Identity(mallory), bare(identity.key("self_signing"))
        cross_signing: list[Json] = [
            {"self_signing_key": other.key("self_signing")},
            {"self_signing_key": identity.sign("master", {**own, "user_id": mallory.user_id})},
            {"self_signing_key": own},
            {"user_signing_key": {**identity.key("user_signing"), "usage": ["self_signing"]}},
        ]
        signatures: list[Json] = [
            claim,
            identity.sign("user_signing", claim),
            other.sign("self_signing", claim),
            identity.sign("self_signing", {**claim, "algorithms": []}),
        ]
        return [
            *(("/keys/upload", {"device_keys": bad}) for bad in device_keys),
            *(("/keys/upload", {"one_time_keys": bad}) for bad in keys),
            *(("/keys/upload", {"fallback_keys": bad}) for bad in keys),
            # One key is wrong: the right ones beside it are not stored either.
            ("/keys/upload", {"one_time_keys": {**one_time, f"{ALGORITHM}:BAD": {"key": "x"}}}),
            *(("/keys/device_signing/upload", bad) for bad in cross_signing),
            *(
                ("/keys/signatures/upload", {alice.user_id: {alice.device_id: bad}})
                for bad in signatures
            ),
        ]
