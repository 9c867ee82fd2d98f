"""Media on disk: ``originals/`` as they were uploaded, ``thumbnails/`` that can be made again.

Names are random ids of this server, never a word of a client's, so no path can be made to lead
elsewhere. A file is written in ``incoming/``, made durable and moved to its place: whatever stands
in the two other folders is whole. With a key, new files are sealed (``sealing``); the row of an
upload says whether it is, and its thumbnails are what it is.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from time import time
from typing import IO, Any

from attrs import frozen
from twisted.logger import Logger

from homeserver.clock import TokenSource
from homeserver.media.sealing import PART, Damaged, Seal, Sealed
from schema.errors import BadRequest, NotFound, Unavailable

ABANDONED_AFTER_SECONDS = 3600
HEAD = 16

RunInThread = Callable[..., Awaitable[Any]]
"""Calls a function with arguments in a thread and gives what it returns."""


@frozen
class File:
    """A file that is there: how long it is, and how it begins."""

    path: Path
    sealed: bool
    size: int
    head: bytes


class MediaFiles:
    """Keeps, finds and reads files without ever blocking the reactor."""

    _log = Logger()

    def __init__(
        self,
        folder: Path,
        run_in_thread: RunInThread,
        new_name: TokenSource,
        seal: Seal | None = None,
    ) -> None:
        self._originals = folder / "originals"
        self._thumbnails = folder / "thumbnails"
        self._incoming = folder / "incoming"
        self._run_in_thread = run_in_thread
        self._new_name = new_name
        self._seal = seal

    @property
    def seals(self) -> bool:
        """Whether what is stored now is sealed."""
        return self._seal is not None

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

    async def find(self, path: Path, sealed: bool) -> File | None:
        """Look at a file, if it is there.

        Raises:
            NotFound: something is there, but not what was stored.
        """
        try:
            found: File | None = await self._run_in_thread(self._look, path, sealed)
        except Damaged as error:
            raise self._damaged(path, error) from error
        return found

    async def get(self, path: Path, sealed: bool) -> File:
        """Look at a file that should be there.

        Raises:
            NotFound: it is not, or it is damaged.
        """
        found = await self.find(path, sealed)
        if found is None:
            raise NotFound("This file has been removed")
        return found

    async def parts(self, file: File, start: int, stop: int) -> AsyncIterator[bytes]:
        """The content from ``start`` up to ``stop``, part by part.

        Holds nothing open: whoever stops reading just stops.
        """
        for place in range(start - start % PART, stop, PART):
            part = await self._run_in_thread(self._read, file, place)
            yield part[max(0, start - place) : stop - place]

    @contextmanager
    def opened(self, file: File) -> Iterator[IO[bytes]]:
        """The content as a file that another program can read. Blocks.

        Raises:
            NotFound: it is damaged.
        """
        if not file.sealed:
            with file.path.open("rb") as plain:
                yield plain
            return
        with self.scratch(sealed=True) as copy:
            try:
                for place in range(0, file.size, PART):
                    copy.write(self._read(file, place))
            except Damaged as error:
                raise self._damaged(file.path, error) from error
            copy.seek(0)
            yield copy

    def scratch(self, sealed: bool) -> IO[bytes]:
        """A file without a name; of what is sealed nothing gets to the disk."""
        if sealed:
            return os.fdopen(os.memfd_create("hearth"), "w+b")
        return TemporaryFile(dir=self._incoming)

    def put(self, target: Path, content: IO[bytes], sealed: bool) -> int:
        """Store ``content`` at ``target``, durably; its size. Blocks.

        Raises:
            Unavailable: the disk is full or broken; nothing is left behind.
        """
        temporary = self._incoming / self._new_name()
        try:
            with temporary.open("xb") as file:
                size = self._form(target, sealed).copy(content, file)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.replace(target)
            _sync_folder(target.parent)
            _sync_folder(target.parent.parent)
            return size
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            target.unlink(missing_ok=True)
            if isinstance(error, OSError):
                self._log.error("A file cannot be stored: {error}", error=error)
                raise Unavailable(
                    "The file cannot be stored now; tell your organizer if this does not pass"
                ) from error
            raise

    def _damaged(self, path: Path, error: Damaged) -> NotFound:
        self._log.error("{path}: {error}", path=str(path), error=error)
        return NotFound("This file is damaged; tell your organizer")

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
        try:
            return self.put(target, content, self.seals)
        except ValueError:
            # twisted closes the body of a request when its client leaves.
            raise BadRequest("The upload was broken off") from None

    def _form(self, path: Path, sealed: bool) -> "Sealed | _Plain":
        if not sealed:
            return _Plain()
        if self._seal is None:
            raise Damaged("The file is sealed, and there is no key")
        return self._seal.form(f"{path.parent.parent.name}/{path.name}")

    def _look(self, path: Path, sealed: bool) -> File | None:
        form = self._form(path, sealed)
        try:
            with path.open("rb") as file:
                size = form.look(file)
                return File(path, sealed, size, form.read(file, size, 0)[:HEAD])
        except FileNotFoundError:
            return None

    def _read(self, file: File, place: int) -> bytes:
        with file.path.open("rb") as opened:
            return self._form(file.path, file.sealed).read(opened, file.size, place)


class _Plain:
    """A file as it is: the same methods as ``Sealed``."""

    def copy(self, content: IO[bytes], file: IO[bytes]) -> int:
        copyfileobj(content, file, PART)
        return file.tell()

    def look(self, file: IO[bytes]) -> int:
        return os.fstat(file.fileno()).st_size

    def read(self, file: IO[bytes], size: int, place: int) -> bytes:
        file.seek(place)
        return file.read(PART)


def _is_abandoned(file: Path) -> bool:
    """Whether nobody can still be about to do something with a file that has no row."""
    try:
        return file.stat().st_mtime < time() - ABANDONED_AFTER_SECONDS
    except FileNotFoundError:  # another process of this server was faster
        return False


def _sync_folder(folder: Path) -> None:
    """A new name is durable only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
