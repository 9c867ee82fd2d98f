"""`hearth token`: sign-up tokens."""

from pathlib import Path

from homeserver.cli.beside import beside_server
from homeserver.clock import random_token, system_clock
from homeserver.registration_tokens import RegistrationTokens
from storage.store import Store

DAY_MS = 86_400_000


def create(file: Path, *, uses: int, days: int, admin: bool) -> None:
    """Make a token and print it; it is not stored in clear."""

    async def work(store: Store) -> None:
        tokens = RegistrationTokens(store, system_clock, random_token)
        token = await tokens.create(
            uses_allowed=uses,
            expires_at=system_clock() + days * DAY_MS,
            grants_admin=admin,
        )
        print(token)

    beside_server(file, work)
