"""The backlog: what was sent before there was an index, indexed step by step."""

from typing import Any

from twisted.internet.task import deferLater

from homeserver.search.index import catch_up
from schema.errors import Unavailable
from storage import search
from storage.store import Store
from storage.transaction import WriteTransaction

STEP = 100
"""Positions of the stream in one transaction: what is sent meanwhile waits for no more than it."""
PAUSE_SECONDS = 0.02
RETRY_SECONDS = 1
"""While the database is away. Whoever stops the server waits for no more than this."""


class SearchBacklog:
    """Indexes older events, the newest first, while the server is running.

    How far it has come stands in the database, so it goes on after a restart. Until it is done,
    searches find what is indexed.
    """

    def __init__(self, reactor: Any, store: Store) -> None:
        self._reactor = reactor
        self._store = store
        self._stopped = False

    async def run(self) -> None:
        """Go on until there is nothing left, or until ``stop``."""
        while not self._stopped:
            pause = PAUSE_SECONDS
            try:
                if not await self._store.write(self._step):
                    break
            except Unavailable:
                pause = RETRY_SECONDS
            await deferLater(self._reactor, pause)

    def stop(self) -> None:
        """Begin no further step."""
        self._stopped = True

    def _step(self, txn: WriteTransaction) -> bool:
        """Whether there was anything left to do."""
        upto = search.backlog(txn)
        if upto > 0:
            after = max(0, upto - STEP)
            catch_up(txn, after, upto)
            search.shorten_backlog(txn, after)
        return upto > 0
