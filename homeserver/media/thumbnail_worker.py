"""Makes a thumbnail, or measures a picture: a program of its own, since pictures may be hostile.

``python thumbnail_worker.py FORMAT METHOD WIDTH HEIGHT MAX_PIXELS MOTION``, the picture on standard
input and the thumbnail on standard output, both files; MOTION is ``animated`` or ``still``. It
imports nothing of this project, limits its own memory, time and output before it looks at the
picture, and says by its exit code what came of it: 0 the thumbnail is made, 10 the picture is
broken, 11 it is too large.

The METHOD ``measure`` writes width and height, as they are shown, instead of a picture.

An animation stays one if that is wanted and it is short enough; in doubt it becomes a still.
"""

import os
import resource
import shutil
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

MADE = 0
BROKEN = 10
TOO_LARGE = 11

CPU_SECONDS = 10
LARGEST_OUTPUT = 16 * 1024 * 1024
LARGEST_AS_IT_IS = 1024 * 1024
MOST_FRAMES = 200
MOST_PIXELS_IN_MOTION = 25_000_000  # of all frames of a thumbnail: about two seconds of work
LARGEST_ANIMATION = 8 * 1024 * 1024
PROGRAM_BYTES = 512 * 1024 * 1024
BYTES_PER_PIXEL = 9  # four as they are decoded, four converted, one for a palette

_ORIENTATION = 0x0112
_TURNED = 5  # orientations from here on swap width and height

Size = tuple[int, int]
Part = tuple[float, float, float, float]


def main(arguments: list[str]) -> int:
    """Read the picture and write its thumbnail; the exit code."""
    kind, method, *numbers, motion = arguments
    width, height, max_pixels = map(int, numbers)
    os.nice(10)
    with suppress(OSError):  # Linux: when memory runs out, this process ends and not the server
        Path("/proc/self/oom_score_adj").write_text("1000")
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_FSIZE, LARGEST_OUTPUT)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, PROGRAM_BYTES + BYTES_PER_PIXEL * max_pixels)
    Image.MAX_IMAGE_PIXELS = None  # our own limit comes first
    try:
        image = Image.open(sys.stdin.buffer, formats=[kind])
        if image.width * image.height > max_pixels:
            return TOO_LARGE
        if method == "measure":
            _measure(image)
            return MADE
        frames = _frames(image, max_pixels) if motion == "animated" else 1
        _write(image, kind, method, (width, height), frames)
        sys.stdout.buffer.flush()
    except MemoryError:
        return TOO_LARGE
    except Exception:
        # Whatever a decoder stumbles over, the picture is at fault.
        return BROKEN
    return MADE


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _measure(image: Image.Image) -> None:
    shown = image.size
    image.draft(None, (1, 1))
    turned = image.getexif().get(_ORIENTATION, 1) >= _TURNED
    image.load()  # a broken picture has no size
    print(*(reversed(shown) if turned else shown), flush=True)


def _frames(image: Image.Image, max_pixels: int) -> int:
    """Of how many frames the animation is; 1 if it is none, or too long to be shown as one."""
    most = min(MOST_FRAMES, max_pixels // (image.width * image.height))
    if not getattr(image, "is_animated", False):
        return 1
    try:
        for number in range(most + 1):
            image.seek(number)
        return 1
    except EOFError:
        return number
    except Exception:
        return 1  # what is broken later may well have a first frame
    finally:
        image.seek(0)


def _write(image: Image.Image, kind: str, method: str, box: Size, frames: int) -> None:
    if image.getexif().get(_ORIENTATION, 1) >= _TURNED:
        box = (box[1], box[0])
    if _will_do(image, box, frames):
        image.load()  # a broken picture is not passed on
        sys.stdin.buffer.seek(0)
        shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
        return
    animation = _animation(image, method, box, frames) if frames > 1 else None
    if animation is not None:
        sys.stdout.buffer.write(animation)
        return
    ratio = _ratio(image.size, method, box)
    # A JPEG can be decoded at a fraction of its size, which is much faster.
    image.draft(None, (round(image.width * ratio), round(image.height * ratio)))
    small = _small(image, method, box)
    profile = image.info.get("icc_profile")
    if kind in ("PNG", "GIF") or small.mode == "RGBA":
        small.save(sys.stdout.buffer, "PNG", icc_profile=profile)
    else:
        small.save(sys.stdout.buffer, "JPEG", quality=82, icc_profile=profile)


def _animation(image: Image.Image, method: str, box: Size, frames: int) -> bytes | None:
    """All of its frames, smaller; None if that is too much, or not all of them can be read."""
    (width, height), _ = _geometry(image.size, method, box)
    if frames * width * height > MOST_PIXELS_IN_MOTION:
        return None
    small, durations = [], []
    try:
        for number in range(frames):
            image.seek(number)
            small.append(_small(image, method, box).convert("RGBA"))
            durations.append(int(image.info.get("duration", 0)))
        out = BytesIO()
        small[0].save(
            out,
            "WEBP",
            save_all=True,
            append_images=small[1:],
            duration=durations,
            loop=image.info.get("loop", 1),
            quality=70,
            method=2,
        )
        if out.tell() <= LARGEST_ANIMATION:
            return out.getvalue()
    except Exception:
        small.clear()
    image.seek(0)
    return None


def _small(image: Image.Image, method: str, box: Size) -> Image.Image:
    """The current frame in its new size, upright."""
    size, part = _geometry(image.size, method, box)
    small = _plain(image).resize(size, Image.Resampling.LANCZOS, part, reducing_gap=2.0)
    small = ImageOps.exif_transpose(small)
    small.info = {}  # where and with what it was taken does not leave with a thumbnail
    return small


def _will_do(image: Image.Image, box: Size, frames: int) -> bool:
    """Whether the picture is its own thumbnail: no larger, and moving only if it is to."""
    return (
        image.width <= box[0]
        and image.height <= box[1]
        and os.fstat(sys.stdin.fileno()).st_size <= LARGEST_AS_IT_IS
        and (frames > 1 or not getattr(image, "is_animated", False))
    )


def _ratio(size: Size, method: str, box: Size) -> float:
    """How much smaller it gets: to fill the box (crop) or to fit into it (scale); never larger."""
    ratios = (box[0] / size[0], box[1] / size[1])
    return min(1.0, max(ratios) if method == "crop" else min(ratios))


def _geometry(size: Size, method: str, box: Size) -> tuple[Size, Part]:
    """The size of the thumbnail, and the middle part of the picture that it shows."""
    ratio = _ratio(size, method, box)
    width = max(1, min(box[0], round(size[0] * ratio)))
    height = max(1, min(box[1], round(size[1] * ratio)))
    left = max(0.0, (size[0] - width / ratio) / 2)
    top = max(0.0, (size[1] - height / ratio) / 2)
    return (width, height), (left, top, size[0] - left, size[1] - top)


def _plain(image: Image.Image) -> Image.Image:
    """The current frame in a mode that can be resized and saved."""
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # sixteen bits of grey
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if "transparency" in image.info or image.mode in ("PA", "LA", "La", "RGBa"):
        return image.convert("RGBA")
    return image.convert("RGB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
