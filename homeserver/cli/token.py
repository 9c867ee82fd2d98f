"""`hearth token`: sign-up tokens. Works beside a running server, through the database."""

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from homeserver.assembly.database import engine_for
from homeserver.clock import random_token, system_clock
from homeserver.config import load
from homeserver.metrics import Metrics
from homeserver.registration_tokens import RegistrationTokens
from homeserver.settings import ConfigError
from schema.errors import MatrixError
from storage.store import Store
from storage.stream import Stream

DAY_MS = 86_400_000


def create(file: Path, *, uses: int, days: int, admin: bool) -> None:
    """Make a token and print it; it is not stored in clear."""

    async def work(reactor: Any) -> None:
        config = load(file)
        store = Store(reactor, engine_for(config), Stream(), Metrics())
        store.open()
        try:
            tokens = RegistrationTokens(store, system_clock, random_token)
            token = await tokens.create(
                uses_allowed=uses,
                expires_at=system_clock() + days * DAY_MS,
                grants_admin=admin,
            )
        finally:
            store.close()
        print(token)

    def main(reactor: Any) -> "Deferred[None]":
        return Deferred.fromCoroutine(work(reactor)).addErrback(_explain)

    react(main)


def _explain(failure: Any) -> None:
    failure.trap(ConfigError, MatrixError)
    print(failure.getErrorMessage(), file=sys.stderr)
    raise SystemExit(1)
