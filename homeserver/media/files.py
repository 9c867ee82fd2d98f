"""Media on disk: ``originals/`` as they were uploaded, ``thumbnails/`` that can be made again.

Names are random ids of this server, never a word of a client's, so no path can be made to lead
elsewhere. A file is written in ``incoming/``, made durable and moved to its place: whatever stands
in the two other folders is whole.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import IO, Any

from attrs import frozen
from twisted.logger import Logger

from homeserver.clock import TokenSource
from schema.errors import BadRequest, NotFound, Unavailable

PART = 64 * 1024
ABANDONED_AFTER_SECONDS = 3600

RunInThread = Callable[..., Awaitable[Any]]
"""Calls a function with arguments in a thread and gives what it returns."""


@frozen
class File:
    """A file that is there: how long it is, and how it begins."""

    path: Path
    size: int
    head: bytes


class MediaFiles:
    """Keeps, finds and reads files without ever blocking the reactor."""

    _log = Logger()

    def __init__(self, folder: Path, run_in_thread: RunInThread, new_name: TokenSource) -> None:
        self._originals = folder / "originals"
        self._thumbnails = folder / "thumbnails"
        self._incoming = folder / "incoming"
        self._run_in_thread = run_in_thread
        self._new_name = new_name

    def open(self) -> None:
        """Make the folders, and remove what a crash left half-written. Blocks; once."""
        for folder in (self._originals, self._thumbnails, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another process of this server may be writing there right now.
        for file in self._incoming.iterdir():
            if _is_abandoned(file):
                file.unlink(missing_ok=True)

    def original(self, file_id: str) -> Path:
        """Where the uploaded file is."""
        return self._originals / file_id[:2] / file_id

    def thumbnail(self, file_id: str, variant: str) -> Path:
        """Where its thumbnail of one kind is, or would be."""
        return self._thumbnails / file_id[:2] / f"{file_id}.{variant}"

    async def keep(self, content: IO[bytes]) -> tuple[str, int]:
        """Store a copy of ``content``; it is durable when this returns its file id and its size.

        Raises:
            BadRequest: the client left meanwhile, and the content with it.
            Unavailable: the disk is full or broken; nothing is left behind.
        """
        file_id = self._new_name()
        size: int = await self._run_in_thread(self._keep, content, self.original(file_id))
        return file_id, size

    async def drop(self, file_id: str) -> None:
        """Remove an uploaded file that nothing refers to, and its thumbnails."""
        await self._run_in_thread(self._drop, file_id)

    async def folders(self) -> list[str]:
        """The names of the folders that uploaded files and thumbnails are in."""
        found: list[str] = await self._run_in_thread(self._folders)
        return found

    async def names_in(self, folder: str) -> set[str]:
        """The ids of the files in a folder that are not just being stored."""
        found: set[str] = await self._run_in_thread(self._names_in, folder)
        return found

    async def find(self, path: Path) -> File | None:
        """Look at a file, if it is there."""
        found: File | None = await self._run_in_thread(_look, path)
        return found

    async def get(self, path: Path) -> File:
        """Look at a file that should be there.

        Raises:
            NotFound: it is not.
        """
        found = await self.find(path)
        if found is None:
            raise NotFound("This file has been removed")
        return found

    async def parts(self, file: File, start: int, stop: int) -> AsyncIterator[bytes]:
        """The content from ``start`` up to ``stop``, part by part.

        Holds nothing open: whoever stops reading just stops.
        """
        for place in range(start, stop, PART):
            yield await self._run_in_thread(_read, file.path, place, min(PART, stop - place))

    @contextmanager
    def arriving(self, target: Path) -> Iterator[IO[bytes]]:
        """A new file to write to; once the block ends well it is durable, and at ``target``.

        Blocks. If the block fails there is no file.
        """
        temporary = self._incoming / self._new_name()
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.replace(target)
            _sync_folder(target.parent)
            _sync_folder(target.parent.parent)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            target.unlink(missing_ok=True)
            if isinstance(error, OSError):
                self._log.error("A file cannot be stored: {error}", error=error)
                raise Unavailable(
                    "The file cannot be stored now; tell your organizer if this does not pass"
                ) from error
            raise

    def _drop(self, file_id: str) -> None:
        self.original(file_id).unlink(missing_ok=True)
        for thumbnail in self.thumbnail(file_id, "").parent.glob(f"{file_id}.*"):
            thumbnail.unlink(missing_ok=True)

    def _folders(self) -> list[str]:
        parents = (self._originals, self._thumbnails)
        return sorted({folder.name for parent in parents for folder in parent.iterdir()})

    def _names_in(self, folder: str) -> set[str]:
        files = [*(self._originals / folder).glob("*"), *(self._thumbnails / folder).glob("*")]
        return {file.name.partition(".")[0] for file in files if _is_abandoned(file)}

    def _keep(self, content: IO[bytes], target: Path) -> int:
        with self.arriving(target) as file:
            try:
                while part := content.read(PART):
                    file.write(part)
            except ValueError:
                # twisted closes the body of a request when its client leaves.
                raise BadRequest("The upload was broken off") from None
            return file.tell()


def _is_abandoned(file: Path) -> bool:
    """Whether nobody can still be about to do something with a file that has no row."""
    try:
        return file.stat().st_mtime < time() - ABANDONED_AFTER_SECONDS
    except FileNotFoundError:  # another process of this server was faster
        return False


def _look(path: Path) -> File | None:
    try:
        with path.open("rb") as file:
            return File(path, os.fstat(file.fileno()).st_size, file.read(16))
    except FileNotFoundError:
        return None


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _sync_folder(folder: Path) -> None:
    """A new name is durable only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
