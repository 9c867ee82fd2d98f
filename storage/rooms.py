"""Rooms and their aliases: what the room directory knows, and what never changes."""

from collections.abc import Iterable

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class RoomRow:
    """What never changes about a room, and whether the directory lists it."""

    room_id: str
    version: str
    kind: str
    unique_key: str | None
    is_published: int


def add(txn: WriteTransaction, room: RoomRow) -> None:
    """Store a new room, before its first event."""
    txn.later(
        "INSERT INTO rooms (room_id, version, kind, unique_key, is_published)"
        " VALUES (?, ?, ?, ?, ?)",
        room.room_id,
        room.version,
        room.kind,
        room.unique_key,
        room.is_published,
    )


def find(txn: Transaction, room_id: str) -> RoomRow | None:
    """One room."""
    row = txn.one(
        "SELECT room_id, version, kind, unique_key, is_published FROM rooms WHERE room_id = ?",
        room_id,
    )
    return None if row is None else RoomRow(*row)


def find_many(txn: Transaction, room_ids: Iterable[str]) -> list[RoomRow]:
    """Those of these rooms that there are."""
    rows = txn.among(
        "SELECT room_id, version, kind, unique_key, is_published FROM rooms WHERE room_id IN (??)",
        room_ids,
    )
    return [RoomRow(*row) for row in rows]


def existing(txn: Transaction, room_ids: Iterable[str]) -> set[str]:
    """Which of these rooms there are."""
    rows = txn.among("SELECT room_id FROM rooms WHERE room_id IN (??)", room_ids)
    return {row[0] for row in rows}


def find_unique(txn: Transaction, unique_key: str) -> str | None:
    """The id of the only room with this key."""
    room_id: str | None = txn.value("SELECT room_id FROM rooms WHERE unique_key = ?", unique_key)
    return room_id


def release_unique(txn: WriteTransaction, room_id: str) -> None:
    """The room is left for good: another may take its place."""
    txn.run("UPDATE rooms SET unique_key = NULL WHERE room_id = ?", room_id)


def publish(txn: WriteTransaction, room_id: str, published: bool) -> None:
    """List a room in the directory, or take it out."""
    txn.run("UPDATE rooms SET is_published = ? WHERE room_id = ?", int(published), room_id)


def published(txn: Transaction) -> list[str]:
    """The ids of all rooms that the directory lists."""
    return [row[0] for row in txn.all("SELECT room_id FROM rooms WHERE is_published = 1")]


def add_alias(txn: WriteTransaction, alias: str, room_id: str, creator: str) -> bool:
    """Point an alias to a room. False if it points somewhere already."""
    return (
        txn.run(
            "INSERT INTO aliases (alias, room_id, creator) VALUES (?, ?, ?)"
            " ON CONFLICT (alias) DO NOTHING",
            alias,
            room_id,
            creator,
        )
        == 1
    )


def remove_alias(txn: WriteTransaction, alias: str) -> None:
    """Take an alias away."""
    txn.run("DELETE FROM aliases WHERE alias = ?", alias)


def find_alias(txn: Transaction, alias: str) -> tuple[str, str] | None:
    """The room that an alias points to, and who made it."""
    row = txn.one("SELECT room_id, creator FROM aliases WHERE alias = ?", alias)
    return None if row is None else (row[0], row[1])


def aliases_of(txn: Transaction, room_id: str) -> list[str]:
    """Every alias of a room."""
    return [
        row[0]
        for row in txn.all("SELECT alias FROM aliases WHERE room_id = ? ORDER BY alias", room_id)
    ]


def aliases_in(txn: Transaction, room_ids: Iterable[str]) -> dict[str, list[str]]:
    """The aliases of some rooms; those that have none are missing."""
    found: dict[str, list[str]] = {}
    for room_id, alias in txn.among(
        "SELECT room_id, alias FROM aliases WHERE room_id IN (??)", room_ids
    ):
        found.setdefault(room_id, []).append(alias)
    return found


def move_aliases(txn: WriteTransaction, room_id: str, new_room_id: str) -> None:
    """Have every alias of one room point to another."""
    txn.run("UPDATE aliases SET room_id = ? WHERE room_id = ?", new_room_id, room_id)
