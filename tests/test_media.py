"""Media: Alice uploads, Bob looks at it, and Mallory tries what she can."""

import os
from io import BytesIO
from time import time
from unittest import TestCase
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from homeserver.clock import system_clock
from homeserver.media import files as media_files
from homeserver.media import media
from homeserver.media.media import PENDING_FOR
from homeserver.media.names import clean_file_name
from rest.file_answers import name_parameter
from schema.errors import BadRequest, Unavailable
from storage.media import MediaFile, fill
from tests.media_case import MAX_UPLOAD, V1, V3, MediaTest, name_in, parsed_name, picture


class UploadTest(MediaTest):
    """Files go in and come out as they were."""

    async def test_what_alice_uploads_bob_downloads_byte_by_byte(self) -> None:
        data = os.urandom(700_001)
        item = await self.upload(data, "application/pdf", "plan.pdf")
        self.assertRegex(item, r"^localhost/[A-Za-z0-9_-]{24,}$")
        answer = await self.download(item)
        self.assertEqual((answer.code, answer.body == data), (200, True))
        self.assertEqual(answer.header("Content-Type"), "application/pdf")
        self.assertEqual(answer.header("Content-Disposition"), 'attachment; filename="plan.pdf"')
        self.assertEqual(answer.length, len(data))
        self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
        self.assertEqual(answer.header("Cross-Origin-Resource-Policy"), "cross-origin")
        self.assertEqual(answer.header("Access-Control-Allow-Origin"), "*")
        self.assertTrue(answer.header("Content-Security-Policy").startswith("sandbox; "))
        self.assertIn("immutable", answer.header("Cache-Control"))
        self.assertIn("private", answer.header("Cache-Control"))

    async def test_an_empty_file_is_a_file(self) -> None:
        item = await self.upload(b"")
        answer = await self.download(item)
        self.assertEqual((answer.code, answer.body), (200, b""))
        self.assertEqual(answer.header("Content-Type"), "application/octet-stream")
        self.assertEqual(answer.header("Content-Disposition"), "attachment")

    async def test_old_names_of_the_upload_path_work(self) -> None:
        for version in ("r0", "v1"):
            answer = await self.call("POST", f"/_matrix/media/{version}/upload", data=b"x")
            self.assertEqual(answer.code, 200)

    async def test_without_a_token_there_is_nothing(self) -> None:
        item = await self.upload(b"secret", "text/plain")
        for path in (f"download/{item}", f"thumbnail/{item}?width=1&height=1", "config"):
            answer = await self.call("GET", f"{V1}/{path}", None)
            self.assertEqual(answer.refusal, (401, "M_MISSING_TOKEN"), path)
        answer = await self.call("POST", f"{V3}/upload", None, b"x")
        self.assertEqual(answer.refusal, (401, "M_MISSING_TOKEN"))
        self.assertEqual(len(self.on_disk()), 1)

    async def test_the_unauthenticated_paths_are_frozen(self) -> None:
        item = await self.upload(picture(), "image/png")
        for path in (f"download/{item}", f"download/{item}/x", f"thumbnail/{item}"):
            for version in ("v3", "r0", "v1"):
                answer = await self.call("GET", f"/_matrix/media/{version}/{path}", None)
                self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"), path)

    async def test_the_size_limit_is_told_and_kept(self) -> None:
        for base in (V1, V3):
            answer = await self.call("GET", f"{base}/config")
            self.assertEqual(answer.json, {"m.upload.size": MAX_UPLOAD})
        await self.upload(b"x" * MAX_UPLOAD)
        answer = await self.call("POST", f"{V3}/upload", data=b"x" * (MAX_UPLOAD + 1))
        self.assertEqual(answer.refusal, (413, "M_TOO_LARGE"))
        self.assertEqual(len(self.on_disk()), 1)

    async def test_there_are_no_link_previews(self) -> None:
        for base in (V1, V3):
            answer = await self.call("GET", f"{base}/preview_url?url=http://localhost/")
            self.assertEqual(answer.refusal, (404, "M_UNRECOGNIZED"))

    async def test_an_upload_that_stops_in_the_middle_leaves_nothing(self) -> None:
        def half() -> None:
            with self.connect(f"POST {V3}/upload", "alice") as connection:
                connection.sendall(b"Content-Length: 900000\r\n\r\n" + b"x" * 400_000)

        await deferToThread(half)
        await self.call("GET", f"{V1}/config")
        self.assertEqual(self.on_disk(), [])

    async def test_an_upload_whose_client_leaves_during_the_copy_leaves_nothing(self) -> None:
        body = BytesIO(b"x" * 100)
        body.close()
        with self.assertRaises(BadRequest):
            await self.files.keep(body)
        self.assertEqual(self.on_disk(), [])

    async def test_a_full_disk_is_said_and_leaves_nothing(self) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(media_files.os, "fsync", full)
        answer = await self.call("POST", f"{V3}/upload", data=b"x")
        self.assertEqual(answer.refusal, (503, "M_UNKNOWN"))
        self.assertEqual(self.on_disk(), [])

    async def test_a_file_without_its_row_goes_again(self) -> None:
        async def unreachable(work: object) -> None:
            raise Unavailable("no database")

        self.patch(self.store, "write", unreachable)
        answer = await self.call("POST", f"{V3}/upload", data=b"x")
        self.assertEqual(answer.code, 503)
        self.assertEqual(self.on_disk(), [])

    async def test_a_start_removes_what_a_crash_left_half_written(self) -> None:
        incoming = self.folder / "incoming"
        (incoming / "abandoned").write_bytes(b"half")
        os.utime(incoming / "abandoned", (time() - 7200, time() - 7200))
        (incoming / "of another process").write_bytes(b"half")
        self.files.open()
        self.assertEqual(self.on_disk(), ["incoming/of another process"])

    async def test_a_file_that_is_gone_from_the_disk_is_not_found(self) -> None:
        item = await self.upload(picture(), "image/png")
        for name in self.on_disk():
            (self.folder / name).unlink()
        self.assertEqual((await self.download(item)).refusal, (404, "M_NOT_FOUND"))
        self.assertEqual((await self.thumbnail(item, 32, 32)).code, 404)

    async def test_a_client_may_leave_in_the_middle_of_a_download(self) -> None:
        item = await self.upload(b"x")
        os.truncate(self.folder / self.on_disk()[0], 20_000_000)

        def a_little() -> bytes:
            with self.connect(f"GET {V1}/download/{item}", "bob") as connection:
                connection.sendall(b"\r\n")
                return connection.recv(1000)

        self.assertIn(b"\r\nContent-Length: 20000000\r\n", await deferToThread(a_little))
        self.assertEqual((await self.call("GET", f"{V1}/config")).code, 200)
        self.assertEqual(len((await self.download(item)).body), 20_000_000)

    async def test_ids_lead_nowhere_else(self) -> None:
        (self.folder.parent / "secret").write_bytes(b"secret")
        ids = (
            "..%2F..%2Fsecret",
            "..%2f..%2f..%2f..%2fetc%2fpasswd",
            "%2Fetc%2Fpasswd",
            "..",
            ".",
            "%2e%2e",
            "a%0d%0ab",
            "%F0%9F%94%A5",
            "x" * 5000,
            "nobody",
        )
        for media_id in ids:
            for path in (f"download/localhost/{media_id}", f"download/localhost/{media_id}/n"):
                answer = await self.call("GET", f"{V1}/{path}")
                self.assertEqual(answer.code, 404, path)
            answer = await self.thumbnail(f"localhost/{media_id}", 32, 32)
            self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"), media_id)
            answer = await self.call("PUT", f"{V3}/upload/localhost/{media_id}", data=b"x")
            self.assertEqual(answer.code, 404, media_id)
        answer = await self.call("GET", f"{V1}/download/localhost/a%00b")
        self.assertEqual(answer.refusal, (400, "M_INVALID_PARAM"))
        self.assertEqual(self.on_disk(), [])

    async def test_media_of_other_servers_are_refused(self) -> None:
        item = await self.upload(b"x")
        media_id = item.partition("/")[2]
        for server in ("matrix.org", "LOCALHOST", "localhost:8448", "%2e%2e", "127.0.0.1"):
            answer = await self.download(f"{server}/{media_id}")
            self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"))
            answer = await self.thumbnail(f"{server}/{media_id}", 32, 32)
            self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"))
            answer = await self.call("PUT", f"{V3}/upload/{server}/{media_id}", data=b"x")
            self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"))


