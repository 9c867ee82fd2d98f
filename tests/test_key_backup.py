"""Key backups: what is better is kept, and etag and count always tell the truth."""

from functools import partial
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from e2e.key_backup import is_better
from tests.olm_devices import Device, Identity, Json, Stories

VERSION = "/room_keys/version"
KEYS = "/room_keys/keys"
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
PUBLIC_KEY, OTHER_KEY, NEW_KEY = (f"{letter}{42 * 'A'}" for letter in "AEI")
GARDEN, KITCHEN = "!garden:localhost", "!kitchen:localhost"


def key(index: int = 0, forwarded: int = 0, verified: bool = False, data: str = "x") -> Json:
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data, "ephemeral": "e", "mac": "m"},
    }


class KeyBackupStories(Stories):
    """Over the wire."""

    async def create(self, who: Device, public_key: str = PUBLIC_KEY) -> str:
        body = {"algorithm": ALGORITHM, "auth_data": {"public_key": public_key}}
        return str((await who.ok("POST", VERSION, body))["version"])

    async def check_state(self, who: Device, version: str, answer: Json) -> None:
        """Etag and count of an answer are those of the version, and the count is the truth."""
        described = await who.ok("GET", f"{VERSION}/{version}")
        kept = await who.ok("GET", f"{KEYS}?version={version}")
        count = sum(len(room["sessions"]) for room in kept["rooms"].values())
        self.assertEqual(answer, {"etag": described["etag"], "count": described["count"]})
        self.assertEqual(described["count"], count)

    async def test_without_a_backup_there_is_a_clear_no(self) -> None:
        alice = await self.town.person("alice")
        missing = (404, "M_NOT_FOUND")
        self.assertEqual(await alice.refused("GET", VERSION), missing)
        self.assertEqual(await alice.refused("GET", f"{VERSION}/1"), missing)
        self.assertEqual(await alice.refused("DELETE", f"{VERSION}/1"), missing)
        for path in (KEYS, f"{KEYS}/{GARDEN}", f"{KEYS}/{GARDEN}/s1"):
            self.assertEqual(await alice.refused("GET", f"{path}?version=1"), missing)
            self.assertEqual(await alice.refused("DELETE", f"{path}?version=1"), missing)
        body = {"rooms": {GARDEN: {"sessions": {"s1": key()}}}}
        self.assertEqual(await alice.refused("PUT", f"{KEYS}?version=1", body), missing)
        self.assertEqual(await alice.refused("PUT", KEYS, body), (400, "M_MISSING_PARAM"))

    async def test_versions_count_up_and_a_deleted_number_is_not_used_again(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        self.assertEqual([await self.create(alice, k) for k in (PUBLIC_KEY, OTHER_KEY)], ["1", "2"])
        self.assertEqual(await self.create(bob), "1")
        described = {"algorithm": ALGORITHM, "auth_data": {"public_key": OTHER_KEY}, "count": 0}
        current = await alice.ok("GET", VERSION)
        self.assertEqual(current, {**described, "version": "2", "etag": "0"})
        self.assertEqual(
            (await alice.ok("GET", f"{VERSION}/1"))["auth_data"]["public_key"], PUBLIC_KEY
        )
        await alice.ok("DELETE", f"{VERSION}/2")
        self.assertEqual(await alice.ok("DELETE", f"{VERSION}/2"), {}, "once more is fine")
        self.assertEqual((await alice.ok("GET", VERSION))["version"], "1")
        self.assertEqual(await alice.refused("GET", f"{VERSION}/2"), (404, "M_NOT_FOUND"))
        await alice.ok("DELETE", f"{VERSION}/1")
        self.assertEqual(await alice.refused("GET", VERSION), (404, "M_NOT_FOUND"))
        self.assertEqual(await self.create(alice), "3")

    async def test_only_the_auth_data_can_change(self) -> None:
        alice = await self.town.person("alice")
        version = await self.create(alice)
        body: Json = {"algorithm": ALGORITHM, "auth_data": {"public_key": NEW_KEY}}
        await alice.ok("PUT", f"{VERSION}/{version}", body)
        await alice.ok("PUT", f"{VERSION}/{version}", {**body, "version": version})
        self.assertEqual((await alice.ok("GET", VERSION))["auth_data"], {"public_key": NEW_KEY})
        for change, path, refusal in (
            ({"version": "7"}, version, (400, "M_INVALID_PARAM")),
            ({"algorithm": "m.other"}, version, (400, "M_INVALID_PARAM")),
            (
                {"auth_data": {"public_key": NEW_KEY, "x": "y" * 70_000}},
                version,
                (413, "M_TOO_LARGE"),
            ),
            ({}, "7", (404, "M_NOT_FOUND")),
            ({}, "one", (404, "M_NOT_FOUND")),
            ({}, "9" * 40, (404, "M_NOT_FOUND")),
        ):
            answer = await alice.refused("PUT", f"{VERSION}/{path}", {**body, **change})
            self.assertEqual(answer, refusal)

    async def test_a_broken_key_or_signature_of_a_backup_reaches_nobody(self) -> None:
        """Other devices would trust the key, or refuse the backup, on the strength of it."""
        alice, bob = await self.town.people("alice", "bob")
        identity = Identity(alice)
        for each in (alice, bob):
            await each.upload()
        await alice.ok("POST", "/keys/device_signing/upload", identity.upload())
        good = alice.sign(identity.sign("master", {"public_key": PUBLIC_KEY}))
        other = alice.sign({"public_key": OTHER_KEY})["signatures"]
        by_phone, by_master = good["signatures"][alice.user_id].items()
        unknown = {alice.user_id: {"ed25519:GONE": "x"}, bob.user_id: {"ed25519:PHONE": "y"}}
        for auth_data, refusal in (
            ({}, (400, "M_BAD_JSON")),
            ({"public_key": 5}, (400, "M_BAD_JSON")),
            ({"public_key": "abc"}, (400, "M_INVALID_PARAM")),
            ({"public_key": f"{PUBLIC_KEY}="}, (400, "M_INVALID_PARAM")),
            ({**good, "signatures": other}, (400, "M_INVALID_SIGNATURE")),
            (
                {**good, "signatures": {alice.user_id: {by_phone[0]: by_master[1]}}},
                (400, "M_INVALID_SIGNATURE"),
            ),
            (
                {**good, "signatures": {alice.user_id: {by_master[0]: by_phone[1]}}},
                (400, "M_INVALID_SIGNATURE"),
            ),
            ({**good, "weight": 1.5}, (400, "M_BAD_JSON")),
        ):
            body = {"algorithm": ALGORITHM, "auth_data": auth_data}
            self.assertEqual(await alice.refused("POST", VERSION, body), refusal, auth_data)
            self.assertEqual(await alice.refused("GET", VERSION), (404, "M_NOT_FOUND"))
        body = {"algorithm": ALGORITHM, "auth_data": {"public_key": PUBLIC_KEY}}
        version = (await alice.ok("POST", VERSION, body))["version"]
        body = {**body, "auth_data": {**good, "signatures": other}}
        refused = (400, "M_INVALID_SIGNATURE")
        self.assertEqual(await alice.refused("PUT", f"{VERSION}/{version}", body), refused)
        for auth_data in (good, {**good, "signatures": unknown}, {**good, "signatures": []}):
            body = {"algorithm": ALGORITHM, "auth_data": auth_data}
            await alice.ok("PUT", f"{VERSION}/{version}", body)
            self.assertEqual((await alice.ok("GET", VERSION))["auth_data"], auth_data)
        body = {"algorithm": ALGORITHM, "auth_data": good}
        self.assertNotEqual((await alice.ok("POST", VERSION, body))["version"], version)

    async def test_a_signature_outlives_the_keys_that_made_it(self) -> None:
        """Or a client could not add its own beside that of a device that was reinstalled."""
        alice = await self.town.person("alice")
        await alice.upload()
        body = {"algorithm": ALGORITHM, "auth_data": alice.sign({"public_key": PUBLIC_KEY})}
        version = (await alice.ok("POST", VERSION, body))["version"]
        phone, laptop = alice.reinstalled(), await self.town.person("alice", "LAPTOP")
        await phone.upload()
        await laptop.upload()
        both = {**body, "auth_data": laptop.sign(body["auth_data"])}
        await laptop.ok("PUT", f"{VERSION}/{version}", both)
        self.assertEqual((await phone.ok("GET", VERSION))["auth_data"], both["auth_data"])
        other = {**both["auth_data"], "public_key": OTHER_KEY}
        refusal = await phone.refused("PUT", f"{VERSION}/{version}", {**body, "auth_data": other})
        self.assertEqual(refusal, (400, "M_INVALID_SIGNATURE"))

    async def test_what_is_stored_comes_back_on_each_of_the_three_levels(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        version = await self.create(alice)
        await self.create(bob)
        q = f"?version={version}"
        answer = await alice.ok("PUT", f"{KEYS}/{GARDEN}/s%2F1{q}", key(data="one"))
        self.assertEqual(answer["count"], 1)
        answer = await alice.ok("PUT", f"{KEYS}/{GARDEN}{q}", {"sessions": {"s2": key(data="2")}})
        self.assertEqual(answer["count"], 2)
        rooms = {KITCHEN: {"sessions": {"s2": key(data="3")}}}
        answer = await alice.ok("PUT", f"{KEYS}{q}", {"rooms": rooms})
        await self.check_state(alice, version, answer)
        garden = {"sessions": {"s/1": key(data="one"), "s2": key(data="2")}}
        self.assertEqual(await alice.ok("GET", f"{KEYS}{q}"), {"rooms": {GARDEN: garden, **rooms}})
        self.assertEqual(await alice.ok("GET", f"{KEYS}/{GARDEN}{q}"), garden)
        self.assertEqual(await alice.ok("GET", f"{KEYS}/!none{q}"), {"sessions": {}})
        self.assertEqual(await alice.ok("GET", f"{KEYS}/{GARDEN}/s2{q}"), key(data="2"))
        self.assertEqual(await alice.refused("GET", f"{KEYS}/{GARDEN}/s3{q}"), (404, "M_NOT_FOUND"))
        self.assertEqual(await bob.ok("GET", f"{KEYS}{q}"), {"rooms": {}})

    async def test_keys_go_only_into_the_current_version(self) -> None:
        alice = await self.town.person("alice")
        old, new = await self.create(alice), await self.create(alice)
        body = {"sessions": {"s1": key()}}
        for version in (old, "7", "one", "01", "²"):
            code, answer = await alice.person.call(
                "PUT", f"{KEYS}/{GARDEN}?version={version}", body
            )
            refusal = (code, answer["errcode"], answer["current_version"])
            self.assertEqual(refusal, (403, "M_WRONG_ROOM_KEYS_VERSION", new))
        self.assertEqual(await self.town.rows("key_backup_sessions"), 0)

    async def test_a_better_key_replaces_a_worse_one_and_nothing_else_does(self) -> None:
        alice = await self.town.person("alice")
        version = await self.create(alice)
        # From the best to the worst.
        keys = [key(5, 5, True), key(5, 6, True), key(6, 0, True), key(1, 1), key(1, 2), key(2, 0)]
        for number, order in enumerate(permutations(range(4))):
            path, best, etag = f"{KEYS}/{GARDEN}/s{number}?version={version}", 9, ""
            for rank in order:
                answer = await alice.ok("PUT", path, keys[rank])
                self.assertEqual(answer["etag"] != etag, rank < best, "new etag if changed")
                best, etag = min(best, rank), answer["etag"]
                self.assertEqual(await alice.ok("GET", path), keys[best])
            self.assertEqual(answer["count"], number + 1)
        again = await alice.ok("PUT", path, keys[0])
        self.assertEqual(again["etag"], etag)

    async def test_one_upload_counts_what_it_adds(self) -> None:
        alice = await self.town.person("alice")
        version = await self.create(alice)
        put = partial(alice.ok, "PUT", f"{KEYS}?version={version}")
        first = await put({"rooms": {GARDEN: {"sessions": {"a": key(1), "b": key(1)}}}})
        mixed = {"a": key(0), "b": key(9), "c": key()}
        rooms = {GARDEN: {"sessions": mixed}, KITCHEN: {"sessions": {"a": key()}}}
        second = await put({"rooms": rooms})
        self.assertEqual((first["count"], second["count"]), (2, 4))
        await self.check_state(alice, version, second)
        empty = await put({"rooms": {GARDEN: {"sessions": {}}}})
        self.assertEqual(empty, second)

    async def test_keys_are_removed_on_each_of_the_three_levels(self) -> None:
        alice = await self.town.person("alice")
        version = await self.create(alice)
        q = f"?version={version}"
        sessions = {"sessions": {name: key() for name in "abc"}}
        body = {"rooms": {GARDEN: sessions, KITCHEN: sessions, "!attic": sessions}}
        etags = [(await alice.ok("PUT", f"{KEYS}{q}", body))["etag"]]
        for path, left, changed in (
            (f"{KEYS}/{GARDEN}/a{q}", 8, True),
            (f"{KEYS}/{GARDEN}/a{q}", 8, False),
            (f"{KEYS}/{GARDEN}{q}", 6, True),
            (f"{KEYS}{q}", 0, True),
            (f"{KEYS}{q}", 0, False),
        ):
            answer = await alice.ok("DELETE", path)
            await self.check_state(alice, version, answer)
            self.assertEqual((answer["count"], answer["etag"] != etags[-1]), (left, changed))
            etags.append(answer["etag"])

    async def test_a_deleted_version_takes_its_keys_along(self) -> None:
        alice = await self.town.person("alice")
        version = await self.create(alice)
        await alice.ok("PUT", f"{KEYS}/{GARDEN}/a?version={version}", key())
        await alice.ok("DELETE", f"{VERSION}/{version}")
        self.assertEqual(await self.town.rows("key_backup_sessions"), 0)
        refusal = await alice.refused("GET", f"{KEYS}?version={version}")
        self.assertEqual(refusal, (404, "M_NOT_FOUND"))

    async def test_a_closed_account_has_no_backup(self) -> None:
        alice, bob = await self.town.people("alice", "bob")
        for who in (alice, bob):
            version = await self.create(who)
            await who.ok("PUT", f"{KEYS}/{GARDEN}/a?version={version}", key())
        await self.town.store.write(
            lambda txn: self.town.encryption.backups.forget(txn, alice.user_id, False)
        )
        for table in ("key_backup_versions", "key_backup_sessions"):
            self.assertEqual(await self.town.rows(table), 1)

    async def test_odd_keys_are_refused_and_nothing_is_stored(self) -> None:
        alice = await self.town.person("alice")
        version = await self.create(alice)
        q = f"?version={version}"
        for path, body, errcode in (
            (f"{KEYS}{q}", {"rooms": {GARDEN: {"sessions": {"a": 5}}}}, "M_BAD_JSON"),
            (f"{KEYS}{q}", {"rooms": {GARDEN: {"sessions": {"a\0": key()}}}}, "M_BAD_JSON"),
            (f"{KEYS}/{GARDEN}/a{q}", key(-1), "M_BAD_JSON"),
            (f"{KEYS}/{GARDEN}/a{q}", key(2**60), "M_BAD_JSON"),
            (f"{KEYS}/{GARDEN}/a{q}", {**key(), "is_verified": 1}, "M_BAD_JSON"),
            (f"{KEYS}/{GARDEN}/a{q}", {}, "M_MISSING_PARAM"),
            (f"{KEYS}/{GARDEN}/{'s' * 256}{q}", key(), "M_INVALID_PARAM"),
            (f"{KEYS}/{GARDEN}/a{q}", key(data="x" * 70_000), "M_TOO_LARGE"),
        ):
            code = 413 if errcode == "M_TOO_LARGE" else 400
            self.assertEqual(await alice.refused("PUT", path, body), (code, errcode))
        self.assertEqual(await self.town.rows("key_backup_sessions"), 0)
        await alice.ok("PUT", f"{KEYS}/{GARDEN}/a{q}", key(data="nul \0 is data here"))

    async def test_ten_thousand_sessions_at_once(self) -> None:
        alice = await self.town.person("alice")
        version = await self.create(alice)
        rooms = {
            f"!room{r}:localhost": {
                "sessions": {f"session{r}-{s}" + "x" * 30: key(data="c" * 400) for s in range(500)}
            }
            for r in range(20)
        }
        for expected in ("1", "1"):
            answer = await alice.ok("PUT", f"{KEYS}?version={version}", {"rooms": rooms})
            self.assertEqual(answer, {"etag": expected, "count": 10_000})
        self.assertEqual(await alice.ok("GET", f"{KEYS}?version={version}"), {"rooms": rooms})


worths = st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 3))


class ReplacementProperties(SynchronousTestCase):
    """The order of uploads does not decide which key is kept."""

    @given(st.lists(worths, min_size=1))
    def test_the_best_key_wins_in_any_order(self, keys: list[tuple[int, int, int]]) -> None:
        kept = None
        for each in keys:
            if is_better(each, kept):
                kept = each
        self.assertEqual(kept, min(keys, key=lambda worth: (-worth[0], worth[1], worth[2])))

    @given(worths)
    def test_the_same_key_does_not_replace_itself(self, worth: tuple[int, int, int]) -> None:
        self.assertFalse(is_better(worth, worth))
        self.assertTrue(is_better(worth, None))
