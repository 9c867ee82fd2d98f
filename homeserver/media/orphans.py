"""Files that no row knows: a crash came between a file and its row.

The file of an upload is durable before its row is written, and the row of a removed one is gone
before its file is, so a crash in between leaves a file that nothing refers to.
"""

from functools import partial
from typing import ClassVar

from attrs import define
from twisted.logger import Logger

from homeserver.media.files import MediaFiles
from storage import media
from storage.store import Store

MOST_AT_ONCE = 1000


@define
class Orphans:
    """Looks for them folder by folder, so that each step is short."""

    _log: ClassVar[Logger] = Logger()
    store: Store
    files: MediaFiles
    _stopped: bool = False

    async def sweep(self) -> None:
        """Remove them, some at most; the next start finds the rest.

        Nothing is removed if it would be more than half of all: then this is not what a crash
        leaves, but a database that does not belong to these files.
        """
        known, orphans = 0, list[str]()
        for folder in await self.files.folders():
            if self._stopped or len(orphans) > MOST_AT_ONCE:
                break
            names = await self.files.names_in(folder)
            rows = await self.store.read(partial(media.known, file_ids=names))
            known += len(rows)
            orphans += names - rows
        if len(orphans) > known:
            self._log.error(
                "Of the files in the media folder {n} are not in the database", n=len(orphans)
            )
            return
        for file_id in orphans:
            if not self._stopped:
                await self.files.drop(file_id)
        if orphans:
            self._log.info("Removed {n} files that a crash had left", n=len(orphans))

    def stop(self) -> None:
        """Leave the rest for the next start."""
        self._stopped = True
