"""Account data and tags: what people keep for themselves (client-server API, "Client Config")."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.ignored_people import check_ignore_list
from schema.errors import BadJson, MethodForbidden, NotFound, TooLarge
from storage import account_data
from storage.account_data import GONE, AccountDataSet, Datum
from storage.freshness import Freshness
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction

MAX_TOTAL = 20 * 1024 * 1024
MAX_PIECES = 20_000
MAX_TYPE = 255
TAGS = "m.tag"
_KEPT_BY_SERVER = {
    "m.fully_read": "the read marker is set by read_markers",
    "m.push_rules": "push rules are set by pushrules",
}


@frozen
class AccountData:
    """Keeps and finds account data; ``room_id`` is empty for what belongs to no room."""

    store: Store

    async def put(
        self, user_id: str, room_id: str, data_type: str, content: dict[str, Any]
    ) -> None:
        """Keep ``content``; an empty object deletes what there is.

        Raises:
            MethodForbidden: the server keeps this type itself.
            TooLarge: the person keeps too much.
        """
        _check_writable(data_type)
        if not content:
            await self.delete(user_id, room_id, data_type)
            return
        await self.store.write(lambda txn: self.keep(txn, user_id, room_id, data_type, content))

    async def delete(self, user_id: str, room_id: str, data_type: str) -> None:
        """Delete a piece (MSC3391): the person's devices hear of it as an empty object, once.

        Nothing happens if there is none.

        Raises:
            MethodForbidden: the server keeps this type itself.
        """
        _check_writable(data_type)

        def work(txn: WriteTransaction) -> None:
            if account_data.find(txn, user_id, room_id, data_type) is not None:
                self._put(txn, user_id, Datum(room_id, data_type, GONE, txn.position()))

        await self.store.write(work)

    def keep(
        self,
        txn: WriteTransaction,
        user_id: str,
        room_id: str,
        data_type: str,
        content: dict[str, Any],
    ) -> None:
        """Inside a transaction: keep ``content`` and tell the person's devices."""
        if not data_type or len(data_type) > MAX_TYPE:
            raise BadJson(f"A type of account data has 1 to {MAX_TYPE} characters")
        json = orjson.dumps(content).decode()
        check_ignore_list(data_type, json)
        pieces, total = account_data.size(txn, user_id)
        if total + len(json) > MAX_TOTAL or pieces >= MAX_PIECES:
            raise TooLarge(
                f"One person's account data has at most {MAX_TOTAL} bytes in {MAX_PIECES} pieces"
            )
        self._put(txn, user_id, Datum(room_id, data_type, json, txn.position()))

    def _put(self, txn: WriteTransaction, user_id: str, datum: Datum) -> None:
        account_data.put(txn, user_id, datum)
        txn.announce(
            AccountDataSet(
                position=datum.position,
                users=(user_id,),
                room_id=datum.room_id,
                type=datum.type,
                json=datum.json,
            )
        )

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: nobody will ask for it any more, the account ends."""
        account_data.remove_all(txn, user_id)

    async def get(self, user_id: str, room_id: str, data_type: str) -> orjson.Fragment:
        """The content of one piece.

        Raises:
            NotFound: there is none.
        """
        json = await self.store.read(
            lambda txn: account_data.find(txn, user_id, room_id, data_type)
        )
        if json is None:
            raise NotFound("You have no account data of this type")
        return orjson.Fragment(json)

    async def tags(self, user_id: str, room_id: str) -> dict[str, Any]:
        """A person's tags of a room (client-server API, "Room Tagging")."""
        json = await self.store.read(lambda txn: account_data.find(txn, user_id, room_id, TAGS))
        return {"tags": _tags(json)}

    async def tag(self, user_id: str, room_id: str, tag: str, value: dict[str, Any]) -> None:
        """Put a tag on a room."""
        if not tag or len(tag.encode()) > MAX_TYPE:
            raise BadJson(f"A tag has 1 to {MAX_TYPE} bytes")
        await self._change_tags(user_id, room_id, lambda tags: {**tags, tag: value})

    async def untag(self, user_id: str, room_id: str, tag: str) -> None:
        """Take a tag away."""
        await self._change_tags(
            user_id,
            room_id,
            lambda tags: {name: value for name, value in tags.items() if name != tag},
        )

    async def _change_tags(
        self, user_id: str, room_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        def work(txn: WriteTransaction) -> None:
            tags = _tags(account_data.find(txn, user_id, room_id, TAGS))
            changed = change(tags)
            if changed != tags:
                self.keep(txn, user_id, room_id, TAGS, {"tags": changed})

        await self.store.write(work)


def _check_writable(data_type: str) -> None:
    if data_type in _KEPT_BY_SERVER:
        raise MethodForbidden(f"{data_type}: {_KEPT_BY_SERVER[data_type]}")


def _tags(json: str | None) -> dict[str, Any]:
    tags = orjson.loads(json or "{}").get("tags", {})
    return tags if isinstance(tags, dict) else {}


class AccountDataPart:
    """What /sync says of account data that belongs to no room."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh = Freshness()

    def start_at(self, position: int) -> None:
        """From this position of the stream on, this sees every change."""
        self._fresh = Freshness(position)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, AccountDataSet) and not change.room_id:
                self._fresh.touch(change.users[0], change.position)

    async def since(
        self, user_id: str, device_id: str, since: int | None, upto: int
    ) -> tuple[dict[str, Any], bool]:
        """As a part of /sync."""
        if since is not None and not self._fresh.may_have_changed(user_id, since):
            return {}, False
        data = await self._store.read(
            lambda txn: account_data.since(txn, user_id, since or 0, upto)
        )
        events = [
            _event(datum)
            for datum in data
            if not datum.room_id and (since is not None or datum.json != GONE)
        ]
        return ({"account_data": {"events": events}} if events else {}), bool(events)


class RoomAccountDataPart:
    """What /sync says of account data about rooms."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh = Freshness()

    def start_at(self, position: int) -> None:
        """From this position of the stream on, this sees every change."""
        self._fresh = Freshness(position)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, AccountDataSet) and change.room_id:
                self._fresh.touch(change.users[0], change.position)

    async def since(
        self,
        user_id: str,
        since: int | None,
        upto: int,
        rooms: Collection[str],
        new: Collection[str],
    ) -> dict[str, dict[str, Any]]:
        """As a part of /sync in rooms. A room that is new to the client gets all of it."""
        if since is not None and not new and not self._fresh.may_have_changed(user_id, since):
            return {}
        after = 0 if new or since is None else since
        data = await self._store.read(lambda txn: account_data.since(txn, user_id, after, upto))
        found: dict[str, dict[str, Any]] = {}
        for datum in data:
            is_change = since is not None and datum.position > since
            is_first = (since is None or datum.room_id in new) and datum.json != GONE
            is_news = is_change or is_first
            if datum.room_id in rooms and is_news:
                section = found.setdefault(datum.room_id, {"account_data": []})
                section["account_data"].append(_event(datum))
        return found


def _event(datum: Datum) -> dict[str, Any]:
    return {"type": datum.type, "content": orjson.Fragment(datum.json)}
