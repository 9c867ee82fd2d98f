"""The database that the configuration names, and the stream that follows it."""

from typing import Any

from attrs import frozen

from homeserver.config import Config
from homeserver.metrics import Metrics
from storage.engine import Engine
from storage.store import Store
from storage.stream import Stream


@frozen
class Storage:
    """The database and what follows it."""

    stream: Stream
    store: Store


def engine_for(config: Config) -> Engine:
    """The database that the configuration names."""
    # Imported late: the driver of the other one would only take memory.
    kind, _, rest_ = config.database.partition(":")
    if kind == "sqlite":
        from storage.sqlite import SqliteEngine

        return SqliteEngine(config.data / rest_)
    from storage.postgres import PostgresEngine

    return PostgresEngine(config.database)


def open_database(config: Config, reactor: Any, metrics: Metrics) -> Storage:
    """Open the database; blocks. Raises whatever the database says when it cannot be reached."""
    stream = Stream()
    store = Store(reactor, engine_for(config), stream, metrics)
    store.open()
    return Storage(stream, store)
