"""Thumbnails: small pictures from large ones, and nothing from what only looks like one."""

import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path
from random import Random
from subprocess import DEVNULL, PIPE, Popen
from time import time
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from twisted.internet.defer import Deferred, gatherResults

from homeserver.media import thumbnails
from homeserver.media.thumbnails import fitting
from storage.media import MediaFile
from tests.media_case import MAX_PIXELS, V1, MediaTest, encoded, picture, png


class ThumbnailTest(MediaTest):
    """Pictures in a handier size."""

    async def test_thumbnails_have_the_sizes_of_the_specification(self) -> None:
        item = await self.upload(picture(1000, 800), "image/png")
        for width, height, method, expected in (
            (20, 20, "crop", (32, 32)),
            (64, 64, "crop", (96, 96)),
            (97, 10, "crop", (320, 320)),
            (32, 32, "scale", (300, 240)),
            (320, 240, "scale", (300, 240)),
            (600, 400, "scale", (600, 480)),
            (800, 600, "scale", (750, 600)),
            (5000, 5000, "crop", (640, 640)),
        ):
            answer = await self.thumbnail(item, width, height, method)
            self.assertEqual(answer.picture.size, expected)
            self.assertEqual(answer.header("Content-Type"), "image/png")
            disposition = answer.header("Content-Disposition")
            self.assertEqual(disposition, 'inline; filename="thumbnail.png"')
            self.assertTrue(answer.header("Content-Security-Policy").startswith("sandbox; "))

    async def test_a_thumbnail_is_made_once(self) -> None:
        item = await self.upload(picture(300, 300), "image/png")
        first = await self.thumbnail(item, 96, 96, "crop")
        self.patch(thumbnails, "WORKER", Path("/nowhere"))
        self.assertEqual((await self.thumbnail(item, 96, 96, "crop")).body, first.body)
        self.assertEqual((await self.thumbnail(item, 32, 32, "crop")).code, 413)

    async def test_many_who_want_the_same_thumbnail_get_it(self) -> None:
        item = await self.upload(picture(300, 300), "image/png")
        calls = [Deferred.fromCoroutine(self.thumbnail(item, 96, 96, "crop")) for _ in range(6)]
        answers = await gatherResults(calls)
        self.assertEqual({(each.code, each.body) for each in answers}, {(200, answers[0].body)})
        self.assertEqual(len(self.on_disk()), 2)

    async def test_a_small_picture_is_its_own_thumbnail(self) -> None:
        for kind in ("PNG", "JPEG", "GIF", "WEBP"):
            data = picture(90, 60, kind=kind)
            answer = await self.thumbnail(await self.upload(data, "text/html"), 96, 96, "crop")
            self.assertEqual(answer.body, data)
            self.assertEqual(answer.header("Content-Type"), f"image/{kind.lower()}")

    async def test_nothing_is_ever_enlarged(self) -> None:
        item = await self.upload(picture(500, 20), "image/png")
        self.assertEqual((await self.thumbnail(item, 96, 96, "crop")).picture.size, (96, 20))
        self.assertEqual((await self.thumbnail(item, 300, 200)).picture.size, (320, 13))

    async def test_crop_shows_the_middle(self) -> None:
        image = Image.new("RGB", (600, 200), "red")
        image.paste("blue", (200, 0, 400, 200))
        answer = await self.thumbnail(await self.upload(encoded(image)), 96, 96, "crop")
        self.assertEqual(answer.picture.size, (96, 96))
        for spot in ((3, 3), (48, 48), (92, 92)):
            self.assertEqual(answer.picture.convert("RGB").getpixel(spot), (0, 0, 255))

    async def test_a_photo_is_turned_upright_and_tells_no_place(self) -> None:
        image = Image.new("RGB", (800, 400), "white")
        image.paste("black", (0, 0, 400, 400))
        exif = Image.Exif()
        exif[0x0112] = 6
        exif.get_ifd(0x8825)[1] = "N"
        for kind in ("JPEG", "PNG", "WEBP"):
            data = encoded(image, kind, exif=exif, comment=b"at home")
            self.assertIn(0x8825, Image.open(BytesIO(data)).getexif())
            item = await self.upload(data, "image/jpeg")
            thumbnail = (await self.thumbnail(item, 320, 240)).picture
            self.assertEqual(thumbnail.size, (120, 240), kind)
            self.assertEqual(dict(thumbnail.getexif()), {})
            self.assertNotIn("comment", thumbnail.info)
            shades = [thumbnail.convert("L").getpixel((60, y)) for y in (5, 235)]
            self.assertEqual([shade > 128 for shade in shades], [False, True], kind)

    async def test_thumbnails_stand_still_unless_motion_is_asked_for(self) -> None:
        for kind in ("GIF", "WEBP", "PNG"):
            item = await self.upload(animation(kind))
            for query in ("", "&animated=false"):
                answer = await self.thumbnail(item, 96, 96, f"crop{query}")
                self.assertFalse(getattr(answer.picture, "is_animated", False), kind)
                self.assertEqual(answer.picture.size, (96, 96))

    async def test_an_animation_moves_if_it_is_to(self) -> None:
        for kind in ("GIF", "WEBP", "PNG"):
            item = await self.upload(animation(kind))
            answer = await self.thumbnail(item, 96, 96, "crop&animated=true")
            self.assertEqual(answer.header("Content-Type"), "image/webp", kind)
            disposition = answer.header("Content-Disposition")
            self.assertEqual(disposition, 'inline; filename="thumbnail.webp"')
            moving = answer.picture
            self.assertEqual((moving.size, moving.n_frames), ((96, 96), 3), kind)
            self.assertEqual(moving.info["loop"], 0)
            for number, colour in enumerate(COLOURS):
                moving.seek(number)
                pixel = moving.convert("RGB").getpixel((48, 48))
                wanted = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
                apart = [
                    abs(is_there - should) for is_there, should in zip(pixel, wanted, strict=True)
                ]
                self.assertLess(max(apart), 40, (kind, number))
                self.assertEqual(moving.info["duration"], 120, kind)

    async def test_a_small_animation_is_its_own_thumbnail(self) -> None:
        for kind in ("GIF", "WEBP", "PNG"):
            data = animation(kind, (60, 60))
            answer = await self.thumbnail(await self.upload(data), 96, 96, "crop&animated=true")
            self.assertTrue(answer.body == data, kind)

    async def test_what_cannot_move_stands_still(self) -> None:
        for kind in ("JPEG", "GIF", "PNG", "WEBP"):
            item = await self.upload(picture(200, 200, kind))
            still = await self.thumbnail(item, 96, 96, "crop")
            asked = await self.thumbnail(item, 96, 96, "crop&animated=true")
            self.assertEqual((asked.code, asked.body == still.body), (200, True), kind)
        answer = await self.thumbnail(item, 96, 96, "crop&animated=perhaps")
        self.assertEqual(answer.refusal, (400, "M_INVALID_PARAM"))

    async def test_every_kind_of_picture_has_a_thumbnail(self) -> None:
        rgb = Image.linear_gradient("L").resize((700, 500)).convert("RGB")
        transparent = rgb.convert("RGBA")
        transparent.putalpha(100)
        for name, data, kind in (
            ("jpeg", encoded(rgb, "JPEG"), "JPEG"),
            ("grey jpeg", encoded(rgb.convert("L"), "JPEG"), "JPEG"),
            ("print jpeg", encoded(rgb.convert("CMYK"), "JPEG"), "JPEG"),
            ("two in one jpeg", encoded(rgb, "MPO", save_all=True, append_images=[rgb]), "JPEG"),
            ("webp", encoded(rgb, "WEBP"), "JPEG"),
            ("transparent webp", encoded(transparent, "WEBP"), "PNG"),
            ("transparent png", encoded(transparent), "PNG"),
            ("palette", encoded(rgb.quantize(16)), "PNG"),
            ("transparent palette", encoded(rgb.quantize(16), transparency=0), "PNG"),
            ("transparent colour", encoded(rgb, transparency=(0, 0, 0)), "PNG"),
            ("grey and alpha", encoded(transparent.convert("LA")), "PNG"),
            ("black and white", encoded(rgb.convert("1")), "PNG"),
            ("sixteen bits", encoded(rgb.convert("L").convert("I;16")), "PNG"),
            ("gif", encoded(rgb, "GIF"), "PNG"),
            ("one pixel wide", encoded(rgb.resize((1, 5000))), "PNG"),
        ):
            answer = await self.thumbnail(await self.upload(data), 320, 240)
            self.assertEqual(answer.code, 200, (name, answer.body[:100]))
            answer.picture.load()
            self.assertEqual(answer.picture.format, kind, name)
            self.assertLessEqual(answer.picture.height, 240, name)

    async def test_wrong_sizes_are_refused(self) -> None:
        item = await self.upload(picture(), "image/png")
        for width, height, method in (
            (0, 32, "crop"),
            (-5, 32, "crop"),
            ("wide", 32, "crop"),
            (32, "", "crop"),
            ("1.5", 32, "crop"),
            (32, 32, "stretch"),
        ):
            answer = await self.thumbnail(item, width, height, method)
            self.assertEqual(answer.refusal, (400, "M_INVALID_PARAM"))
        answer = await self.call("GET", f"{V1}/thumbnail/{item}?width=32")
        self.assertEqual(answer.refusal, (400, "M_MISSING_PARAM"))


