"""Key backups: encrypted copies of session keys, kept for their owner.

Client-server API, "Server-side key backups". Whatever changes the sessions changes the version's
etag and count in the same transaction.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from orjson import Fragment

from e2e import public_keys
from e2e.signatures import (
    check_public_key,
    is_signature,
    signatures_by,
    signed_part,
    without_signatures,
)
from schema.canonical import check_canonical
from schema.errors import InvalidParam, InvalidSignature, NotFound, TooLarge, WrongRoomKeysVersion
from storage import key_backup
from storage.key_backup import Session, Version
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction

MEGOLM = "m.megolm_backup.v1.curve25519-aes-sha2"
"""The algorithm whose ``auth_data`` the specification describes."""

LARGEST_SESSION = 65_536
LARGEST_AUTH_DATA = 65_536
LONGEST_ID = 255

Json = dict[str, Any]
Rooms = Mapping[str, Mapping[str, Json]]
"""Sessions as clients send them: by room id and session id."""

Worth = tuple[int, int, int]
"""Verified, first message index, forwarded count of a session's key."""


class KeyBackups:
    """The backups of everybody; nobody reaches those of others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, user_id: str, algorithm: str, auth_data: Json) -> str:
        """Start a new, empty backup, to which keys go from now on; its version.

        Raises:
            InvalidParam: the public key is malformed.
            InvalidSignature: one of the person's own keys has not signed what it seems to have.
        """
        json = _auth_data(algorithm, auth_data)

        def work(txn: WriteTransaction) -> str:
            _check_signatures(txn, user_id, auth_data, {})
            return str(key_backup.create(txn, user_id, algorithm, json))

        return await self._store.write(work)

    async def describe(self, user_id: str, version: str | None) -> Json:
        """What there is to say about one backup, or about the current one.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.read(lambda txn: _get(txn, user_id, version))
        return {
            "version": str(found.version),
            "algorithm": found.algorithm,
            "auth_data": Fragment(found.auth_data),
            "count": found.session_count,
            "etag": str(found.etag),
        }

    async def update(
        self, user_id: str, version: str, algorithm: str, auth_data: Json, named: str | None
    ) -> None:
        """Change the ``auth_data`` of a backup. ``named`` is the version that the body names.

        Raises:
            NotFound: there is no such version.
            InvalidParam: the algorithm, or the version in the body, is another one.
            InvalidParam, InvalidSignature: as ``create`` does.
        """
        json = _auth_data(algorithm, auth_data)

        def work(txn: WriteTransaction) -> None:
            found = _get(txn, user_id, version)
            if named is not None and named != str(found.version):
                raise InvalidParam("The version in the body is not the one in the address")
            if algorithm != found.algorithm:
                raise InvalidParam(f"The algorithm of this backup is {found.algorithm}")
            _check_signatures(txn, user_id, auth_data, orjson.loads(found.auth_data))
            key_backup.set_auth_data(txn, user_id, found.version, json)

        await self._store.write(work)

    async def delete(self, user_id: str, version: str) -> None:
        """Remove a backup and all that is in it; fine if that has been done before.

        Raises:
            NotFound: there has never been such a version.
        """

        def work(txn: WriteTransaction) -> None:
            number = _number(version)
            found = None if number is None else key_backup.find(txn, user_id, number)
            if found is None:
                raise NotFound("Unknown backup version")
            if not found.deleted:
                key_backup.delete_version(txn, user_id, found.version)

        await self._store.write(work)

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Remove all of somebody's backups; in the transaction that closes the account."""
        key_backup.delete_all(txn, user_id)

    async def store(self, user_id: str, version: str, rooms: Rooms) -> Json:
        """Put keys into the current backup, where they are better than what is there.

        Returns the etag, which is a new one only if something has changed, and the count.

        Raises:
            NotFound: there is no backup.
            WrongRoomKeysVersion: ``version`` is not the current one; says which is.
            TooLarge: a key is larger than any client makes it.
        """

        def work(txn: WriteTransaction) -> Json:
            found = _get(txn, user_id, None)
            if _number(version) != found.version:
                raise WrongRoomKeysVersion(
                    f"The current backup version is {found.version}",
                    current_version=str(found.version),
                )
            session_ids = {each for sessions in rooms.values() for each in sessions}
            kept = key_backup.worth(txn, user_id, found.version, session_ids)
            better = [
                (room_id, session_id)
                for room_id, sessions in rooms.items()
                for session_id, key in sessions.items()
                if is_better(worth(key), kept.get((room_id, session_id)))
            ]
            if not better:
                return _state(found.etag, found.session_count)
            key_backup.put_sessions(
                txn, user_id, found.version, [_session(*ids, rooms) for ids in better]
            )
            more = sum(ids not in kept for ids in better)
            return _state(*key_backup.count_change(txn, user_id, found.version, more))

        return await self._store.write(work)

    async def read(
        self, user_id: str, version: str, room_id: str | None, session_id: str | None
    ) -> dict[str, dict[str, Fragment]]:
        """The keys of one session, of one room or of a whole backup, by room and session id.

        Raises:
            NotFound: there is no such version.
        """

        def work(txn: Transaction) -> list[Any]:
            found = _get(txn, user_id, version)
            return key_backup.sessions(txn, user_id, found.version, room_id, session_id)

        rooms: dict[str, dict[str, Fragment]] = {}
        for room, session, json in await self._store.read(work):
            rooms.setdefault(room, {})[session] = Fragment(json)
        return rooms

    async def remove(
        self, user_id: str, version: str, room_id: str | None, session_id: str | None
    ) -> Json:
        """Remove the keys of one session, of one room or of a whole backup; etag and count.

        Raises:
            NotFound: there is no such version.
        """

        def work(txn: WriteTransaction) -> Json:
            found = _get(txn, user_id, version)
            gone = key_backup.delete_sessions(txn, user_id, found.version, room_id, session_id)
            if not gone:
                return _state(found.etag, found.session_count)
            return _state(*key_backup.count_change(txn, user_id, found.version, -gone))

        return await self._store.write(work)


