"""The relay for calls, put together where the configuration names one."""

import os

from homeserver.clock import system_clock
from homeserver.config import Config
from homeserver.settings import ConfigError
from homeserver.turn import Turn


def assemble_turn(config: Config) -> Turn | None:
    """None where calls go without a relay.

    Raises:
        ConfigError: the secret cannot be read, or is none.
    """
    settings = config.turn
    if not settings.uris:
        return None
    secret, where = "", "turn.secret_variable"
    if settings.secret_variable is not None:
        secret = os.environ.get(settings.secret_variable, "")
    elif settings.secret_file is not None:
        where = "turn.secret_file"
        try:
            secret = config.beside(settings.secret_file).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{config.file}: {where}: {error}") from None
    if not secret:
        raise ConfigError(f"{config.file}: {where}: there is no secret in it")
    return Turn(settings.uris, secret, settings.lifetime_seconds, system_clock)
