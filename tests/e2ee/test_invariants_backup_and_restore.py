"""Invariants 1, 21 and 22: what is kept for later is there, also when a backup was restored."""

from typing import Any

import olm
import orjson

from schema.errors import Forbidden
from storage import key_backup
from tests.e2ee.wire import (
    ALGORITHM,
    bodies,
    changed,
    counts,
    olm_message,
    public_keys,
    read,
    sync,
    token,
    waiting,
)
from tests.olm_devices import Device, Json, Stories
from tests.support import bodies as texts
from tests.support import timeline
from tests.test_restore import Backup, restore_safely

VERSION = "/room_keys/version"
KEYS = "/room_keys/keys"


class RestoreInvariants(Stories):
    """The organizer has lost the disk, and goes back to the backup of last night."""

    async def setUp(self) -> None:
        await super().setUp()
        self.backup = Backup(self.town.server)
        self.addCleanup(self.backup.drop)

    async def back_up(self) -> None:
        """Copy the database as it is now."""
        await self.town.server.stop()
        self.backup.make()
        await self.town.server.start()

    async def restore(self, *, safely: bool) -> None:
        """Make the database what it was."""
        server = self.town.server
        await server.stop()
        self.backup.put_back()
        if safely:
            await restore_safely(server._folder / "hearth.yaml")
        await server.start()

    async def test_01_a_restored_server_hands_out_no_one_time_key_again(self) -> None:
        """1: one-time keys are withdrawn, fallback keys stay, the clients hear 0 and refill."""
        alice, bob, carol = await self.town.people("alice", "bob", "carol")
        old, fallback = alice.one_time_keys(4), self.fallback(alice)
        await alice.upload(one_time_keys=old, fallback_keys=fallback)
        await self.back_up()
        for _ in range(2):
            (key,) = await bob.claim(alice)
            self.assertEqual(read(alice, olm_message(bob, alice, key, "hi")), "hi")
        since = await token(alice)
        await self.restore(safely=True)
        # Nothing that may have been used, but what always serves.
        self.assertEqual(await carol.claim(alice), public_keys(fallback))
        message = olm_message(carol, alice, *public_keys(fallback), "in between")
        self.assertEqual(read(alice, message), "in between")
        self.assertEqual(counts(await sync(alice, since, timeout=60_000))[0], 0)
        self.assertEqual(await alice.upload(one_time_keys=old), 0, "nor do they come back")
        self.assertEqual(await alice.upload(3), 3)
        (key,) = await carol.claim(alice)
        self.assertEqual(read(alice, olm_message(carol, alice, key, "hello")), "hello")

    def fallback(self, device: Device) -> Json:
        """A fallback key that the device can use."""
        device.account.generate_fallback_key()
        ((key_id, key),) = device.account.fallback_key["curve25519"].items()
        return {f"{ALGORITHM}:{key_id}": device.sign({"key": key, "fallback": True})}

    async def test_22_a_token_from_the_future_is_a_gap(self) -> None:
        """22: a server that went back tells everything; it does not wait until it has caught up."""
        alice, bob = await self.town.people("alice", "bob")
        await self.back_up()
        for number in range(5):
            await alice.person.say(str(self.town.street), f"lost {number}")
        await alice.upload(1)
        since = await token(bob)
        # However it went back: with a disk image, nobody makes the database safe.
        for safely in (False, True):
            await self.restore(safely=safely)
            answer = await sync(bob, since, timeout=60_000)
            self.assertIn(self.town.street, answer["rooms"]["join"])
            section = answer["rooms"]["join"][str(self.town.street)]
            kinds = {event["type"] for event in section["state"]["events"]}
            kinds |= {event["type"] for event in section["timeline"]["events"]}
            self.assertIn("m.room.create", kinds)
            answering = await waiting(bob, answer["next_batch"])
            await alice.person.say(str(self.town.street), "found")
            found = timeline(await answering, str(self.town.street))
            self.assertEqual(texts(found), ["found"])

    async def test_22_a_token_of_the_lost_time_stays_one_for_ever(self) -> None:
        """22: also when the restored stream has grown past it, and nothing is taken for known."""
        alice, bob = await self.town.people("alice", "bob")
        await self.back_up()
        for number in range(4):
            await alice.send(f"lost {number}", {bob.user_id: {"*": {"body": f"lost {number}"}}})
        lost: str | None = None
        while True:
            answer = await sync(bob, lost)
            lost = answer["next_batch"]
            if not bodies(answer):
                break
        await self.restore(safely=True)
        await alice.upload(1)
        for number in range(30):
            await alice.send(str(number), {bob.user_id: {bob.device_id: {"body": number}}})
        for restart in (False, True):
            if restart:
                await self.town.server.restart()
            answer = await sync(bob, lost)
            self.assertEqual(bodies(answer), [*range(30)], "deleted as if it had been received")
            self.assertIn(self.town.street, answer["rooms"]["join"])
        await self.town.settle()
        after = await sync(bob, answer["next_batch"])
        self.assertEqual((bodies(after), changed(after)), ([], []))


