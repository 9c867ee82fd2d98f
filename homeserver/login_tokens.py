"""Logging in a second device by a token from the first (client-server API, "Token-based")."""

from collections.abc import Sequence
from hashlib import sha256

from attrs import frozen

from homeserver.clock import Clock, TokenSource
from homeserver.requester import Requester
from schema.errors import Forbidden
from storage import login_tokens
from storage.store import Store
from storage.transaction import WriteTransaction

PREFIX = "hl_"
LIFETIME_MS = 2 * 60 * 1000


@frozen
class LoginTokens:
    """Gives and takes tokens. Random, known only as hashes, good for one login within minutes."""

    store: Store
    clock: Clock
    random_token: TokenSource

    async def issue(self, requester: Requester) -> tuple[str, int]:
        """A new token, and for how many milliseconds it is good. It ends with the device, too."""
        token = PREFIX + self.random_token()

        def work(txn: WriteTransaction) -> None:
            now = self.clock()
            login_tokens.remove_expired(txn, now)
            login_tokens.add(
                txn, _hash(token), requester.user_id, requester.device_id, now + LIFETIME_MS
            )

        await self.store.write(work)
        return token, LIFETIME_MS

    async def redeem(self, token: str) -> str:
        """Whose the token is. Whatever follows, it is used up.

        Raises:
            Forbidden: nobody's, or not any more.
        """
        found = await self.store.write(lambda txn: login_tokens.take(txn, _hash(token)))
        if found is None or found[1] <= self.clock():
            raise Forbidden("The login token is not good, or not any more; ask for a new one")
        return found[0]

    def forget(self, txn: WriteTransaction, user_id: str, device_ids: Sequence[str]) -> None:
        """Inside a transaction: these devices are gone, and with them what they asked for."""
        login_tokens.remove_of(txn, user_id, device_ids)


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