class NamesAndTypesTest(MediaTest):
    """What a client says about a file is told on, as far as it does no harm."""

    async def test_file_names_come_back_as_they_were(self) -> None:
        names = ("ascii.txt", "with space", "name;with;semicolons", '"quoted" \\ 100%', "☕ né.pdf")
        for name in (*names, "../../etc/passwd", "a" * 200):
            answer = await self.download(await self.upload(b"x", "text/plain", name))
            self.assertEqual(name_in(answer), name)
            self.assertTrue(answer.header("Content-Disposition").startswith("inline; filename"))

    async def test_a_file_name_is_no_way_into_the_headers(self) -> None:
        item = await self.upload(b"x", "text/plain", "a\r\nSet-Cookie: b=c\x7f\u0085.txt")
        for answer, name in (
            (await self.download(item), "aSet-Cookie: b=c.txt"),
            (await self.download(item, "/x%0d%0aSet-Cookie:%20b=c%22"), 'xSet-Cookie: b=c"'),
        ):
            self.assertEqual((answer.code, name_in(answer)), (200, name))
            self.assertFalse(answer.headers.hasHeader("Set-Cookie"))
            self.assertNotIn("\n", answer.header("Content-Disposition"))
        answer = await self.call("POST", f"{V3}/upload?filename=a%00b", data=b"x")
        self.assertEqual(answer.refusal, (400, "M_INVALID_PARAM"))

    async def test_a_very_long_file_name_keeps_its_ending(self) -> None:
        answer = await self.download(await self.upload(b"x", "text/plain", "n" * 5000 + ".txt"))
        name = name_in(answer)
        self.assertEqual((len(name), name[-4:]), (200, ".txt"))

    async def test_the_path_may_name_the_file(self) -> None:
        item = await self.upload(b"x", "text/plain", "stored.txt")
        answer = await self.download(item, "/" + quote("wünsche.txt"))
        self.assertEqual(name_in(answer), "wünsche.txt")
        self.assertEqual(name_in(await self.download(item)), "stored.txt")

    async def test_only_harmless_types_are_shown_inline_and_active_ones_lose_their_type(
        self,
    ) -> None:
        document = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        octets = "application/octet-stream"
        for claimed, served, disposition in (
            ("image/png", "image/png", "inline"),
            ("text/plain; charset=utf-8", "text/plain; charset=utf-8", "inline"),
            ("Image/JPEG", "Image/JPEG", "inline"),
            ("img/png", "img/png", "attachment"),
            ("application/pdf", "application/pdf", "attachment"),
            (document, document, "attachment"),
            ("text/html", octets, "attachment"),
            ("TEXT/HTML ; charset=utf-8", octets, "attachment"),
            ("image/svg+xml", octets, "attachment"),
            ("application/xhtml+xml", octets, "attachment"),
            ("application/javascript", octets, "attachment"),
            ("text/plain, text/html", octets, "attachment"),
            ("text", octets, "attachment"),
            ("x/" + "y" * 300, octets, "attachment"),
            ("☕/☕", octets, "attachment"),
        ):
            answer = await self.download(await self.upload(b"<script>", claimed))
            got = answer.header("Content-Type"), answer.header("Content-Disposition")
            self.assertEqual(got, (served, disposition), claimed)


