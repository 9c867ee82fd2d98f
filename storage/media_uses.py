"""Media: which events name a file, and what is not named any more."""

from collections.abc import Iterable

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class Removed:
    """A file whose row is gone."""

    user_id: str
    file_id: str
    size: int


def uploaders(txn: Transaction, media_ids: Iterable[str]) -> dict[str, str]:
    """Who has uploaded each of these, as far as they are there."""
    return dict(txn.among("SELECT media_id, user_id FROM media WHERE media_id IN (??)", media_ids))


def add(txn: WriteTransaction, position: int, uses: Iterable[tuple[str, bool]]) -> None:
    """The event at ``position`` names these, and whether their uploader shows them there."""
    txn.insert(
        "INSERT INTO media_uses (media_id, position, own) VALUES ??",
        [(media_id, position, int(own)) for media_id, own in uses],
    )


def end(txn: WriteTransaction, positions: Iterable[int]) -> list[tuple[str, bool]]:
    """The events at ``positions`` name nothing any more; what they named, and whether as theirs."""
    rows = txn.among(
        "DELETE FROM media_uses WHERE position IN (??) RETURNING media_id, own", positions
    )
    return [(media_id, own == 1) for media_id, own in rows]


def take_back(txn: WriteTransaction, media_ids: Iterable[str], now: int) -> None:
    """Their uploader does not show these any more."""
    txn.many(
        "UPDATE media SET taken_back_at = ? WHERE media_id = ?",
        [(now, media_id) for media_id in media_ids],
    )


def put_off(txn: WriteTransaction, media_ids: Iterable[str], now: int) -> None:
    """Begin the time of those that were taken back, and only of those, anew."""
    txn.many(
        "UPDATE media SET taken_back_at = ? WHERE media_id = ? AND taken_back_at IS NOT NULL",
        [(now, media_id) for media_id in media_ids],
    )


def taken_back(txn: Transaction, until: int, limit: int) -> list[str]:
    """What was taken back up to a moment, longest ago first."""
    rows = txn.all(
        "SELECT media_id FROM media WHERE taken_back_at <= ? ORDER BY taken_back_at LIMIT ?",
        until,
        limit,
    )
    return [media_id for (media_id,) in rows]


def remove_unused(txn: WriteTransaction, media_ids: Iterable[str]) -> list[Removed]:
    """Remove those that no event, no profile and no account data of their uploader names."""
    rows = txn.among(
        "DELETE FROM media WHERE media_id IN (??)"
        " AND NOT EXISTS (SELECT 1 FROM media_uses u WHERE u.media_id = media.media_id)"
        " AND NOT EXISTS (SELECT 1 FROM profiles p WHERE p.json LIKE '%/' || media.media_id || '%')"
        " AND NOT EXISTS (SELECT 1 FROM account_data a WHERE a.user_id = media.user_id"
        " AND a.json LIKE '%/' || media.media_id || '%')"
        " RETURNING user_id, file_id, size",
        media_ids,
    )
    return [Removed(*row) for row in rows]
