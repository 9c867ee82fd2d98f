"""Previews of links that were made already."""

from collections.abc import Iterable

from storage.transaction import Transaction, WriteTransaction


def find(txn: Transaction, url_hash: str, now: int) -> tuple[bool, str | None]:
    """Whether there is a result that still holds, and its JSON."""
    row = txn.one(
        "SELECT json FROM url_previews WHERE url_hash = ? AND expires_at > ?", url_hash, now
    )
    return (False, None) if row is None else (True, row[0])


def put(
    txn: WriteTransaction, url_hash: str, json: str | None, media_id: str | None, expires_at: int
) -> None:
    """Keep a result, in place of an older one: remove that first, for its picture's sake."""
    txn.run(
        "INSERT INTO url_previews (url_hash, json, media_id, expires_at) VALUES (?, ?, ?, ?)",
        url_hash,
        json,
        media_id,
        expires_at,
    )


def remove(txn: WriteTransaction, url_hash: str) -> list[str]:
    """Remove a result; the picture that belonged to it, if there was one."""
    return _pictures(
        txn.all("DELETE FROM url_previews WHERE url_hash = ? RETURNING media_id", url_hash)
    )


def count(txn: Transaction) -> int:
    """How many results are kept."""
    found: int = txn.value("SELECT COUNT(*) FROM url_previews")
    return found


def count_expired(txn: Transaction, now: int) -> int:
    """How many results do not hold any more."""
    found: int = txn.value("SELECT COUNT(*) FROM url_previews WHERE expires_at <= ?", now)
    return found


def remove_expired(txn: WriteTransaction, now: int) -> list[str]:
    """Remove the results that do not hold any more; the pictures that belonged to them."""
    return _pictures(
        txn.all("DELETE FROM url_previews WHERE expires_at <= ? RETURNING media_id", now)
    )


def remove_first(txn: WriteTransaction, number: int) -> list[str]:
    """Remove those that expire first; the pictures that belonged to them."""
    return _pictures(
        txn.all(
            "DELETE FROM url_previews WHERE url_hash IN"
            " (SELECT url_hash FROM url_previews ORDER BY expires_at LIMIT ?) RETURNING media_id",
            number,
        )
    )


def _pictures(rows: Iterable[tuple[str | None]]) -> list[str]:
    return [media_id for (media_id,) in rows if media_id is not None]
