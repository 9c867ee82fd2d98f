"""Sealing: what the server must be able to read, but nobody who has only the database."""

from base64 import urlsafe_b64decode
from hashlib import sha256
from hmac import digest
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from homeserver.signing_key import private_file


class Seal:
    """Encrypts texts, and tells them apart without showing them."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(key)
        self._fingerprints = sha256(b"fingerprint" + urlsafe_b64decode(key)).digest()

    def close(self, text: str) -> str:
        """The text, unreadable without the key."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str | None:
        """What was sealed; None if that was done with another key."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            return None

    def fingerprint(self, text: str) -> str:
        """The same for equal texts; says nothing else about them."""
        return digest(self._fingerprints, text.encode(), "sha256").hex()


def load_seal(folder: Path) -> Seal:
    """The key of this server, kept beside the database; made if there is none."""
    path = folder / "sealing.key"
    if not path.exists():
        private_file(path, Fernet.generate_key().decode())
    return Seal(path.read_text().strip())
