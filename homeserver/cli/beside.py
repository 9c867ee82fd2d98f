"""Commands that work beside a running server, through its database."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from homeserver.assembly.database import engine_for
from homeserver.config import Config, load
from homeserver.metrics import Metrics
from homeserver.settings import ConfigError
from schema.errors import MatrixError
from storage.store import Store
from storage.stream import Stream


@contextmanager
def opened(reactor: Any, config: Config) -> Iterator[Store]:
    """The database that ``config`` names, which a running server may use at the same time.

    Raises:
        ConfigError: it cannot be used.
    """
    engine = engine_for(config)
    store = Store(reactor, engine, Stream(), Metrics())
    try:
        store.open()
    except engine.errors as error:
        raise ConfigError(f"{config.file}: the database cannot be used: {error}") from error
    try:
        yield store
    finally:
        store.close()


def beside_server(file: Path, work: Callable[[Store], Awaitable[None]]) -> None:
    """Run ``work`` with the database that ``file`` names; ends the process.

    A refusal is printed, and the exit code is 1.
    """

    async def run(reactor: Any) -> None:
        with opened(reactor, load(file)) as store:
            await work(store)

    def main(reactor: Any) -> "Deferred[None]":
        return Deferred.fromCoroutine(run(reactor)).addErrback(_explain)

    react(main)


def _explain(failure: Any) -> None:
    failure.trap(ConfigError, MatrixError)
    print(failure.getErrorMessage(), file=sys.stderr)
    raise SystemExit(1)
