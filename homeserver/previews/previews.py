"""Previews of links (client-server API, "Get information about a URL for a client").

A result is kept for a while, also that there was none, and one address is fetched once at a time.
The picture of a preview is a file of this server: it goes when the preview has expired, as a file
goes that was taken back (``homeserver.media.uses``).
"""

from hashlib import sha256
from io import BytesIO
from typing import Any

import orjson
from attrs import frozen
from hyperlink import EncodedURL
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from homeserver.clock import Clock
from homeserver.media.files import RunInThread
from homeserver.media.media import Incoming, Media
from homeserver.media.thumbnails import Thumbnails, content_type
from homeserver.previews.fetch import Fetcher, Found, NothingThere
from homeserver.previews.hosts import NotAWebAddress, web_address
from homeserver.previews.page import read_page
from homeserver.shared import Shared
from schema.errors import BadRequest, Forbidden, InvalidParam, LimitExceeded, NotFound, TooLarge
from storage import media_uses, url_previews
from storage.store import Store
from storage.transaction import WriteTransaction

AT_ONCE = 4
MOST_WAITING = 50
MOST_KEPT = 5_000
FAILURE_KEPT_FOR = 10 * 60_000
PAGES = ("text/html", "application/xhtml+xml")
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
ACCEPT_PAGE = "text/html, application/xhtml+xml, image/png, image/jpeg, image/gif, image/webp"
ACCEPT_PICTURE = "image/png, image/jpeg, image/gif, image/webp"


@frozen
class _Preview:
    """What is answered, and which file belongs to it. No facts: there is nothing to preview."""

    facts: dict[str, Any] | None
    media_id: str | None = None


class Previews:
    """Makes and keeps previews."""

    def __init__(
        self,
        reactor: IReactorTime,
        store: Store,
        media: Media,
        thumbnails: Thumbnails,
        fetcher: Fetcher,
        run_in_thread: RunInThread,
        clock: Clock,
        *,
        server_name: str,
        seconds: float,
        keep_ms: int,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._media = media
        self._thumbnails = thumbnails
        self._fetcher = fetcher
        self._run_in_thread = run_in_thread
        self._clock = clock
        self._server_name = server_name
        self._seconds = seconds
        self._keep_ms = keep_ms
        self._under_way: Shared[_Preview] = Shared()
        self._turns = DeferredSemaphore(AT_ONCE)

    async def get(self, address: str) -> dict[str, Any]:
        """OpenGraph facts about the page at ``address``; empty if it says nothing about itself.

        Raises:
            InvalidParam: that is no web address.
            Forbidden: the configuration does not let this server ask that host.
            LimitExceeded: too many previews are being made.
            NotFound: there was nothing that could be previewed, or not in time.
        """
        try:
            url = web_address(address)
        except NotAWebAddress as error:
            raise InvalidParam(str(error)) from None
        if not self._fetcher.hosts.permit(url):
            raise Forbidden("This server makes no previews of pages at that host")
        key = sha256(url.to_text().encode()).hexdigest()
        is_known, json = await self._store.read(
            lambda txn: url_previews.find(txn, key, self._clock())
        )
        if is_known:
            facts = None if json is None else orjson.loads(json)
        else:
            if key not in self._under_way and len(self._under_way) >= MOST_WAITING:
                raise LimitExceeded("Too many previews are being made", retry_after_ms=5000)
            facts = (await self._under_way.get(key, lambda: self._make(key, url))).facts
        if facts is None:
            raise NotFound("There is no preview of this page")
        return facts

    def stop(self) -> None:
        """Give up what is under way."""
        self._under_way.stop()

    async def forget_expired(self) -> None:
        """Remove what has expired; its pictures go as what was taken back goes."""
        now = self._clock()

        def work(txn: WriteTransaction) -> None:
            media_uses.take_back(txn, url_previews.remove_expired(txn, now), now)

        if await self._store.read(lambda txn: url_previews.count_expired(txn, now)):
            await self._store.write(work)

    async def _make(self, key: str, url: EncodedURL) -> _Preview:
        await self._turns.acquire()
        try:
            preview = await self._look(url)
        except NothingThere:
            preview = _Preview(None)
        finally:
            self._turns.release()
        json = None if preview.facts is None else orjson.dumps(preview.facts).decode()
        now = self._clock()
        until = now + (FAILURE_KEPT_FOR if json is None else self._keep_ms)

        def work(txn: WriteTransaction) -> None:
            gone = url_previews.remove(txn, key)
            surplus = url_previews.count(txn) + 1 - MOST_KEPT
            if surplus > 0:
                gone += url_previews.remove_first(txn, surplus)
            url_previews.put(txn, key, json, preview.media_id, until)
            media_uses.take_back(txn, gone, now)

        await self._store.write(work)
        return preview

    async def _look(self, url: EncodedURL) -> _Preview:
        deadline = self._reactor.seconds() + self._seconds
        found = await self._fetcher.fetch(url, deadline, ACCEPT_PAGE)
        if found.content_type in PICTURES:
            return await self._with_picture({}, found)
        if found.content_type not in PAGES:
            raise NothingThere
        page = await self._run_in_thread(read_page, found.body, found.charset)
        facts = {
            "og:title": page.title,
            "og:description": page.description,
            "og:site_name": page.site_name,
            "og:type": page.type,
        }
        facts = {name: value for name, value in facts.items() if value is not None}
        if page.image is None:
            return _Preview(facts)
        try:
            picture_url = web_address(page.image, found.url)
            picture = await self._fetcher.fetch(picture_url, deadline, ACCEPT_PICTURE)
            return await self._with_picture(facts, picture)
        except (NotAWebAddress, NothingThere):
            return _Preview(facts)

    async def _with_picture(self, facts: dict[str, Any], picture: Found) -> _Preview:
        """``facts`` with a picture, which is what it is by its bytes and not by its header."""
        try:
            width, height = await self._thumbnails.measure(picture.body)
            kind = content_type(picture.body)
            incoming = Incoming(BytesIO(picture.body), kind, None)
            uri = await self._media.upload(self._server_name, incoming)
        except (BadRequest, TooLarge, Forbidden) as error:
            raise NothingThere from error
        with_picture = {
            **facts,
            "og:image": uri,
            "og:image:type": kind,
            "og:image:width": width,
            "og:image:height": height,
            "matrix:image:size": len(picture.body),
        }
        return _Preview(with_picture, uri.rpartition("/")[2])
