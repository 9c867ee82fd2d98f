"""Quotas: one person cannot fill the disk, nor can all of them."""

from socket import SHUT_WR

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from homeserver.media.quotas import EVERYBODY, SMALLEST, Quotas
from schema.errors import Forbidden
from storage import media_totals
from tests.media_case import V1, V3, Answered, MediaTest
from tests.support import Person, WireTest

PERSON, SERVER = 20_000, 30_000
CREATE = "/_matrix/media/v1/create"


class QuotaTest(MediaTest):
    """Alice and Bob on a small disk."""

    media = {"person_quota_bytes": PERSON, "server_quota_bytes": SERVER}

    async def send(self, who: str, size: int) -> Answered:
        return await self.call("POST", f"{V3}/upload", who, b"x" * size)

    async def used(self, owner: str = EVERYBODY) -> int:
        """How much is counted for the owner of a quota."""
        totals = await self.store.read(lambda txn: media_totals.totals(txn, [owner]))
        return totals.get(owner, 0)

    async def test_alice_stores_as_much_as_her_quota_and_not_a_byte_more(self) -> None:
        self.assertEqual((await self.send("alice", 12_000)).code, 200)
        answer = await self.send("alice", 8_001)
        self.assertEqual(answer.refusal, (403, "M_FORBIDDEN"))
        self.assertIn("19.5 KiB", answer.json["error"])
        self.assertEqual((len(self.on_disk()), await self.used()), (1, 12_000))
        self.assertEqual((await self.send("alice", 8_000)).code, 200)
        self.assertEqual((await self.send("alice", 1)).code, 403)
        self.assertEqual((await self.call("POST", CREATE)).refusal, (403, "M_FORBIDDEN"))
        self.assertEqual((await self.send("bob", 10_000)).code, 200)

    async def test_everybody_together_has_a_quota_too(self) -> None:
        self.assertEqual((await self.send("alice", 20_000)).code, 200)
        answer = await self.send("bob", 10_001)
        self.assertEqual(answer.refusal, (403, "M_FORBIDDEN"))
        self.assertIn("organizer", answer.json["error"])
        self.assertEqual((await self.send("bob", 10_000)).code, 200)
        self.assertEqual(await self.used(), 30_000)

    async def test_many_small_files_count_as_blocks_of_the_disk(self) -> None:
        codes = [(await self.send("alice", size)).code for size in (0, 1, 2, 3, 4)]
        self.assertEqual(codes, [200, 200, 200, 200, 403])
        self.assertEqual(await self.used(), 4 * SMALLEST)

    async def test_what_was_announced_counts_when_it_comes(self) -> None:
        uri = (await self.call("POST", CREATE)).json["content_uri"].removeprefix("mxc://")
        self.assertEqual(await self.used(), 0)
        path = f"{V3}/upload/{uri}"
        self.assertEqual((await self.call("PUT", path, data=b"x" * 20_001)).code, 403)
        self.assertEqual(self.on_disk(), [])
        self.assertEqual((await self.call("PUT", path, data=b"x" * 20_000)).code, 200)
        self.assertEqual((await self.call("PUT", path, data=b"x")).code, 409)
        self.assertEqual((await self.used(), len(self.on_disk())), (20_000, 1))

    async def test_uploads_at_the_same_time_do_not_share_the_same_room(self) -> None:
        calls = [Deferred.fromCoroutine(self.send("alice", 9_000)) for _ in range(6)]
        codes = sorted(answer.code for answer in await gatherResults(calls))
        self.assertEqual(codes, [200, 200, 403, 403, 403, 403])
        self.assertEqual((await self.used(), len(self.on_disk())), (18_000, 2))

    async def test_what_is_removed_is_given_back(self) -> None:
        await self.send("alice", 20_000)
        quotas = Quotas(PERSON, 0, SERVER)
        files = [(self.ids["alice"], 15_000), (self.ids["alice"], 1)]
        await self.store.write(lambda txn: quotas.give_back(txn, files))
        self.assertEqual(await self.used(self.ids["alice"]), 20_000 - 15_000 - SMALLEST)
        self.assertEqual((await self.send("alice", 19_097)).code, 403)
        self.assertEqual((await self.send("alice", 19_096)).code, 200)

    async def test_without_a_quota_there_is_no_limit(self) -> None:
        await self.store.read(lambda txn: Quotas(0, 0, 0).check(txn, "@a:b", 2**50))
        with self.assertRaises(Forbidden):
            await self.store.read(lambda txn: Quotas(0, 0, 5).check(txn, "@a:b", 1))


