"""Cross-signing: identities, who may change them, and who sees which signature."""

import olm

from tests.olm_devices import Device, Identity, Json, Stories, bare, signed
from tests.support import PASSWORD

UPLOAD = "/keys/device_signing/upload"
SIGN = "/keys/signatures/upload"


class CrossSigningStories(Stories):
    """Over the wire."""

    async def identity(self, device: Device) -> Identity:
        """New cross-signing keys of somebody, published."""
        identity = Identity(device)
        await device.ok("POST", UPLOAD, identity.upload())
        return identity

    async def sign(self, device: Device, user_id: str, target: str, claim: Json) -> Json:
        """Upload one signed object; its failure, or nothing."""
        answer = await device.ok("POST", SIGN, {user_id: {target: claim}})
        failures: Json = answer["failures"]
        return dict(failures.get(user_id, {}).get(target, {}))

    async def test_everybody_sees_an_identity_and_only_its_owner_the_user_signing_key(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        token = (await bob.sync())["next"]
        identity = await self.identity(alice)
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        for who, own in ((alice, True), (bob, False)):
            answer = await who.keys_of(alice)
            self.assertEqual(answer["master_keys"], {alice.user_id: identity.key("master")})
            self.assertEqual(
                answer["self_signing_keys"], {alice.user_id: identity.key("self_signing")}
            )
            seen = {alice.user_id: identity.key("user_signing")} if own else {}
            self.assertEqual(answer["user_signing_keys"], seen)

    async def test_the_same_keys_again_need_no_password_and_are_no_news(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        identity = await self.identity(alice)
        token = (await bob.sync())["next"]
        await alice.ok("POST", UPLOAD, identity.upload())
        await alice.ok("POST", UPLOAD, identity.upload("master"))
        await alice.ok("POST", UPLOAD, identity.upload("self_signing"))
        self.assertFalse((await bob.sync(token))["news"])

    async def test_another_identity_needs_the_password(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        old, new = await self.identity(alice), Identity(alice)
        await bob.keys_of(alice)
        token = (await bob.sync())["next"]
        body = new.upload()
        code, question = await alice.person.call("POST", UPLOAD, body)
        self.assertEqual((code, question["flows"]), (401, [{"stages": ["m.login.password"]}]))
        auth = {"type": "m.login.password", "session": question["session"], "password": "x"}
        self.assertEqual((await alice.person.call("POST", UPLOAD, {**body, "auth": auth}))[0], 401)
        self.assertEqual(
            (await bob.keys_of(alice))["master_keys"][alice.user_id], old.key("master")
        )
        await alice.ok("POST", UPLOAD, {**body, "auth": {**auth, "password": PASSWORD}})
        self.assertEqual(
            (await bob.keys_of(alice))["master_keys"][alice.user_id], new.key("master")
        )
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])

    async def test_who_comes_second_with_a_first_identity_needs_the_password(self) -> None:
        alice = await self.town.person("alice")
        first, second = Identity(alice), Identity(alice)
        self.meanwhile(
            lambda: self.town.encryption.cross_signing.upload(
                alice.user_id,
                {usage.removesuffix("_key"): key for usage, key in first.upload().items()},
                authenticated=False,
            )
        )
        refusal = await alice.refused("POST", UPLOAD, second.upload())
        self.assertEqual(refusal, (409, "M_UNKNOWN"))
        seen = (await alice.keys_of(alice))["master_keys"][alice.user_id]
        self.assertEqual(seen, first.key("master"))

    async def test_a_single_new_key_needs_the_password_too(self) -> None:
        alice = await self.town.person("alice")
        identity = Identity(alice)
        await alice.ok("POST", UPLOAD, identity.upload("master", "self_signing"))
        self.assertEqual(
            (await alice.person.call("POST", UPLOAD, identity.upload("user_signing")))[0], 401
        )

    async def test_keys_that_are_wrong_are_refused_and_nothing_is_stored(self) -> None:
        alice, mallory = await self.town.people("alice", "mallory")
        mine, theirs = Identity(alice), Identity(mallory)
        right = mine.upload()
        self_signing = right["self_signing_key"]
        two = {**self_signing["keys"], **right["user_signing_key"]["keys"]}
        short = {"keys": {"ed25519:AAAA": "AAAA"}}
        named = {"keys": {"ed25519:other": mine.master.public_key}}
        forged = mine.sign("user_signing", bare(self_signing))
        invalid = "M_INVALID_PARAM"
        for change, errcode in (
            ({"self_signing_key": theirs.key("self_signing")}, invalid),
            ({"master_key": theirs.key("master")}, invalid),
            ({"master_key": {**right["master_key"], "usage": ["self_signing"]}}, invalid),
            ({"master_key": {**right["master_key"], **short}}, invalid),
            ({"master_key": {**right["master_key"], **named}}, invalid),
            (
                {"self_signing_key": mine.sign("master", {**bare(self_signing), "keys": two})},
                "M_BAD_JSON",
            ),
            ({"self_signing_key": bare(self_signing)}, "M_INVALID_SIGNATURE"),
            ({"self_signing_key": forged}, "M_INVALID_SIGNATURE"),
            (
                {
                    "user_signing_key": mine.sign(
                        "master", {**bare(self_signing), "usage": ["user_signing"]}
                    )
                },
                invalid,
            ),
            ({"self_signing_key": {**self_signing, "extra": True}}, "M_INVALID_SIGNATURE"),
            ({"self_signing_key": {**self_signing, "extra": 0.5}}, "M_BAD_JSON"),
            ({"master_key": None}, "M_MISSING_PARAM"),
        ):
            refusal = await alice.refused("POST", UPLOAD, {**right, **change})
            self.assertEqual(refusal, (400, errcode), change)
            self.assertEqual(await self.town.rows("cross_signing_keys"), 0)

    async def test_a_key_is_never_the_id_of_a_device_nor_the_other_way_round(self) -> None:
        alice = await self.town.person("alice")
        identity = Identity(alice)
        collision = identity.self_signing.public_key
        await self.town.person("alice", collision)
        self.assertEqual(
            await alice.refused("POST", UPLOAD, identity.upload()), (403, "M_FORBIDDEN")
        )
        await self.identity(alice)
        keys = (await alice.keys_of(alice))["self_signing_keys"][alice.user_id]["keys"]
        (name,) = keys.values()
        for device_id, expected in ((name, True), ("LAPTOP", False)):
            reserved = await self.town.store.read(
                lambda txn, d=device_id: self.town.encryption.devices.is_reserved(
                    txn, alice.user_id, d
                )
            )
            self.assertIs(reserved, expected)

    async def test_the_self_signing_key_signs_devices_for_everybody_to_see(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload()
        identity = await self.identity(alice)
        await bob.keys_of(alice)
        token = (await bob.sync())["next"]
        claim = identity.sign("self_signing", bare(alice.device_keys()))
        self.assertEqual(await self.sign(alice, alice.user_id, "PHONE", claim), {})
        self.assertEqual((await bob.sync(token))["device_lists"]["changed"], [alice.user_id])
        seen = (await bob.keys_of(alice))["device_keys"][alice.user_id]["PHONE"]
        signed = identity.sign("self_signing", alice.device_keys())
        self.assertEqual(seen["signatures"], signed["signatures"])
        token = (await bob.sync())["next"]
        self.assertEqual(await self.sign(alice, alice.user_id, "PHONE", claim), {})
        self.assertFalse((await bob.sync(token))["news"], "the same signature again")
        # Uploading the device keys once more does not take it away.
        await alice.upload()
        seen = (await bob.keys_of(alice))["device_keys"][alice.user_id]["PHONE"]
        self.assertEqual(seen["signatures"], signed["signatures"])

    async def test_a_device_may_bring_the_signature_along(self) -> None:
        alice, mallory = await self.town.people("alice", "mallory")
        identity = await self.identity(alice)
        signed = identity.sign("self_signing", alice.device_keys())
        forged = Identity(alice).sign("self_signing", signed)
        await alice.ok("POST", "/keys/upload", {"device_keys": forged})
        seen = (await mallory.keys_of(alice))["device_keys"][alice.user_id]["PHONE"]
        self.assertEqual(seen["signatures"], signed["signatures"])

    async def test_devices_sign_their_own_master_key(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        laptop = await self.town.person("alice", "LAPTOP")
        await alice.upload()
        await laptop.upload()
        identity = Identity(alice)
        master = alice.sign(identity.key("master"))
        unknown = signed(master, alice.user_id, "ed25519:UNKNOWN", olm.Account().sign)
        body = {**identity.upload(), "master_key": unknown}
        forged = {"ed25519:PHONE": "A" * 86}
        lie = {**master, "signatures": {alice.user_id: forged}}
        self.assertEqual(
            await alice.refused("POST", UPLOAD, {**body, "master_key": lie}),
            (400, "M_INVALID_SIGNATURE"),
        )
        await alice.ok("POST", UPLOAD, body)
        seen = (await bob.keys_of(alice))["master_keys"][alice.user_id]
        self.assertEqual(seen, master)
        public_key = identity.master.public_key
        claim = laptop.sign(identity.key("master"))
        self.assertEqual(await self.sign(laptop, alice.user_id, public_key, claim), {})
        seen = (await bob.keys_of(alice))["master_keys"][alice.user_id]
        self.assertEqual(seen, laptop.sign(master))
        await self.town.log_out(laptop)
        self.assertEqual((await bob.keys_of(alice))["master_keys"][alice.user_id], master)

    async def test_only_who_has_verified_somebody_sees_that(self) -> None:
        alice, bob, carol = await self.town.people("alice", "bob", "carol")
        alices, bobs = await self.identity(alice), await self.identity(bob)
        laptop = await self.town.person("bob", "LAPTOP")
        tokens = {each.device_id: (await each.sync())["next"] for each in (alice, laptop)}
        carols = (await carol.sync())["next"]
        claim = bobs.sign("user_signing", alices.key("master"))
        public_key = alices.master.public_key
        self.assertEqual(await self.sign(bob, alice.user_id, public_key, claim), {})
        heard = await laptop.sync(tokens["LAPTOP"])
        self.assertEqual(heard["device_lists"], {"changed": [alice.user_id], "left": []})
        self.assertFalse((await alice.sync(tokens["PHONE"]))["news"])
        self.assertFalse((await carol.sync(carols))["news"])
        await self.town.server.restart()
        self.assertEqual(
            (await laptop.sync(tokens["LAPTOP"]))["device_lists"], heard["device_lists"]
        )
        for who, seen in (
            (bob, claim),
            (alice, alices.key("master")),
            (carol, alices.key("master")),
        ):
            answer = await who.keys_of(alice)
            self.assertEqual(answer["master_keys"][alice.user_id], seen, who.user_id)

    async def test_a_signature_by_the_wrong_key_or_on_another_object_is_a_failure(self) -> None:
        alice, bob, mallory = await self.town.people("alice", "bob", "mallory")
        await alice.upload()
        alices, bobs = await self.identity(alice), await self.identity(bob)
        device, master = bare(alice.device_keys()), alices.key("master")
        key = alices.master.public_key
        forged = {
            "signatures": {alice.user_id: {f"ed25519:{alices.self_signing.public_key}": "A" * 86}}
        }
        invalid, param, unknown = "M_INVALID_SIGNATURE", "M_INVALID_PARAM", "M_NOT_FOUND"
        for who, user, target, claim, errcode in (
            (alice, alice, "PHONE", device, invalid),
            (alice, alice, "PHONE", {**device, **forged}, invalid),
            (alice, alice, "PHONE", {**device, "signatures": {alice.user_id: 5}}, invalid),
            (alice, alice, "PHONE", {**device, "signatures": "no"}, invalid),
            (alice, alice, "PHONE", alices.sign("user_signing", device), invalid),
            (alice, alice, "PHONE", alices.sign("master", device), invalid),
            (
                alice,
                alice,
                "PHONE",
                alices.sign("self_signing", {**device, "algorithms": []}),
                param,
            ),
            (alice, alice, "PHONE", alices.sign("self_signing", {"x": 1}), param),
            (alice, alice, "PHONE", {**device, "x": 0.5}, "M_BAD_JSON"),
            (alice, alice, "TOASTER", alices.sign("self_signing", device), unknown),
            (alice, alice, key, alices.sign("self_signing", master), invalid),
            (
                alice,
                alice,
                alices.self_signing.public_key,
                alice.sign(alices.key("self_signing")),
                unknown,
            ),
            (bob, alice, key, bobs.sign("self_signing", master), invalid),
            (bob, alice, key, bobs.sign("user_signing", {**master, "usage": []}), param),
            (bob, alice, "PHONE", bobs.sign("user_signing", device), unknown),
            (bob, mallory, "x", bobs.sign("user_signing", device), unknown),
            (mallory, alice, key, bobs.sign("user_signing", master), invalid),
            (mallory, alice, key, mallory.sign(master), invalid),
        ):
            failure = await self.sign(who, user.user_id, target, claim)
            self.assertEqual(failure.get("errcode"), errcode, (target, failure))
            self.assertEqual(await self.town.rows("key_signatures"), 0, target)

    async def test_one_failure_does_not_spoil_the_rest(self) -> None:
        alice = await self.town.person("alice")
        await alice.upload()
        identity = await self.identity(alice)
        claim = identity.sign("self_signing", bare(alice.device_keys()))
        body = {alice.user_id: {"PHONE": claim, "TOASTER": claim}}
        failures = (await alice.ok("POST", SIGN, body))["failures"]
        self.assertEqual([*failures[alice.user_id]], ["TOASTER"])
        self.assertEqual(await self.town.rows("key_signatures"), 1)
        crowd = {alice.user_id: {str(i): {} for i in range(101)}}
        self.assertEqual(await alice.refused("POST", SIGN, crowd), (400, "M_INVALID_PARAM"))

    async def test_a_new_identity_ends_what_the_old_one_signed(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await alice.upload()
        alices, bobs = await self.identity(alice), await self.identity(bob)
        device = alices.sign("self_signing", bare(alice.device_keys()))
        await self.sign(alice, alice.user_id, "PHONE", device)
        master = bobs.sign("user_signing", alices.key("master"))
        await self.sign(bob, alice.user_id, alices.master.public_key, master)
        self.assertEqual(await self.town.rows("key_signatures"), 2)
        new = Identity(alice)
        _, question = await alice.person.call("POST", UPLOAD, new.upload("master"))
        auth = {"type": "m.login.password", "session": question["session"], "password": PASSWORD}
        await alice.ok("POST", UPLOAD, {**new.upload("master"), "auth": auth})
        answer = await bob.keys_of(alice)
        self.assertEqual(answer["master_keys"], {alice.user_id: new.key("master")})
        self.assertEqual(answer["self_signing_keys"], {})
        seen = answer["device_keys"][alice.user_id]["PHONE"]["signatures"]
        self.assertEqual(seen, alice.device_keys()["signatures"])
        self.assertEqual(await self.town.rows("key_signatures"), 0)

    async def test_a_closed_account_has_no_identity(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        await self.identity(alice)
        await bob.keys_of(alice)
        await self.town.store.write(
            lambda txn: self.town.encryption.cross_signing.forget(txn, alice.user_id, False)
        )
        self.assertEqual((await bob.keys_of(alice))["master_keys"], {})