COLOURS = ("red", "lime", "blue")


def animation(kind: str, size: tuple[int, int] = (200, 200)) -> bytes:
    """Three colours, one after the other, without end."""
    frames = [Image.new("RGB", size, colour) for colour in COLOURS]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=120, loop=0)


def long_gif(width: int, height: int, frames: int) -> bytes:
    """A GIF whose frames all are a few bytes: one pixel each, on a screen of any size."""
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6)
    frame = b"\x21\xf9\x04\0\x05\0\0\0" + b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0"
    return head + (frame + b"\x02\x02\x44\x01\0") * frames + b";"


class HostilePictureTest(MediaTest):
    """Pictures that were made to do harm."""

    async def test_what_is_no_picture_has_no_thumbnail(self) -> None:
        good = picture(400, 400, kind="JPEG")
        noise = Random(7).randbytes(3000)  # chance may well make something too large of it
        for data in (
            b"",
            b"just text",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"%!PS-Adobe-3.0 EPSF-3.0\n",
            b"II*\0" + bytes(100),
            b"\x89PNG\r\n\x1a\n",
            b"\x89PNG\r\n\x1a\n" + noise,
            b"\xff\xd8\xff" + noise,
            b"GIF89a\x90\0\x90\0" + noise,
            b"GIF89a/*<svg/onload=alert(1)>*/=1;//" + bytes(50),
            b"RIFF\0\0\0\0WEBP" + noise,
            good[: len(good) // 2],
            picture(30, 30)[:-30],
            picture(30, 30, kind="JPEG")[:-30],
        ):
            answer = await self.thumbnail(await self.upload(data, "image/png"), 32, 32, "crop")
            self.assertEqual(answer.refusal, (400, "M_UNKNOWN"), data[:40])
        self.assertFalse([name for name in self.on_disk() if name.startswith("thumbnails")])

    async def test_what_hides_behind_a_picture_stays_behind(self) -> None:
        hidden = b"PK\x03\x04<html><script>alert(1)</script></html>"
        item = await self.upload(picture(500, 500, kind="JPEG") + hidden, "text/html")
        answer = await self.thumbnail(item, 96, 96, "crop")
        self.assertEqual((answer.code, answer.header("Content-Type")), (200, "image/jpeg"))
        self.assertNotIn(hidden, answer.body)
        self.assertEqual((await self.download(item)).header("Content-Type")[:12], "application/")

    async def test_bombs_are_refused(self) -> None:
        text = zlib.compress(bytes(70_000_000), 9)
        for data, code in (
            (png(60_000, 60_000, b""), 413),
            (png(2**31 - 1, 2**31 - 1, b""), 413),
            (png(0, 0, b""), 400),
            (png(20_000, 20_000, bytes(2501 * 20_000)), 413),
            (png(2_001, 1_000, bytes(251 * 1_000)), 413),
            (png(2_000, 1_000, bytes(251 * 1_000)), 200),
            (png(2_000, 1_000, b""), 400),
            (png(10, 10, bytes(30), (b"zTXt", b"a\0\0" + text)), 400),
            (png(10, 10, bytes(30), (b"iCCP", b"a\0\0" + text)), 400),
            (b"GIF89a\xff\xff\xff\xff" + picture(10, 10, kind="GIF")[10:], 413),
        ):
            answer = await self.thumbnail(await self.upload(data, "image/png"), 32, 32, "crop")
            self.assertEqual(answer.code, code, data[:30])
        made = [name for name in self.on_disk() if name.startswith("thumbnails")]
        self.assertEqual(len(made), 1)

    async def test_animations_without_end_become_stills(self) -> None:
        for data in (
            long_gif(1, 1, 32_000),
            long_gif(100, 100, 32_000),
            animation("GIF", (1000, 1000)),
            long_gif(100, 100, 201),
        ):
            began = time()
            answer = await self.thumbnail(await self.upload(data), 32, 32, "crop&animated=true")
            self.assertEqual(answer.code, 200, len(data))
            self.assertFalse(getattr(answer.picture, "is_animated", False), len(data))
            self.assertLess(time() - began, 5)

    async def test_of_what_breaks_off_the_first_frame_is_left(self) -> None:
        for kind in ("GIF", "PNG"):
            data = animation(kind)
            item = await self.upload(data[: len(data) * 3 // 4])
            answer = await self.thumbnail(item, 96, 96, "crop&animated=true")
            self.assertEqual((answer.code, answer.picture.size), (200, (96, 96)), kind)

    async def test_what_hides_behind_an_animation_stays_behind(self) -> None:
        hidden = b"PK\x03\x04<html><script>alert(1)</script></html>"
        item = await self.upload(animation("GIF") + hidden)
        answer = await self.thumbnail(item, 96, 96, "crop&animated=true")
        self.assertEqual(answer.code, 200)
        self.assertNotIn(hidden, answer.body)

    def test_a_worker_has_its_limits_before_it_has_seen_anything(self) -> None:
        arguments = ["GIF", "crop", "32", "32", str(MAX_PIXELS), "still"]
        command = [sys.executable, "-I", str(thumbnails.WORKER), *arguments]
        with Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env={}) as worker:
            own, began, limits = Path(f"/proc/{worker.pid}"), time(), dict[str, str]()
            while limits.get("Max address space", "unlimited") == "unlimited":
                self.assertLess(time() - began, 20)
                lines = own.joinpath("limits").read_text().splitlines()
                limits = {line[:26].strip(): line[26:].split()[0] for line in lines}
            environment = own.joinpath("environ").read_bytes()
            worker.communicate(b"no picture")
        self.assertEqual(limits["Max cpu time"], "10")
        self.assertEqual(limits["Max core file size"], "0")
        self.assertEqual(limits["Max file size"], str(16 * 2**20))
        self.assertEqual(limits["Max address space"], str(512 * 2**20 + 9 * MAX_PIXELS))
        self.assertEqual((environment, worker.returncode), (b"", 10))

    async def test_a_refused_picture_is_not_tried_again(self) -> None:
        item = await self.upload(b"GIF89a" + bytes(100))
        self.assertEqual((await self.thumbnail(item, 32, 32)).code, 400)
        self.patch(thumbnails, "WORKER", Path("/nowhere"))
        self.assertEqual((await self.thumbnail(item, 800, 600)).code, 400)

    async def test_a_worker_that_does_not_end_is_ended(self) -> None:
        self.stuck_worker()
        self.patch(thumbnails, "TIMEOUT_SECONDS", 0.5)
        item = await self.upload(picture(), "image/png")
        self.assertEqual((await self.thumbnail(item, 32, 32)).refusal, (413, "M_TOO_LARGE"))
        self.assertEqual(len(self.on_disk()), 1)

    async def test_the_server_stops_without_waiting_for_a_worker(self) -> None:
        self.stuck_worker()
        self.patch(thumbnails, "TIMEOUT_SECONDS", 1000)
        item = await self.upload(picture(), "image/png")
        asked = Deferred.fromCoroutine(self.thumbnail(item, 32, 32))
        while not self.thumbnails._workers:
            await self.call("GET", f"{V1}/config")
        self.thumbnails.stop()
        self.assertEqual((await asked).code, 413)
        other = await self.upload(picture(), "image/png")
        self.assertEqual((await self.thumbnail(other, 32, 32)).code, 413)

    async def test_a_client_that_leaves_does_not_free_the_place_of_its_worker(self) -> None:
        self.stuck_worker()
        item = await self.upload(picture(), "image/png")
        size = fitting(32, 32, "crop")
        stored = MediaFile(Path(self.on_disk()[0]).name, 0, "image/png", None, False)
        asked = Deferred.fromCoroutine(self.thumbnails.get(stored, size))
        while not self.thumbnails._workers:
            await self.call("GET", f"{V1}/config")
        asked.cancel()
        await self.assertFailure(asked, Exception)
        self.assertEqual(self.thumbnails._turns.tokens, thumbnails.AT_ONCE - 1)
        self.thumbnails.stop()
        self.assertEqual((await self.thumbnail(item, 32, 32)).code, 413)
        while self.thumbnails._turns.tokens < thumbnails.AT_ONCE:  # two workers end, in any order
            await self.call("GET", f"{V1}/config")

    def stuck_worker(self) -> None:
        script = Path(self.mktemp())
        script.write_text("import time\ntime.sleep(60)\n")
        self.patch(thumbnails, "WORKER", script)


class SizeTest(TestCase):
    """The rule that chooses a size."""

    @settings(deadline=None)
    @given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(["crop", "scale"]))
    def test_a_size_is_never_smaller_than_asked_for_if_there_is_one(
        self, width: int, height: int, method: str
    ) -> None:
        size = fitting(width, height, method)
        most = max(each.width for each in thumbnails.SIZES if each.method == method)
        tallest = max(each.height for each in thumbnails.SIZES if each.method == method)
        self.assertEqual(size.method, method)
        if width <= most and height <= tallest:
            self.assertTrue(size.width >= width and size.height >= height)
