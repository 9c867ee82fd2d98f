"""Media: uploads, also announced ones whose content comes later, downloads and thumbnails.

Client-server API, "Content repository". A media id is public and names a row; the row names the
file. So two uploads to one id never touch the same file, and only the first gets the row.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import IO

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from federation_disabled.ours import Ours
from homeserver.clock import Clock, TokenSource
from homeserver.media import thumbnails
from homeserver.media.arrivals import Arrivals
from homeserver.media.files import File, MediaFiles
from homeserver.media.names import OCTETS, clean_content_type, clean_file_name
from homeserver.media.quotas import Quotas
from homeserver.media.thumbnails import Thumbnails
from schema.errors import CannotOverwriteMedia, Forbidden, LimitExceeded, NotFound, NotYetUploaded
from schema.ids import MxcUri
from storage import media
from storage.media import MediaFile
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction

MAX_PENDING = 20
PENDING_FOR = 24 * 3_600_000
LONGEST_WAIT = 60_000
LOOK_AGAIN_AFTER = 2_000


@frozen
class Incoming:
    """A file on its way in: its bytes, and what the client says about them."""

    content: IO[bytes]
    content_type: str | None
    file_name: str | None


@frozen
class Outgoing:
    """A file on its way out."""

    content_type: str
    file_name: str | None
    size: int
    tag: str
    """Another one for other bytes; nothing but letters, digits, ``_`` and ``-``."""
    read: Callable[[int, int], AsyncIterator[bytes]]
    """The bytes from one place up to another, part by part. Never blocks."""


class Media:
    """The content repository of this server."""

    def __init__(
        self,
        reactor: IReactorTime,
        store: Store,
        files: MediaFiles,
        thumbnails: Thumbnails,
        quotas: Quotas,
        ours: Ours,
        clock: Clock,
        new_id: TokenSource,
    ) -> None:
        self._store = store
        self._files = files
        self._thumbnails = thumbnails
        self._quotas = quotas
        self._ours = ours
        self._clock = clock
        self._new_id = new_id
        self._arrivals = Arrivals(reactor)

    async def upload(self, user_id: str, incoming: Incoming) -> MxcUri:
        """Store a file under a new content URI; it is durable when this returns.

        Raises:
            Forbidden: there is no room for it.
        """
        media_id = self._new_id()

        def work(txn: WriteTransaction, file: MediaFile) -> None:
            media.add(txn, media_id, user_id, self._clock(), file)

        await self._store.read(lambda txn: self._quotas.check(txn, user_id))
        await self._keep(user_id, incoming, work)
        return self._uri(media_id)

    async def announce(self, user_id: str) -> tuple[MxcUri, int]:
        """A new content URI without content, and the time until which it may be uploaded.

        Raises:
            Forbidden: there is no room for it, however small it may be.
            LimitExceeded: the person has announced too much that has not come.
        """
        media_id, now = self._new_id(), self._clock()

        def work(txn: WriteTransaction) -> None:
            self._quotas.check(txn, user_id)
            if media.count_pending(txn, user_id, now) >= MAX_PENDING:
                raise LimitExceeded(
                    f"You have announced {MAX_PENDING} uploads that have not come; finish some",
                    retry_after_ms=10_000,
                )
            media.announce(txn, media_id, user_id, now, now + PENDING_FOR)

        await self._store.write(work)
        return self._uri(media_id), now + PENDING_FOR

    async def fill(self, user_id: str, server_name: str, media_id: str, incoming: Incoming) -> None:
        """Upload what was announced.

        Raises:
            NotFound: nothing was announced under this id, or too long ago.
            Forbidden: somebody else announced it, or there is no room for it.
            CannotOverwriteMedia: it has come already.
        """
        self._ours.media(server_name)

        def check(txn: Transaction) -> None:
            found = self._find(txn, media_id)
            if found.user_id != user_id:
                raise Forbidden("Somebody else has announced this upload; only they can send it")
            if found.file is not None:
                raise CannotOverwriteMedia("This upload has come already; it cannot be replaced")
            self._quotas.check(txn, user_id)

        def work(txn: WriteTransaction, file: MediaFile) -> None:
            check(txn)
            media.fill(txn, media_id, file)
            txn.after_commit(lambda: self._arrivals.tell(media_id))

        await self._store.read(check)
        await self._keep(user_id, incoming, work)

    async def download(self, server_name: str, media_id: str, patience_ms: int) -> Outgoing:
        """What was uploaded, as it was.

        Waits up to ``patience_ms`` for an upload that has only been announced.

        Raises:
            NotFound: there is no such thing here.
            NotYetUploaded: it did not come in time.
        """
        stored = await self._uploaded(server_name, media_id, patience_ms)
        file = await self._files.get(self._files.original(stored.file_id), stored.sealed)
        return self._outgoing(file, stored.content_type, stored.file_name, media_id)

    async def thumbnail(
        self,
        server_name: str,
        media_id: str,
        width: int,
        height: int,
        method: str,
        animated: bool,
        patience_ms: int,
    ) -> Outgoing:
        """A picture at least as large as asked for, if it is; moving only if that is wanted.

        Raises:
            BadRequest: it is not a picture, or broken.
            TooLarge: it is too large to make a thumbnail of.
            NotFound, NotYetUploaded: as for ``download``.
        """
        stored = await self._uploaded(server_name, media_id, patience_ms)
        size = thumbnails.fitting(width, height, method, animated)
        file = await self._thumbnails.get(stored, size)
        content_type = thumbnails.content_type(file.head) or OCTETS
        file_name = f"thumbnail.{content_type.partition('/')[2]}"
        # One that was made again may have become another: the next version's encoder did it.
        return self._outgoing(file, content_type, file_name, f"{media_id}-{size}-{file.size}")

    def _uri(self, media_id: str) -> MxcUri:
        return MxcUri(f"mxc://{self._ours.server_name}/{media_id}")

    def _outgoing(self, file: File, content_type: str, file_name: str | None, tag: str) -> Outgoing:
        read = partial(self._files.parts, file)
        return Outgoing(content_type, file_name, file.size, tag, read)

    async def _keep(
        self,
        user_id: str,
        incoming: Incoming,
        work: Callable[[WriteTransaction, MediaFile], None],
    ) -> None:
        """First the file, then the row; without the row the file goes again."""
        file_id, size = await self._files.keep(incoming.content)
        file = MediaFile(
            file_id,
            size,
            clean_content_type(incoming.content_type),
            clean_file_name(incoming.file_name),
            self._files.seals,
        )

        def store(txn: WriteTransaction) -> None:
            work(txn, file)
            self._quotas.take(txn, user_id, size)

        try:
            await self._store.write(store)
        except Exception:
            await self._files.drop(file_id)
            raise

    def _find(self, txn: Transaction, media_id: str) -> media.Media:
        found = media.find(txn, media_id)
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock()):
            raise NotFound("There is no such file here, or it was not uploaded in time")
        return found

    async def _uploaded(self, server_name: str, media_id: str, patience_ms: int) -> MediaFile:
        self._ours.media(server_name)
        deadline = self._clock() + min(patience_ms, LONGEST_WAIT)
        while True:
            with self._arrivals.expect(media_id) as arrival:
                found = await self._store.read(lambda txn: self._find(txn, media_id))
                if found.file is not None:
                    return found.file
                left = deadline - self._clock()
                if left <= 0:
                    raise NotYetUploaded("This file has not been uploaded yet; try again later")
                # Another process may be the one that receives the upload, so look again anyhow.
                await self._arrivals.wait(arrival, min(left, LOOK_AGAIN_AFTER))
