"""Sealed files: who takes the disk away has nothing, and who changes it is found out."""

import os
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.web.client import ResponseFailed

from homeserver.media.sealing import PART, SALT, TAG, Damaged, Seal
from homeserver.settings import ConfigError
from tests.media_case import MediaTest, picture
from tests.test_thumbnails import animation

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
VARIABLE = "HEARTH_TEST_MEDIA_KEY"
CHUNK = PART + TAG


class KeyTest(MediaTest):
    """A server whose disk is not to be trusted."""

    async def setUp(self) -> None:
        self.environment(KEY)
        await super().setUp()

    def environment(self, key: bytes | str | None) -> None:
        """What the server finds in its environment."""
        environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
        if key is not None:
            environ[VARIABLE] = key if isinstance(key, str) else b64encode(key).decode() + "\n"
        self.patch(os, "environ", environ)

    async def restart(self, variable: str | None = VARIABLE) -> None:
        """Stop, and start with another configuration."""
        self.hearth._settings = {"media": {"sealing_key_variable": variable}}
        await self.hearth.restart()

    def the_file(self, folder: str = "originals") -> Path:
        (name,) = [name for name in self.on_disk() if name.startswith(folder)]
        return self.folder / name


class SealedMediaTest(KeyTest):
    """Files are sealed from the beginning."""

    media = {"sealing_key_variable": VARIABLE}

    async def test_nothing_readable_is_on_the_disk(self) -> None:
        secret = b"for our eyes only "
        item = await self.upload(secret * 20_000, "text/plain", "letter.txt")
        data = self.the_file().read_bytes()
        self.assertNotIn(secret, data)
        self.assertEqual(len(data), SALT + 360_000 + 6 * TAG)
        answer = await self.download(item)
        self.assertTrue(answer.body == secret * 20_000)
        self.assertEqual((answer.length, answer.header("Content-Type")), (360_000, "text/plain"))
        await self.restart()
        self.assertTrue((await self.download(item)).body == secret * 20_000)

    async def test_parts_of_a_sealed_film(self) -> None:
        film = os.urandom(3 * PART + 17)
        item = await self.upload(film, "video/mp4")
        for start, stop in (
            (0, 1),
            (PART - 1, PART + 1),
            (5, 2 * PART + 10),
            (3 * PART, 3 * PART + 17),
        ):
            answer = await self.download(item, range=f"bytes={start}-{stop - 1}")
            self.assertEqual(answer.code, 206)
            self.assertTrue(answer.body == film[start:stop], (start, stop))

    async def test_thumbnails_of_sealed_pictures_are_sealed(self) -> None:
        for data, kind in ((picture(300, 300), "PNG"), (animation("GIF"), "WEBP")):
            item = await self.upload(data)
            for _ in range(2):
                answer = await self.thumbnail(item, 96, 96, "crop&animated=true")
                self.assertEqual((answer.code, answer.picture.format), (200, kind))
        for name in self.on_disk():
            data = (self.folder / name).read_bytes()
            for magic in (b"PNG", b"IHDR", b"GIF8", b"RIFF", b"WEBP"):
                self.assertNotIn(magic, data[:200], name)
        self.assertEqual(len(self.on_disk()), 4 + 1)

    async def test_what_was_changed_on_the_disk_is_not_served(self) -> None:
        item = await self.upload(os.urandom(3 * PART))
        path = self.the_file()
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole[: SALT + 2 * CHUNK], whole + b"x", b"", b"x" * 100):
            path.write_bytes(damaged)
            answer = await self.download(item)
            self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"), len(damaged))
            self.assertIn("damaged", answer.json["error"])
        middle = bytearray(whole)
        middle[SALT + CHUNK + 7] ^= 1
        path.write_bytes(bytes(middle))
        with self.assertRaises(ResponseFailed):
            await self.download(item)
        self.assertEqual(len(self.flushLoggedErrors(Damaged)), 1)
        answer = await self.download(item, range=f"bytes=0-{PART - 1}")
        self.assertEqual(answer.code, 206)

    async def test_a_damaged_picture_has_no_thumbnail(self) -> None:
        item = await self.upload(picture(300, 300) + os.urandom(3 * PART))
        path = self.the_file()
        whole = bytearray(path.read_bytes())
        whole[SALT + CHUNK + 7] ^= 1
        path.write_bytes(bytes(whole))
        answer = await self.thumbnail(item, 32, 32, "crop")
        self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"))

    async def test_files_cannot_be_exchanged(self) -> None:
        first = await self.upload(b"first")
        path = self.the_file()
        data = path.read_bytes()
        second = await self.upload(b"second")
        (other,) = [
            self.folder / n for n in self.on_disk() if n.startswith("o") and self.folder / n != path
        ]
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        for item in (first, second):
            self.assertEqual((await self.download(item)).code, 404)
        path.write_bytes(b"plain, and so chosen by somebody else")
        self.assertEqual((await self.download(first)).code, 404)

    async def test_the_key_is_asked_for_at_the_start(self) -> None:
        await self.upload(b"x")
        for key, variable, word in (
            (None, VARIABLE, "is not set"),
            (OTHER, VARIABLE, "another key"),
            (KEY[:16], VARIABLE, "32 random bytes"),
            (bytes(32), VARIABLE, "32 random bytes"),
            ("not base64!", VARIABLE, "32 random bytes"),
            (KEY, None, "say which environment variable"),
        ):
            self.environment(key)
            with self.assertRaises(ConfigError) as caught:
                await self.restart(variable)
            self.assertIn(word, str(caught.exception))
            self.assertIn("media.sealing_key_variable", str(caught.exception))
            self.assertNotIn(b64encode(KEY).decode(), str(caught.exception))
        self.environment(KEY)
        await self.restart()


