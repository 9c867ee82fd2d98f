"""Media: who uploaded what, under which id, and which file on disk holds it."""

from collections.abc import Iterable

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class MediaFile:
    """An uploaded file as its row describes it."""

    file_id: str
    size: int
    content_type: str
    file_name: str | None
    sealed: bool


@frozen
class Media:
    """A media id: whose it is, and its file; before the upload only until when it may come."""

    user_id: str
    expires_at: int | None
    file: MediaFile | None


def add(txn: WriteTransaction, media_id: str, user_id: str, now: int, file: MediaFile) -> None:
    """A new media id that has its file from the start."""
    txn.later(
        "INSERT INTO media"
        " (media_id, user_id, created_at, file_id, size, content_type, file_name, sealed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        media_id,
        user_id,
        now,
        file.file_id,
        file.size,
        file.content_type,
        file.file_name,
        int(file.sealed),
    )


def announce(txn: WriteTransaction, media_id: str, user_id: str, now: int, expires_at: int) -> None:
    """A new media id whose file comes later."""
    txn.run(
        "INSERT INTO media (media_id, user_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
        media_id,
        user_id,
        now,
        expires_at,
    )


def fill(txn: WriteTransaction, media_id: str, file: MediaFile) -> bool:
    """Give an announced media id its file. False when it has one already, or is gone."""
    return bool(
        txn.run(
            "UPDATE media SET expires_at = NULL, file_id = ?, size = ?, content_type = ?,"
            " file_name = ?, sealed = ? WHERE media_id = ? AND file_id IS NULL",
            file.file_id,
            file.size,
            file.content_type,
            file.file_name,
            int(file.sealed),
            media_id,
        )
    )


def find(txn: Transaction, media_id: str) -> Media | None:
    """What is known about a media id."""
    row = txn.one(
        "SELECT user_id, expires_at, file_id, size, content_type, file_name, sealed FROM media"
        " WHERE media_id = ?",
        media_id,
    )
    if row is None:
        return None
    user_id, expires_at, file_id, size, content_type, file_name, sealed = row
    if file_id is None:
        return Media(user_id, expires_at, None)
    file = MediaFile(file_id, size, content_type, file_name, sealed == 1)
    return Media(user_id, expires_at, file)


def count_expired(txn: Transaction, now: int) -> int:
    """How many announced uploads did not come in time."""
    count: int = txn.value(
        "SELECT COUNT(*) FROM media WHERE file_id IS NULL AND expires_at <= ?", now
    )
    return count


def forget_expired(txn: WriteTransaction, now: int) -> None:
    """Remove every announced upload that did not come in time."""
    txn.run("DELETE FROM media WHERE file_id IS NULL AND expires_at <= ?", now)


def count_pending(txn: Transaction, user_id: str, now: int) -> int:
    """How many announced uploads of somebody may still come."""
    count: int = txn.value(
        "SELECT COUNT(*) FROM media WHERE user_id = ? AND file_id IS NULL AND expires_at > ?",
        user_id,
        now,
    )
    return count


def known(txn: Transaction, file_ids: Iterable[str]) -> set[str]:
    """Those of these files that a media id means."""
    rows = txn.among("SELECT file_id FROM media WHERE file_id IN (??)", file_ids)
    return {file_id for (file_id,) in rows}
