"""Accounts made by tools that know the shared secret (``registration.shared_secret``).

The protocol of ``/_synapse/admin/v1/register``, which existing tools speak: a nonce, and an
HMAC-SHA1 over everything that matters.
"""

import hmac

from homeserver.clock import Clock, TokenSource
from schema.errors import Forbidden

NONCE_MS = 60 * 1000


class SharedSecret:
    """Gives nonces and checks what was signed with the secret.

    A nonce carries its own end and seal, so any process can check it and none must remember it.
    Nothing is won by sending a signed request again: the name is taken by then.
    """

    def __init__(self, secret: str | None, clock: Clock, random_token: TokenSource) -> None:
        self._secret = None if secret is None else secret.encode()
        self._clock = clock
        self._random_token = random_token

    def nonce(self) -> str:
        """A nonce that is good for a minute.

        Raises:
            Forbidden: there is no shared secret.
        """
        content = f"{self._clock() + NONCE_MS}.{self._random_token()}"
        return f"{content}.{self._seal(content)}"

    def check(
        self,
        *,
        nonce: str,
        username: str,
        password: str,
        is_admin: bool,
        user_type: str | None,
        mac: str,
    ) -> None:
        """Refuse what was not signed with the secret within the last minute.

        Raises:
            Forbidden: the nonce or the MAC is wrong, or there is no shared secret.
        """
        content, _, seal = nonce.rpartition(".")
        if not hmac.compare_digest(self._seal(content).encode(), seal.encode()):
            raise Forbidden("The nonce is unknown; get one at this endpoint first")
        if int(content.partition(".")[0]) <= self._clock():
            raise Forbidden("The nonce has expired; get another")
        parts = [nonce, username, password, "admin" if is_admin else "notadmin"]
        if user_type:
            parts.append(user_type)
        expected = hmac.new(self._key(), "\0".join(parts).encode(), "sha1").hexdigest()
        if not hmac.compare_digest(expected.encode(), mac.lower().encode()):
            raise Forbidden("The MAC is wrong: it must be made with the shared secret")

    def _seal(self, content: str) -> str:
        return hmac.new(self._key(), b"nonce\0" + content.encode(), "sha256").hexdigest()

    def _key(self) -> bytes:
        if self._secret is None:
            raise Forbidden("This server has no shared secret for registration")
        return self._secret
