"""Parts of files, and files that the client has already: what a video player and a cache ask."""

import os
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.threads import deferToThread

from homeserver.media.sealing import PART
from rest.file_answers import wanted_range
from tests.media_case import V1, MediaTest, picture


class RangeTest(MediaTest):
    """Bob looks at the middle of a film."""

    async def test_bob_jumps_about_in_a_film(self) -> None:
        film = os.urandom(3 * PART + 17)
        size = len(film)
        item = await self.upload(film, "video/mp4")
        for wanted, start, stop in (
            ("bytes=0-0", 0, 1),
            ("bytes=0-", 0, size),
            (f"bytes={PART - 1}-{PART}", PART - 1, PART + 1),
            (f"bytes=5-{2 * PART + 9}", 5, 2 * PART + 10),
            (f"bytes={size - 1}-{size + 100}", size - 1, size),
            ("bytes=-20", size - 20, size),
            (f"Bytes= -{size + 5}", 0, size),
        ):
            answer = await self.download(item, range=wanted)
            self.assertEqual((answer.code, answer.length), (206, stop - start), wanted)
            self.assertTrue(answer.body == film[start:stop], wanted)
            said = answer.header("Content-Range")
            self.assertEqual(said, f"bytes {start}-{stop - 1}/{size}", wanted)
            self.assertEqual(answer.header("Content-Type"), "video/mp4")
            self.assertTrue(answer.header("Content-Security-Policy").startswith("sandbox; "))

    async def test_behind_the_end_there_is_nothing(self) -> None:
        item, empty = await self.upload(b"0123456789"), await self.upload(b"")
        for which, wanted in ((item, "bytes=10-"), (item, "bytes=-0"), (empty, "bytes=0-")):
            answer = await self.download(which, range=wanted)
            self.assertEqual(answer.refusal, (416, "M_INVALID_PARAM"), wanted)
            size = 10 if which is item else 0
            self.assertEqual(answer.header("Content-Range"), f"bytes */{size}")
            self.assertFalse(answer.headers.hasHeader("Cache-Control"))

    async def test_what_is_not_one_range_gets_everything(self) -> None:
        item = await self.upload(b"0123456789")
        for wanted in (
            "bytes=0-1,4-5",
            "bytes=5-2",
            "bytes=-",
            "bytes",
            "lines=1-2",
            "bytes=x-y",
            "bytes=1-2-3",
            "bytes=" + "9" * 5000 + "-",
            "bytes=\u0661-\u0662",
        ):
            answer = await self.download(item, range=wanted)
            self.assertEqual((answer.code, answer.body), (200, b"0123456789"), wanted)
            self.assertEqual(answer.header("Accept-Ranges"), "bytes")

    async def test_a_range_counts_only_for_the_file_that_the_client_knows(self) -> None:
        item = await self.upload(b"0123456789")
        tag = (await self.download(item)).header("ETag")
        date = "Sat, 21 Nov 2026 00:00:00 GMT"
        for known, code in ((tag, 206), ('"another"', 200), (f"W/{tag}", 200), (date, 200)):
            answer = await self.download(item, range="bytes=2-3", if_range=known)
            self.assertEqual(answer.code, code, known)

    async def test_thumbnails_have_parts_too(self) -> None:
        item = await self.upload(picture(300, 300), "image/png")
        whole = await self.thumbnail(item, 96, 96, "crop")
        path = f"{V1}/thumbnail/{item}?width=96&height=96&method=crop"
        answer = await self.call("GET", path, "bob", range="bytes=3-9")
        self.assertEqual((answer.code, answer.body), (206, whole.body[3:10]))


class ConditionTest(MediaTest):
    """Who has a file need not get it again."""

    async def test_a_file_that_bob_has_is_not_sent_again(self) -> None:
        item = await self.upload(b"0123456789", "text/plain")
        tag = (await self.download(item)).header("ETag")
        self.assertRegex(tag, r'^"[A-Za-z0-9_-]+"$')
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            answer = await self.download(item, if_none_match=known, range="bytes=0-1")
            self.assertEqual((answer.code, answer.body), (304, b""), known)
            self.assertEqual(answer.header("ETag"), tag)
            self.assertIn("immutable", answer.header("Cache-Control"))
        for known in ('"x"', tag.strip('"'), ""):
            self.assertEqual((await self.download(item, if_none_match=known)).code, 200)

    async def test_different_files_have_different_tags(self) -> None:
        item, other = await self.upload(picture(300, 300)), await self.upload(picture(300, 300))
        answers = [await self.download(item), await self.download(other)]
        answers += [await self.thumbnail(item, size, size, "crop") for size in (32, 96)]
        self.assertEqual(len({answer.header("ETag") for answer in answers}), 4)

    async def test_without_a_token_even_a_known_tag_says_nothing(self) -> None:
        item = await self.upload(b"x")
        tag = (await self.download(item)).header("ETag")
        answer = await self.call("GET", f"{V1}/download/{item}", None, if_none_match=tag)
        self.assertEqual(answer.refusal, (401, "M_MISSING_TOKEN"))

    async def test_head_tells_everything_and_reads_nothing(self) -> None:
        item = await self.upload(b"x" * 500_000, "text/plain", "a.txt")
        reads: list[int] = []
        media = self.hearth.app.repository.media
        parts = media._files.parts

        def counted(file: object, start: int, stop: int) -> object:
            reads.append(stop - start)
            return parts(file, start, stop)

        self.patch(media._files, "parts", counted)

        def head() -> bytes:
            with self.connect(f"HEAD {V1}/download/{item}", "bob") as connection:
                connection.sendall(b"Range: bytes=0-3\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: connection.recv(65536), b""))

        answer, _, body = (await deferToThread(head)).partition(b"\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        for line in (b"Content-Length: 500000", b"Accept-Ranges: bytes", b"ETag: "):
            self.assertIn(b"\r\n" + line, answer)
        self.assertIn(b'filename="a.txt"', answer)
        self.assertEqual((body, reads), (b"", []))


class RangeRuleTest(TestCase):
    """The rule that reads a range, with any range at all."""

    @settings(deadline=None)
    @given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
    def test_a_range_is_the_slice_that_it_names(self, size: int, first: int, last: int) -> None:
        data = bytes(range(size))
        if last >= first:
            found = wanted_range(f"bytes={first}-{last}", size)
            assert found is not None
            self.assertEqual(data[found[0] : found[1]], data[first : last + 1])
        found = wanted_range(f"bytes=-{last}", size)
        assert found is not None
        self.assertEqual(data[found[0] : found[1]], data[-last:] if last else b"")