def worth(key: Json) -> Worth:
    """What the choice between two keys for the same session depends on."""
    return int(key["is_verified"]), key["first_message_index"], key["forwarded_count"]


def is_better(new: Worth, kept: Worth | None) -> bool:
    """Whether a key replaces the one that is kept: the rule of the specification."""
    if kept is None:
        return True
    if new[0] != kept[0]:
        return new[0] > kept[0]
    return new[1:] < kept[1:]


def _session(room_id: str, session_id: str, rooms: Rooms) -> Session:
    if max(len(room_id), len(session_id)) > LONGEST_ID:
        raise InvalidParam(f"Room and session ids have at most {LONGEST_ID} characters")
    key = rooms[room_id][session_id]
    json = orjson.dumps(key)
    if len(json) > LARGEST_SESSION:
        raise TooLarge(f"A backed-up key must not be larger than {LARGEST_SESSION} bytes")
    return Session(
        room_id,
        session_id,
        key["is_verified"],
        key["first_message_index"],
        key["forwarded_count"],
        json.decode(),
    )


def _get(txn: Transaction, user_id: str, version: str | None) -> Version:
    number = None if version is None else _number(version)
    if version is None:
        found = key_backup.current(txn, user_id)
    else:
        found = None if number is None else key_backup.find(txn, user_id, number)
    if found is None or found.deleted:
        raise NotFound("No current backup version" if version is None else "Unknown backup version")
    return found


def _number(version: str) -> int | None:
    """Versions are numbers; to clients they are opaque, so anything may come."""
    plain = version.isascii() and version.isdigit() and len(version) <= 15
    return int(version) if plain and str(int(version)) == version else None


def _state(etag: int, count: int) -> Json:
    return {"etag": str(etag), "count": count}


def _auth_data(algorithm: str, auth_data: Json) -> str:
    """What describes a backup as the JSON to store, without a key that nobody could use."""
    if algorithm == MEGOLM:
        check_public_key(auth_data.get("public_key"), "auth_data.public_key")
    json = orjson.dumps(auth_data)
    if len(json) > LARGEST_AUTH_DATA:
        raise TooLarge(f"auth_data must not be larger than {LARGEST_AUTH_DATA} bytes")
    return json.decode()


def _check_signatures(txn: Transaction, user_id: str, auth_data: Json, stored: Json) -> None:
    """Refuse a signature that one of the person's keys has not made.

    What a key that is not known here has signed is for clients to judge: the device may be gone,
    the identity another one. What is stored already stays, even if the device has other keys now.
    """
    known = {**public_keys.of_devices(txn, user_id), **public_keys.of_identity(txn, user_id)}
    signatures = signatures_by(auth_data, user_id).items()
    by_known = {key_id: text for key_id, text in signatures if key_id in known}
    if not by_known:
        return
    check_canonical(auth_data, "auth_data")
    message = signed_part(auth_data)
    is_same = without_signatures(auth_data) == without_signatures(stored)
    kept = signatures_by(stored, user_id) if is_same else {}
    for key_id, signature in by_known.items():
        if signature != kept.get(key_id) and not is_signature(signature, message, known[key_id]):
            raise InvalidSignature(f"auth_data: the signature by {key_id} is not valid")
