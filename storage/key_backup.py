"""Key backups: their versions, and the sessions in them."""

from collections.abc import Iterable

from attrs import frozen

from storage.transaction import Row, Transaction, WriteTransaction


@frozen
class Version:
    """One version of a person's backup."""

    version: int
    algorithm: str
    auth_data: str
    etag: int
    session_count: int
    deleted: int


@frozen
class Session:
    """One session in a backup; ``json`` is what the client stored."""

    room_id: str
    session_id: str
    is_verified: bool
    first_message_index: int
    forwarded_count: int
    json: str


_VERSION = (
    "SELECT version, algorithm, auth_data, etag, session_count, deleted FROM key_backup_versions"
)


def current(txn: Transaction, user_id: str) -> Version | None:
    """The newest version that has not been deleted."""
    row = txn.one(
        f"{_VERSION} WHERE user_id = ? AND deleted = 0 ORDER BY version DESC LIMIT 1", user_id
    )
    return None if row is None else Version(*row)


def find(txn: Transaction, user_id: str, version: int) -> Version | None:
    """One version, also if it has been deleted."""
    row = txn.one(f"{_VERSION} WHERE user_id = ? AND version = ?", user_id, version)
    return None if row is None else Version(*row)


def create(txn: WriteTransaction, user_id: str, algorithm: str, auth_data: str) -> int:
    """Make an empty version under the next number that was never used."""
    version: int = txn.value(
        "INSERT INTO key_backup_versions (user_id, version, algorithm, auth_data)"
        " SELECT ?, COALESCE(MAX(version), 0) + 1, ?, ? FROM key_backup_versions"
        " WHERE user_id = ? RETURNING version",
        user_id,
        algorithm,
        auth_data,
        user_id,
    )
    return version


def set_auth_data(txn: WriteTransaction, user_id: str, version: int, auth_data: str) -> None:
    """Change what the client says about a version."""
    txn.run(
        "UPDATE key_backup_versions SET auth_data = ? WHERE user_id = ? AND version = ?",
        auth_data,
        user_id,
        version,
    )


def delete_version(txn: WriteTransaction, user_id: str, version: int) -> None:
    """Empty a version but for its number."""
    txn.run(
        "UPDATE key_backup_versions SET deleted = 1, auth_data = '', session_count = 0"
        " WHERE user_id = ? AND version = ?",
        user_id,
        version,
    )
    txn.run("DELETE FROM key_backup_sessions WHERE user_id = ? AND version = ?", user_id, version)


def delete_all(txn: WriteTransaction, user_id: str) -> None:
    """Remove every version of a person's backups."""
    txn.run("DELETE FROM key_backup_versions WHERE user_id = ?", user_id)
    txn.run("DELETE FROM key_backup_sessions WHERE user_id = ?", user_id)


def count_change(txn: WriteTransaction, user_id: str, version: int, more: int) -> tuple[int, int]:
    """Give a version a new etag and ``more`` sessions; returns etag and number of sessions."""
    row = txn.one(
        "UPDATE key_backup_versions SET etag = etag + 1, session_count = session_count + ?"
        " WHERE user_id = ? AND version = ? RETURNING etag, session_count",
        more,
        user_id,
        version,
    )
    assert row is not None, "the version was read in this transaction"
    return row[0], row[1]


def worth(
    txn: Transaction, user_id: str, version: int, session_ids: Iterable[str]
) -> dict[tuple[str, str], tuple[int, int, int]]:
    """By room and session id: verified, first message index and forwarded count of what is kept."""
    rows = txn.among(
        "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count"
        " FROM key_backup_sessions WHERE session_id IN (??) AND user_id = ? AND version = ?",
        session_ids,
        user_id,
        version,
    )
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}


def put_sessions(
    txn: WriteTransaction, user_id: str, version: int, sessions: Iterable[Session]
) -> None:
    """Store sessions, in place of those with the same room and id."""
    txn.many(
        "INSERT INTO key_backup_sessions (user_id, version, room_id, session_id, is_verified,"
        " first_message_index, forwarded_count, json) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (user_id, version, session_id, room_id) DO UPDATE SET"
        " is_verified = excluded.is_verified, first_message_index = excluded.first_message_index,"
        " forwarded_count = excluded.forwarded_count, json = excluded.json",
        [
            (
                user_id,
                version,
                session.room_id,
                session.session_id,
                int(session.is_verified),
                session.first_message_index,
                session.forwarded_count,
                session.json,
            )
            for session in sessions
        ],
    )


def sessions(
    txn: Transaction, user_id: str, version: int, room_id: str | None, session_id: str | None
) -> list[Row]:
    """Room id, session id and JSON: of one session, of one room, or of all."""
    which, values = _which(user_id, version, room_id, session_id)
    return txn.all(f"SELECT room_id, session_id, json FROM key_backup_sessions{which}", *values)


def delete_sessions(
    txn: WriteTransaction, user_id: str, version: int, room_id: str | None, session_id: str | None
) -> int:
    """Remove one session, those of one room, or all; returns how many there were."""
    which, values = _which(user_id, version, room_id, session_id)
    return txn.run(f"DELETE FROM key_backup_sessions{which}", *values)


def _which(
    user_id: str, version: int, room_id: str | None, session_id: str | None
) -> tuple[str, list[str | int]]:
    which = " WHERE user_id = ? AND version = ?"
    values: list[str | int] = [user_id, version]
    if room_id is not None:
        which, values = f"{which} AND room_id = ?", [*values, room_id]
    if session_id is not None:
        which, values = f"{which} AND session_id = ?", [*values, session_id]
    return which, values
