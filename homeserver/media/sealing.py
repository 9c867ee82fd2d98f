"""Sealing: files on disk that nobody can read, change, cut or exchange without the key.

A sealed file is a random salt and the content in chunks, each encrypted by AES-256-GCM under a key
of this file alone, which comes from the server's key, the salt and the name of the file. The nonce
of a chunk is its number and whether it is the last. So a chunk that was changed, moved, left out or
taken from another file is refused, and so is a file that ends too early; and a part of a file is
read without the rest.
"""

import os
from base64 import b64decode
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import IO

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PART = 64 * 1024
TAG = 16
SALT = 32
KEY = 32
FEWEST_DIFFERENT_BYTES = 16  # of 32 random ones, practically always more
FINGERPRINT = "sealed-with"


class Damaged(Exception):
    """A file is not what was stored."""


class WrongKey(Exception):
    """The files cannot be opened with what the configuration says. A sentence for the organizer."""


@frozen
class Seal:
    """The key of a media folder."""

    key: bytes

    def form(self, name: str) -> "Sealed":
        """How the file called ``name`` is written and read."""
        return Sealed(self.key, name)

    def fingerprint(self) -> str:
        """Tells keys apart, and nothing else about them."""
        return _derived(self.key, b"", "fingerprint").hex()


@frozen
class Sealed:
    """A sealed file. Every method blocks and gets the open file."""

    key: bytes
    name: str

    def copy(self, content: IO[bytes], file: IO[bytes]) -> int:
        """Write ``content`` to ``file``; how many bytes it had."""
        salt = os.urandom(SALT)
        cipher = self._cipher(salt)
        file.write(salt)
        size, part = 0, content.read(PART)
        for number in count():
            following = content.read(PART) if part else b""
            file.write(cipher.encrypt(_nonce(number, is_last=not following), part, None))
            size += len(part)
            if not following:
                break
            part = following
        return size

    def look(self, file: IO[bytes]) -> int:
        """How many bytes the content of ``file`` has, once it is certain that none is missing."""
        stored = os.fstat(file.fileno()).st_size - SALT
        chunks = max(1, -(-stored // (PART + TAG)))
        size = stored - chunks * TAG
        if size < 0:
            raise Damaged("The file is too short")
        self.read(file, size, (chunks - 1) * PART)
        return size

    def read(self, file: IO[bytes], size: int, place: int) -> bytes:
        """The part of ``file`` that begins at ``place``, a multiple of ``PART``."""
        number = place // PART
        file.seek(0)
        cipher = self._cipher(file.read(SALT))
        file.seek(SALT + number * (PART + TAG))
        nonce = _nonce(number, is_last=place + PART >= size)
        try:
            return cipher.decrypt(nonce, file.read(PART + TAG), None)
        except InvalidTag:
            raise Damaged("A part of the file is not what was stored") from None

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(_derived(self.key, salt, f"file {self.name}"))


def load_seal(folder: Path, variable: str | None, environ: Mapping[str, str]) -> Seal | None:
    """The key in the environment variable of that name; None if files are not to be sealed.

    The folder remembers with which key its files are sealed.

    Raises:
        WrongKey: there is no such key, or it is none, or not the one of this folder.
    """
    note = folder / FINGERPRINT
    if variable is None:
        if note.exists():
            raise WrongKey("the files are sealed: say which environment variable holds the key")
        return None
    seal = Seal(_key(variable, environ))
    if not note.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(seal.fingerprint())
    if note.read_text() != seal.fingerprint():
        raise WrongKey(f"{variable} holds another key than the one that has sealed the files")
    return seal


def _key(variable: str, environ: Mapping[str, str]) -> bytes:
    try:
        key = b64decode(environ[variable].strip(), validate=True)
    except KeyError:
        raise WrongKey(f"the environment variable {variable} is not set") from None
    except ValueError:
        key = b""
    if len(key) != KEY or len(set(key)) < FEWEST_DIFFERENT_BYTES:
        raise WrongKey(
            f"{variable} must hold {KEY} random bytes in base64, as from `openssl rand -base64 32`"
        )
    return key


def _derived(key: bytes, salt: bytes, purpose: str) -> bytes:
    info = b"hearth media 1 " + purpose.encode()
    return HKDF(SHA256(), KEY, salt, info).derive(key)


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
