"""The content repository, put together."""

import os
from typing import Any

from attrs import frozen

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
from homeserver.settings import ConfigError
from storage.store import Store

DAY = 24 * 3_600_000


@frozen
class ContentRepository:
    """Files that people share."""

    media: Media
    thumbnails: Thumbnails
    housekeeping: Housekeeping
    orphans: Orphans

    def stop(self) -> None:
        """End what is under way and does not end soon by itself."""
        self.orphans.stop()
        self.thumbnails.stop()


def assemble_media(
    config: Config, reactor: Any, store: Store, run_in_thread: RunInThread
) -> ContentRepository:
    files = MediaFiles(config.data / "media", run_in_thread, random_token, _seal(config))
    files.open()
    thumbnails = Thumbnails(files, run_in_thread, config.media.max_image_pixels)
    quotas = Quotas(config.media.person_quota_bytes, config.media.server_quota_bytes)
    ours = Ours(config.server_name)
    media = Media(reactor, store, files, thumbnails, quotas, ours, system_clock, random_token)
    keep_redacted_ms = config.media.keep_redacted_days * DAY
    housekeeping = Housekeeping(store, files, quotas, keep_redacted_ms, system_clock)
    return ContentRepository(media, thumbnails, housekeeping, Orphans(store, files))


def _seal(config: Config) -> Seal | None:
    variable = config.media.sealing_key_variable
    try:
        return load_seal(config.data / "media", variable, os.environ)
    except WrongKey as error:
        raise ConfigError(f"{config.file}: media.sealing_key_variable: {error}") from error
