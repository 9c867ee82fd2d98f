"""The key that signs events: made at the first start and kept in the data folder."""

import os
from io import StringIO
from pathlib import Path
from secrets import token_hex

from signedjson.key import generate_signing_key, read_signing_keys, write_signing_keys

from homeserver.events import Signer
from homeserver.settings import ConfigError


def private_file(path: Path, text: str) -> None:
    """Write a file that only its owner can read, complete or not at all."""
    unfinished = path.with_suffix(".new")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load_signer(folder: Path, server_name: str) -> Signer:
    """The key that signs events; made if there is none.

    Raises:
        ConfigError: the file does not hold a key.
    """
    path = folder / "signing.key"
    if not path.exists():
        key = generate_signing_key(f"a_{token_hex(2)}")
        text = StringIO()
        write_signing_keys(text, [key])
        private_file(path, text.getvalue())
    try:
        with path.open() as file:
            return Signer(server_name, read_signing_keys(file)[0])
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"{path} does not hold the signing key any more; take it from a backup"
        ) from error
