"""The content repository, put together."""

import os
from typing import Any

from attrs import frozen

from federation_disabled.egress import Egress
from federation_disabled.ours import Ours
from homeserver.clock import random_token, system_clock
from homeserver.config import Config
from homeserver.media.files import MediaFiles, RunInThread
from homeserver.media.housekeeping import Housekeeping
from homeserver.media.media import Media
from homeserver.media.orphans import Orphans
from homeserver.media.quotas import Quotas
from homeserver.media.sealing import Seal, WrongKey, load_seal
from homeserver.media.thumbnails import Thumbnails
from homeserver.previews.fetch import Fetcher
from homeserver.previews.hosts import Hosts
from homeserver.previews.previews import Previews
from homeserver.settings import ConfigError
from storage.store import Store

HOUR = 3_600_000
DAY = 24 * HOUR


@frozen
class ContentRepository:
    """Files that people share."""

    media: Media
    thumbnails: Thumbnails
    housekeeping: Housekeeping
    orphans: Orphans
    previews: Previews | None

    async def look_after(self) -> None:
        """Remove what has had its time."""
        if self.previews is not None:
            await self.previews.forget_expired()
        await self.housekeeping.run()

    def stop(self) -> None:
        """End what is under way and does not end soon by itself."""
        self.orphans.stop()
        self.thumbnails.stop()
        if self.previews is not None:
            self.previews.stop()


def assemble_media(
    config: Config, reactor: Any, store: Store, egress: Egress, run_in_thread: RunInThread
) -> ContentRepository:
    files = MediaFiles(config.data / "media", run_in_thread, random_token, _seal(config))
    files.open()
    thumbnails = Thumbnails(files, run_in_thread, config.media.max_image_pixels)
    quotas = Quotas(
        config.media.person_quota_bytes,
        config.media.family_quota_bytes,
        config.media.server_quota_bytes,
    )
    ours = Ours(config.server_name)
    media = Media(reactor, store, files, thumbnails, quotas, ours, system_clock, random_token)
    keep_redacted_ms = config.rooms.keep_redacted_days * DAY
    housekeeping = Housekeeping(store, files, quotas, keep_redacted_ms, system_clock)
    previews = None
    if config.previews.enabled:
        hosts = Hosts(config.previews.allow, config.previews.deny)
        previews = Previews(
            reactor,
            store,
            media,
            thumbnails,
            Fetcher(reactor, egress, hosts, config.previews.max_bytes),
            run_in_thread,
            system_clock,
            server_name=config.server_name,
            seconds=config.previews.seconds,
            keep_ms=config.previews.keep_hours * HOUR,
        )
    orphans = Orphans(store, files)
    return ContentRepository(media, thumbnails, housekeeping, orphans, previews)


def _seal(config: Config) -> Seal | None:
    variable = config.media.sealing_key_variable
    try:
        return load_seal(config.data / "media", variable, os.environ)
    except WrongKey as error:
        raise ConfigError(f"{config.file}: media.sealing_key_variable: {error}") from error