class BackupInvariants(Stories):
    """Alice backs up the keys of her conversations, and loses her phone."""

    async def create(self, who: Device, public_key: str) -> str:
        """A new backup; its version."""
        body = {
            "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
            "auth_data": {"public_key": public_key, "signatures": {}},
        }
        return str((await who.ok("POST", VERSION, body))["version"])

    async def test_21_what_was_backed_up_is_read_on_a_new_device(self) -> None:
        """21: every session that was accepted comes back, and opens the messages it is for."""
        alice = await self.town.person("alice")
        recovery = olm.PkDecryption()
        version = await self.create(alice, recovery.public_key)
        rooms: Json = {}
        messages = {}
        for number in range(20):
            room_id = f"!room{number % 3}:localhost"
            sending = olm.OutboundGroupSession()
            receiving = olm.InboundGroupSession(sending.session_key)
            messages[room_id, sending.id] = sending.encrypt(f"secret {number}")
            session = self.encrypted(recovery.public_key, receiving.export_session(0))
            rooms.setdefault(room_id, {"sessions": {}})["sessions"][sending.id] = session
        for room_id, sessions in rooms.items():
            await alice.ok("PUT", f"{KEYS}/{room_id}?version={version}", sessions)
        await self.town.server.restart()
        laptop = await self.town.person("alice", "LAPTOP")
        await self.town.log_out(alice)
        self.assertEqual((await laptop.ok("GET", VERSION))["count"], 20)
        kept = (await laptop.ok("GET", f"{KEYS}?version={version}"))["rooms"]
        opened = set()
        for room_id, room in kept.items():
            for session_id, session in room["sessions"].items():
                key = self.decrypted(recovery, session)
                restored = olm.InboundGroupSession.import_session(key)
                opened.add(restored.decrypt(messages[room_id, session_id])[0])
        self.assertEqual(opened, {f"secret {number}" for number in range(20)})

    async def test_21_sessions_etag_and_count_change_together_or_not_at_all(self) -> None:
        """21: an upload that fails leaves nothing, and many at once leave the true numbers."""
        alice = await self.town.person("alice")
        laptop = await self.town.person("alice", "LAPTOP")
        version = await self.create(alice, olm.PkDecryption().public_key)

        async def put(who: Device, name: str) -> Json:
            body = {"rooms": {"!r:localhost": {"sessions": {name: self.session(name)}}}}
            return await who.ok("PUT", f"{KEYS}?version={version}", body)

        def refuse(*whatever: Any) -> None:
            raise Forbidden("The count cannot be changed")

        first = await put(alice, "first")
        failing = self.patch(key_backup, "count_change", refuse)
        for method, path, body in (
            ("PUT", f"{KEYS}/!r:localhost/second?version={version}", self.session("second")),
            ("PUT", f"{KEYS}/!r:localhost/first?version={version}", self.session("better", True)),
            ("DELETE", f"{KEYS}/!r:localhost/first?version={version}", None),
        ):
            self.assertEqual((await alice.refused(method, path, body))[0], 403)
        failing.restore()
        kept = await alice.ok("GET", f"{KEYS}?version={version}")
        self.assertEqual(
            kept["rooms"], {"!r:localhost": {"sessions": {"first": self.session("first")}}}
        )
        described = await alice.ok("GET", VERSION)
        self.assertEqual({k: described[k] for k in ("etag", "count")}, first)
        # Two devices upload at once, some of it twice.
        names = [f"s{number % 15}" for number in range(30)]
        answers = await self.at_once(
            *(put((alice, laptop)[number % 2], name) for number, name in enumerate(names))
        )
        self.assertEqual(len({answer["etag"] for answer in answers}), 15)
        await self.town.server.restart()
        described = await alice.ok("GET", VERSION)
        kept = await alice.ok("GET", f"{KEYS}?version={version}")
        sessions = kept["rooms"]["!r:localhost"]["sessions"]
        self.assertEqual(set(sessions), {"first", *names})
        self.assertEqual(described["count"], len(sessions))
        self.assertEqual(described["etag"], max((a["etag"] for a in answers), key=int))

    def session(self, data: str, verified: bool = False) -> Json:
        """A key in a backup, as far as the server looks at it."""
        return {
            "first_message_index": 0,
            "forwarded_count": 0,
            "is_verified": verified,
            "session_data": {"ciphertext": data, "ephemeral": "e", "mac": "m"},
        }

    def encrypted(self, public_key: str, session_key: str) -> Json:
        """A session's key, which only the owner of the recovery key can read."""
        plain = {"algorithm": "m.megolm.v1.aes-sha2", "session_key": session_key}
        message = olm.PkEncryption(public_key).encrypt(orjson.dumps(plain).decode())
        data = {
            "ciphertext": message.ciphertext,
            "ephemeral": message.ephemeral_key,
            "mac": message.mac,
        }
        return {**self.session(""), "session_data": data}

    def decrypted(self, recovery: Any, session: Json) -> str:
        data = session["session_data"]
        message = olm.PkMessage(data["ephemeral"], data["mac"], data["ciphertext"])
        return str(orjson.loads(recovery.decrypt(message))["session_key"])
