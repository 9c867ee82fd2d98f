"""Credentials for the relay that calls go through when two phones cannot reach each other."""

from base64 import b64encode
from hmac import digest

from attrs import field, frozen

from homeserver.clock import Clock


@frozen
class Credentials:
    """What a client shows to the relay, and which relays there are."""

    username: str
    password: str
    uris: list[str]
    lifetime_seconds: int


@frozen
class Turn:
    """Client-server API, "Voice over IP". The relay shares a secret with this server and asks
    nobody: the name says until when it is good, and for whom, and the password proves the name.
    That is what coturn calls ``use-auth-secret``."""

    uris: list[str]
    secret: str = field(repr=False)
    lifetime_seconds: int
    clock: Clock

    def credentials(self, user_id: str) -> Credentials:
        """Good from now on, for as long as the configuration says."""
        username = f"{self.clock() // 1000 + self.lifetime_seconds}:{user_id}"
        # SHA-1 is what relays speak; as a keyed digest it is not broken.
        proof = digest(self.secret.encode(), username.encode(), "sha1")
        return Credentials(username, b64encode(proof).decode(), self.uris, self.lifetime_seconds)
