"""Thumbnails of pictures (client-server API, "Thumbnails").

Pictures come from anybody, so none is decoded in this process: ``thumbnail_worker`` does it in one
of its own, under limits. What it made is a file that is served from then on.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import IO, Any, TypeVar

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore

from homeserver.media.files import File, MediaFiles, RunInThread
from homeserver.shared import watched
from schema.errors import BadRequest, MatrixError, TooLarge
from storage.media import MediaFile

T = TypeVar("T")
WORKER = Path(__file__).with_name("thumbnail_worker.py")
MADE, BROKEN = 0, 10
TIMEOUT_SECONDS = 15
AT_ONCE = 2
REMEMBERED = 1000
LARGEST_PICTURE = 100 * 1024 * 1024

_CONTENT_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
    "WEBP": "image/webp",
}


_MAY_MOVE = ("PNG", "GIF", "WEBP")


@frozen
class Size:
    """One of the few kinds of thumbnails that are made."""

    width: int
    height: int
    method: str
    animated: bool = False

    def __str__(self) -> str:
        motion = "-animated" if self.animated else ""
        return f"{self.width}x{self.height}-{self.method}{motion}"


# Those of the specification, and three larger ones for screens with many pixels.
SIZES = (
    Size(32, 32, "crop"),
    Size(96, 96, "crop"),
    Size(320, 320, "crop"),
    Size(640, 640, "crop"),
    Size(320, 240, "scale"),
    Size(640, 480, "scale"),
    Size(800, 600, "scale"),
    Size(1600, 1200, "scale"),
)


def fitting(width: int, height: int, method: str, animated: bool = False) -> Size:
    """The smallest size that is not smaller than what was asked for, else the largest."""
    sizes = [size for size in SIZES if size.method == method]
    enough = [size for size in sizes if size.width >= width and size.height >= height]
    return evolve((enough or sizes[-1:])[0], animated=animated)


def content_type(head: bytes) -> str | None:
    """What a picture is by its first bytes, whatever was claimed; None if it is none we decode."""
    kind = _kind(head)
    return kind and _CONTENT_TYPES[kind]


def _kind(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    return None


class Thumbnails:
    """Finds thumbnails, and makes the missing ones, a few at a time."""

    def __init__(self, files: MediaFiles, run_in_thread: RunInThread, max_pixels: int) -> None:
        self._files = files
        self._run_in_thread = run_in_thread
        self._max_pixels = max_pixels
        self._turns = DeferredSemaphore(AT_ONCE)
        self._workers: set[Popen[bytes]] = set()
        self._stopped = False
        self._refused: OrderedDict[str, MatrixError] = OrderedDict()

    async def get(self, stored: MediaFile, size: Size) -> File:
        """The thumbnail of an uploaded file.

        Raises:
            BadRequest: the file is no picture, or broken.
            TooLarge: it takes too much memory or time.
            NotFound: the file has been removed.
        """
        path = self._files.thumbnail(stored.file_id, str(size))
        found = await self._files.find(path, stored.sealed)
        if found is None:
            await self._make(stored, size, path)
            found = await self._files.get(path, stored.sealed)
        return found

    def stop(self) -> None:
        """End the workers that are busy, and from now on every new one at once."""
        self._stopped = True
        for worker in list(self._workers):
            worker.kill()

    async def _make(self, stored: MediaFile, size: Size, target: Path) -> None:
        source = await self._files.get(self._files.original(stored.file_id), stored.sealed)
        kind = _kind(source.head)
        if kind is None:
            raise BadRequest("There is no thumbnail of this file: it is not a picture we know")
        if source.size > LARGEST_PICTURE:
            raise TooLarge("There is no thumbnail of this picture: it is too large")
        await self._in_turn(partial(self._work, source, kind, size, target))

    async def measure(self, content: bytes) -> tuple[int, int]:
        """Width and height of a picture that is not stored yet, as it is shown.

        Raises:
            BadRequest: it is no picture, or broken.
            TooLarge: it takes too much memory or time.
        """
        return await self._in_turn(partial(self._measured, content))

    async def _measured(self, content: bytes) -> tuple[int, int]:
        size: tuple[int, int] = await self._run_in_thread(self._measure, content)
        return size

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        await self._turns.acquire()
        # The turn ends with the worker, not when a client gets tired of waiting for it.
        working = Deferred.fromCoroutine(work())
        working.addBoth(self._end_turn)
        return await watched(working)

    async def _work(self, source: File, kind: str, size: Size, target: Path) -> None:
        known = self._refused.get(source.path.name)
        if known is not None:
            raise type(known)(known.error)
        try:
            await self._run_in_thread(self._draw, source, kind, size, target)
        except (BadRequest, TooLarge) as refusal:
            self._refused[source.path.name] = refusal.with_traceback(None)
            if len(self._refused) > REMEMBERED:
                self._refused.popitem(last=False)
            raise

    def _end_turn(self, result: Any) -> Any:
        self._turns.release()
        return result

    def _draw(self, source: File, kind: str, size: Size, target: Path) -> None:
        """In a thread: let a worker make the thumbnail, and store it."""
        if target.exists():  # somebody who wanted the same was first
            return
        motion = "animated" if size.animated and kind in _MAY_MOVE else "still"
        files = self._files
        with files.opened(source) as picture, files.scratch(source.sealed) as thumbnail:
            box = (size.width, size.height)
            self._run_worker(picture, thumbnail, kind, size.method, box, motion)
            thumbnail.seek(0)
            files.put(target, thumbnail, source.sealed)

    def _measure(self, content: bytes) -> tuple[int, int]:
        """In a thread: let a worker look at a picture that is not stored yet."""
        kind = _kind(content)
        if kind is None:
            raise BadRequest("This is not a picture we know")
        with self._files.scratch(sealed=True) as picture, self._files.scratch(sealed=True) as said:
            picture.write(content)
            picture.seek(0)
            self._run_worker(picture, said, kind, "measure", (0, 0), "still")
            said.seek(0)
            width, height = map(int, said.read(100).split())
        return width, height

    def _run_worker(
        self,
        picture: IO[bytes],
        output: IO[bytes],
        kind: str,
        method: str,
        box: tuple[int, int],
        motion: str,
    ) -> None:
        """In a thread: start a worker, and wait for it."""
        numbers = map(str, (*box, self._max_pixels))
        command = [sys.executable, "-I", str(WORKER), kind, method, *numbers, motion]
        # Nothing of this process is handed on: no environment, no other open file.
        worker = Popen(command, stdin=picture, stdout=output, stderr=DEVNULL, env={})
        self._workers.add(worker)
        if self._stopped:
            worker.kill()
        try:
            exit_code = worker.wait(TIMEOUT_SECONDS)
        except TimeoutExpired:
            worker.kill()
            exit_code = worker.wait()
        finally:
            self._workers.discard(worker)
        if exit_code == BROKEN:
            raise BadRequest("There is no thumbnail of this picture: it is broken")
        if exit_code != MADE:
            raise TooLarge("There is no thumbnail of this picture: it is too large")