class AnnouncedUploadTest(MediaTest):
    """A content URI first, the content later."""

    async def announce(self, who: str = "alice") -> str:
        """Somebody announces an upload; the server name and media id."""
        answer = await self.call("POST", "/_matrix/media/v1/create", who)
        self.assertEqual(answer.code, 200, answer.body)
        expires_in = answer.json["unused_expires_at"] - system_clock()
        self.assertTrue(0 <= PENDING_FOR - expires_in < 60_000)
        return answer.json["content_uri"].removeprefix("mxc://")

    async def let_announcements_expire(self) -> None:
        """A day goes by."""
        sql = "UPDATE media SET expires_at = expires_at - ?"
        await self.store.write(lambda txn: txn.run(sql, PENDING_FOR))

    async def test_alice_announces_and_uploads_later(self) -> None:
        item = await self.announce()
        answer = await self.download(item, "?timeout_ms=0")
        self.assertEqual(answer.refusal, (504, "M_NOT_YET_UPLOADED"))
        path = f"{V3}/upload/{item}?filename=late.txt"
        answer = await self.call("PUT", path, "alice", b"late", "text/plain")
        self.assertEqual((answer.code, answer.json), (200, {}))
        answer = await self.download(item)
        self.assertEqual((answer.code, answer.body, name_in(answer)), (200, b"late", "late.txt"))

    async def test_what_is_there_is_never_overwritten(self) -> None:
        item = await self.announce()
        await self.call("PUT", f"{V3}/upload/{item}", data=b"first")
        for again in (item, await self.upload(b"whole")):
            answer = await self.call("PUT", f"{V3}/upload/{again}", data=b"second")
            self.assertEqual(answer.refusal, (409, "M_CANNOT_OVERWRITE_MEDIA"))
        self.assertEqual((await self.download(item)).body, b"first")
        self.assertEqual(len(self.on_disk()), 2)

    async def test_of_two_uploads_at_once_one_wins_and_nothing_is_mixed(self) -> None:
        item = await self.announce()
        path, bodies = f"{V3}/upload/{item}", (b"1" * 500_000, b"2" * 500_000)
        calls = [
            Deferred.fromCoroutine(self.call("PUT", path, "alice", body)) for body in bodies * 2
        ]
        codes = [answer.code for answer in await gatherResults(calls)]
        self.assertEqual(sorted(codes), [200, 409, 409, 409])
        winner = bodies[codes.index(200) % 2]
        self.assertTrue((await self.download(item)).body == winner)
        self.assertEqual(len(self.on_disk()), 1)

    async def test_nobody_else_uploads_what_alice_announced(self) -> None:
        item = await self.announce()
        answer = await self.call("PUT", f"{V3}/upload/{item}", "bob", b"x")
        self.assertEqual(answer.refusal, (403, "M_FORBIDDEN"))
        self.assertEqual(self.on_disk(), [])

    async def test_an_announcement_expires(self) -> None:
        item = await self.announce()
        await self.let_announcements_expire()
        answer = await self.call("PUT", f"{V3}/upload/{item}", data=b"x")
        self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"))
        self.assertEqual((await self.download(item)).refusal, (404, "M_NOT_FOUND"))
        self.assertEqual(self.on_disk(), [])

    async def test_nobody_announces_without_end(self) -> None:
        items = [await self.announce() for _ in range(20)]
        answer = await self.call("POST", "/_matrix/media/v1/create")
        self.assertEqual(answer.refusal, (429, "M_LIMIT_EXCEEDED"))
        self.assertGreater(answer.json["retry_after_ms"], 0)
        await self.announce("bob")
        await self.call("PUT", f"{V3}/upload/{items[0]}", data=b"x")
        await self.announce()
        await self.let_announcements_expire()
        await self.announce()
        self.assertEqual((await self.download(items[0])).code, 200)

    async def test_bob_waits_for_the_upload_and_gets_it(self) -> None:
        self.patch(media, "LOOK_AGAIN_AFTER", 1_000_000)
        item = await self.announce()
        waiting = Deferred.fromCoroutine(self.download(item, "?timeout_ms=20000"))
        await self.call("GET", f"{V1}/config")
        self.assertFalse(waiting.called)
        await self.call("PUT", f"{V3}/upload/{item}", data=b"at last")
        uploaded_at = time()
        answer = await waiting
        self.assertEqual((answer.code, answer.body), (200, b"at last"))
        self.assertLess(time() - uploaded_at, 10)

    async def test_bob_also_gets_what_another_process_has_received(self) -> None:
        self.patch(media, "LOOK_AGAIN_AFTER", 10)
        item = await self.announce()
        waiting = Deferred.fromCoroutine(self.download(item, "?timeout_ms=20000"))
        await self.call("GET", f"{V1}/config")
        file_id, size = await self.files.keep(BytesIO(b"from afar"))
        row = MediaFile(file_id, size, "text/plain", None, False)
        await self.store.write(lambda txn: fill(txn, item.partition("/")[2], row))
        self.assertEqual((await waiting).body, b"from afar")


class FileNameTest(TestCase):
    """The rules for file names, with any text at all."""

    def test_a_name_of_blanks_is_no_name(self) -> None:
        self.assertIsNone(clean_file_name(" \t\n"))

    @settings(deadline=None)
    @given(
        st.text(max_size=400).filter(lambda name: not any("\ud800" <= c <= "\udfff" for c in name))
    )
    def test_a_header_with_any_name_is_plain_text_and_gives_the_name_back(self, name: str) -> None:
        clean = clean_file_name(name)
        parameter = name_parameter(clean)
        self.assertTrue(parameter.isascii() and (parameter.isprintable()))
        self.assertEqual(parsed_name("inline" + parameter), clean)