class LargeUploadTest(MediaTest):
    """An upload that would be a gigabyte."""

    media = {"max_upload_bytes": 2**30}

    async def test_a_gigabyte_that_stops_in_the_middle_leaves_nothing(self) -> None:
        self.assertEqual((await self.call("GET", f"{V1}/config")).json["m.upload.size"], 2**30)

        def begin(how: bytes, part: bytes) -> None:
            with self.connect(f"POST {V3}/upload", "alice") as connection:
                connection.sendall(how + b"\r\n\r\n")
                for _ in range(20):
                    connection.sendall(part)
                connection.shutdown(SHUT_WR)
                self.assertEqual(connection.recv(1), b"")  # the server has noticed

        megabyte = b"x" * 2**20
        chunk = b"100000\r\n" + megabyte + b"\r\n"
        await deferToThread(begin, b"Content-Length: 1073741824", megabyte)
        await deferToThread(begin, b"Transfer-Encoding: chunked", chunk)
        await self.call("GET", f"{V1}/config")
        self.assertEqual(self.on_disk(), [])
        totals = await self.store.read(lambda txn: media_totals.totals(txn, [EVERYBODY]))
        self.assertEqual(totals, {EVERYBODY: 0})


class ExpiryTest(MediaTest):
    """What was announced and never came."""

    async def test_the_server_forgets_announcements_that_are_too_old(self) -> None:
        for _ in range(3):
            await self.call("POST", CREATE)
        count, expire = "SELECT COUNT(*) FROM media", "UPDATE media SET expires_at = 5"
        await self.hearth.app.repository.housekeeping.run()
        self.assertEqual(await self.store.read(lambda txn: txn.value(count)), 3)
        await self.store.write(lambda txn: txn.run(expire))
        await self.upload(b"stays")
        await self.hearth.app.repository.housekeeping.run()
        self.assertEqual(await self.store.read(lambda txn: txn.value(count)), 1)


class FamilyQuotaTest(WireTest):
    """A family shares what it may store."""

    async def test_what_one_stores_the_others_cannot(self) -> None:
        hearth = await self.server(media={"family_quota_bytes": 20_000})
        ann, ben, carl = await hearth.people("ann", "ben", "carl")
        families, store = hearth.app.rooms.families, hearth.app.storage.store
        roster = {ann.id: "guardian", ben.id: "child"}
        room = await store.write(lambda txn: families.create(txn, "Baker", roster))

        async def upload(who: Person, size: int) -> int:
            return (await who.call("POST", f"{V3}/upload", raw=b"x" * size))[0]

        self.assertEqual(await upload(ann, 20_001), 403)
        self.assertEqual(await upload(ann, 12_000), 200)
        self.assertEqual(await upload(ben, 8_001), 403)
        _, answer = await ben.call("POST", f"{V3}/upload", raw=b"x" * 8_001)
        self.assertIn("Your family", answer["error"])
        self.assertEqual(await upload(carl, 30_000), 200, "who is in no family")
        self.assertEqual(await upload(ben, 8_000), 200)
        alone = {ann.id: "guardian"}
        await store.write(lambda txn: families.follow(txn, room, alone))
        self.assertEqual(await upload(ann, 8_000), 200, "ben's files are his own now")
        self.assertEqual(await upload(ann, 1), 403)
