"""Profiles: what people show of themselves, and who may change it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from attrs import frozen

from homeserver.bridges.queries import Queries
from homeserver.requester import Requester
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.membership import Membership
from schema.canonical import check_canonical, encode
from schema.errors import (
    BadJson,
    Forbidden,
    InvalidParam,
    KeyTooLarge,
    MissingParam,
    NotFound,
    ProfileTooLarge,
)
from schema.ids import UserId, localpart
from storage import members, profiles
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction

MAX_PROFILE = 64 * 1024
MAX_NAME = 256
MAX_URL = 1000
MAX_KEY = 255
# Appendices, "Common Namespaced Identifier Grammar".
_is_namespaced = re.compile(r"[a-z][a-z0-9._-]*").fullmatch
_is_media = re.compile(r"mxc://[^/\s]+/[A-Za-z0-9_-]+").fullmatch
_IN_ROOMS = {"displayname", "avatar_url"}
_TEXTS = {"displayname": MAX_NAME, "avatar_url": MAX_URL, "m.tz": 255}


@frozen(kw_only=True)
class ProfileChanged(Change):
    """Somebody has another name or picture; ``shown`` are those they have now."""

    user_id: str
    shown: Mapping[str, str]


@frozen
class Profiles:
    """Client-server API, "Profiles". Name and picture are also in every room the person is in."""

    store: Store
    rooms: RoomCache
    membership: Membership
    person_exists: Callable[[Transaction, str], bool]
    check_may_change: Callable[[str], None]
    """Refuses for people who must not take part for the time being."""
    queries: Queries

    async def all(self, user_id: str) -> dict[str, Any]:
        """Every field of a profile. A service may make a user whom it has reserved.

        Raises:
            NotFound: there is no such person.
            Timeout: the service did not answer.
        """
        await self.queries.user(user_id)

        def work(txn: Transaction) -> dict[str, Any] | None:
            if not self.person_exists(txn, user_id):
                return None
            return profiles.fields(txn, user_id)

        found = await self.store.read(work)
        if found is None:
            raise NotFound(f"There is nobody called {user_id} on this server")
        return found

    async def field(self, user_id: str, key: str) -> dict[str, Any]:
        """One field.

        Raises:
            NotFound: there is no such person, or they have no such field.
        """
        found = await self.all(user_id)
        if key not in found:
            raise NotFound(f"The profile of {user_id} has no {key}")
        return {key: found[key]}

    async def set(self, requester: Requester, user_id: str, key: str, body: Any) -> None:
        """Set a field to ``body[key]``; name and picture change in every room with it.

        Raises:
            Forbidden: it is somebody else's profile.
            UserSuspended: they are.
            BadJson, InvalidParam, KeyTooLarge, MissingParam, ProfileTooLarge: it cannot be.
        """
        _check_own(requester, user_id)
        self.check_may_change(user_id)
        _check_key(key)
        if key not in body:
            raise MissingParam(f"The body must have the key `{key}`")
        value = body[key]
        _check_field(key, value)
        json = orjson.dumps(value).decode()

        def work(txn: WriteTransaction) -> None:
            if len(encode({**profiles.fields(txn, user_id), key: value})) >= MAX_PROFILE:
                raise ProfileTooLarge("A profile has less than 64 KiB")
            if value in (None, "") and key in _IN_ROOMS:
                profiles.remove(txn, user_id, key)
            else:
                profiles.put(txn, user_id, key, json)
            self._show_in_rooms(txn, user_id, key)

        await self.store.write(work)

    async def remove(self, requester: Requester, user_id: str, key: str) -> None:
        """Take a field away.

        Raises:
            Forbidden: it is somebody else's profile.
            UserSuspended: they are.
            InvalidParam, KeyTooLarge: no field can have this name.
        """
        _check_own(requester, user_id)
        self.check_may_change(user_id)
        _check_key(key)

        def work(txn: WriteTransaction) -> None:
            profiles.remove(txn, user_id, key)
            self._show_in_rooms(txn, user_id, key)

        await self.store.write(work)

    def begin(self, txn: WriteTransaction, user_id: str) -> None:
        """Inside a transaction: a new person is called what they chose, until they say more.

        Without that, clients show the whole user id.
        """
        if not profiles.fields(txn, user_id):
            name = orjson.dumps(localpart(UserId(user_id))).decode()
            profiles.put(txn, user_id, "displayname", name)

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: the account ends. Whoever wants to be erased loses their name."""
        if erase:
            profiles.remove_all(txn, user_id)

    def _show_in_rooms(self, txn: WriteTransaction, user_id: str, key: str) -> None:
        """Each room that somebody has joined shows their name and picture."""
        if key not in _IN_ROOMS:
            return
        fields = profiles.fields(txn, user_id)
        shown = {name: fields[name] for name in _IN_ROOMS if name in fields}
        txn.announce(ProfileChanged(position=txn.position(), user_id=user_id, shown=shown))
        for room_id in members.rooms_of(txn, user_id, "join"):
            room = self.rooms.head(txn, room_id)
            content = room.state.content("m.room.member", user_id)
            if content.get("membership") == "join" and content.get(key) != shown.get(key):
                self.membership.put(txn, room, user_id, user_id, "join")


def _check_own(requester: Requester, user_id: str) -> None:
    if requester.user_id != user_id:
        raise Forbidden("Only you can change your profile")


def _check_key(key: str) -> None:
    if len(key.encode()) > MAX_KEY:
        raise KeyTooLarge(f"The name of a profile field has at most {MAX_KEY} bytes")
    if not _is_namespaced(key):
        raise InvalidParam(
            "The name of a profile field begins with a-z and goes on with a-z, 0-9, `.`, `_`, `-`"
        )


def _check_field(key: str, value: Any) -> None:
    check_canonical({key: value})
    if key not in _TEXTS or (value is None and key in _IN_ROOMS):
        return
    if not isinstance(value, str):
        raise BadJson(f"`{key}` must be a string")
    if len(value) > _TEXTS[key]:
        raise BadJson(f"`{key}` has at most {_TEXTS[key]} characters")
    if "\0" in value:
        raise BadJson(f"`{key}` must not hold the character U+0000")
    if key == "avatar_url" and value and not _is_media(value):
        raise InvalidParam("`avatar_url` is the address of an upload: mxc://...")
