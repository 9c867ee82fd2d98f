"""Filters that clients upload once and name by an id afterwards."""

from collections import OrderedDict
from typing import Any

import orjson

from homeserver.sync.filters import Filter
from schema.errors import InvalidParam, NotFound
from storage import filters
from storage.store import Store
from storage.transaction import WriteTransaction

MAX_IN_MEMORY = 1_000
MAX_PER_PERSON = 200
MAX_BYTES = 64 * 1024


class SavedFilters:
    """Everybody's filters. A saved filter never changes, so those in use stay in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: OrderedDict[tuple[str, str], Filter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._parsed)

    async def save(self, user_id: str, value: dict[str, Any]) -> str:
        """Keep a filter; its id. The same filter keeps its id; old ones make room for new ones.

        Raises:
            BadJson, InvalidParam: it is no filter.
        """
        Filter.parse(value)
        json = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        if len(json) > MAX_BYTES:
            raise InvalidParam(f"A filter has at most {MAX_BYTES} bytes")

        def work(txn: WriteTransaction) -> int:
            known = filters.find_same(txn, user_id, json)
            if known is not None:
                return known
            filter_id = filters.newest(txn, user_id) + 1
            filters.add(txn, user_id, filter_id, json)
            filters.forget_before(txn, user_id, filter_id - MAX_PER_PERSON)
            return filter_id

        return str(await self._store.write(work))

    async def read(self, user_id: str, filter_id: str) -> dict[str, Any]:
        """The filter as it was saved.

        Raises:
            NotFound: this person has no such filter.
        """
        json = None
        if filter_id.isascii() and filter_id.isdigit() and len(filter_id) < 18:
            json = await self._store.read(lambda txn: filters.find(txn, user_id, int(filter_id)))
        if json is None:
            raise NotFound("You have no filter with that id; upload it anew")
        value: dict[str, Any] = orjson.loads(json)
        return value

    async def get(self, user_id: str, filter_id: str) -> Filter:
        """The filter, understood.

        Raises:
            NotFound: this person has no such filter.
        """
        key = (user_id, filter_id)
        known = self._parsed.get(key)
        if known is None:
            known = Filter.parse(await self.read(user_id, filter_id))
            self._parsed[key] = known
            if len(self._parsed) > MAX_IN_MEMORY:
                self._parsed.popitem(last=False)
        return known