class FromBeforeTest(KeyTest):
    """A server that begins to seal when it has files already."""

    async def test_files_from_before_stay_readable(self) -> None:
        old = picture(300, 300)
        item = await self.upload(old)
        await self.thumbnail(item, 32, 32, "crop")
        await self.restart()
        new = await self.upload(b"secret")
        self.assertEqual((await self.download(item)).body, old)
        self.assertEqual((await self.download(new)).body, b"secret")
        for size in (32, 96):
            answer = await self.thumbnail(item, size, size, "crop")
            self.assertEqual((answer.code, answer.picture.size), (200, (size, size)))
        plain = [name for name in self.on_disk() if b"PNG" in (self.folder / name).read_bytes()]
        self.assertEqual(len(plain), 3)


class FormTest(TestCase):
    """The sealed form itself, with any content."""

    def sealed(self, content: bytes, key: bytes = KEY, name: str = "originals/a") -> bytes:
        with TemporaryFile() as source, TemporaryFile() as file:
            source.write(content)
            source.seek(0)
            self.assertEqual(Seal(key).form(name).copy(source, file), len(content))
            file.seek(0)
            return file.read()

    def opened(self, data: bytes, key: bytes = KEY, name: str = "originals/a") -> bytes:
        """Everything, the way a download reads it."""
        form = Seal(key).form(name)
        with file_with(data) as file:
            size = form.look(file)
            return b"".join(form.read(file, size, place) for place in range(0, size, PART))

    def test_every_size_comes_back(self) -> None:
        for size in (0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 5):
            content = os.urandom(size)
            data = self.sealed(content)
            self.assertTrue(self.opened(data) == content, size)
            self.assertEqual(len(data), SALT + size + TAG * max(1, -(-size // PART)))

    def test_the_same_content_looks_different_each_time(self) -> None:
        self.assertNotEqual(self.sealed(b"x" * 100), self.sealed(b"x" * 100))

    def test_chunks_cannot_be_moved_left_out_or_repeated(self) -> None:
        data = self.sealed(os.urandom(3 * PART + 5))
        head, body = data[:SALT], data[SALT:]
        a, b, c, d = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
        for parts in (
            (b, a, c, d),
            (a, c, d),
            (a, b, c),
            (a, b),
            (a,),
            (a, a, c, d),
            (d,),
            (a, b, c, d, d),
            (),
        ):
            with self.assertRaises(Damaged):
                self.opened(head + b"".join(parts))

    def test_another_key_another_name_another_salt(self) -> None:
        data = self.sealed(b"content")
        for key, name in ((OTHER, "originals/a"), (KEY, "originals/b"), (KEY, "thumbnails/a")):
            with self.assertRaises(Damaged):
                self.opened(data, key, name)
        with self.assertRaises(Damaged):
            self.opened(self.sealed(b"content")[:SALT] + data[SALT:])

    @settings(deadline=None)
    @given(st.integers(0, 100), st.data())
    def test_no_bit_can_be_changed(self, size: int, data: st.DataObject) -> None:
        content = bytes(size)
        sealed = bytearray(self.sealed(content))
        place = data.draw(st.integers(0, len(sealed) - 1))
        sealed[place] ^= 1 << data.draw(st.integers(0, 7))
        with self.assertRaises(Damaged):
            self.opened(bytes(sealed))
            self.fail("it was opened")


def file_with(data: bytes) -> IO[bytes]:
    file = TemporaryFile()
    file.write(data)
    file.flush()
    return file
