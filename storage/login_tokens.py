"""Tokens with which a device of somebody lets another one log in."""

from collections.abc import Collection

from storage.transaction import WriteTransaction


def add(
    txn: WriteTransaction, token_hash: str, user_id: str, device_id: str, expires_at: int
) -> None:
    """Keep a new token."""
    txn.run(
        "INSERT INTO login_tokens (hash, user_id, device_id, expires_at) VALUES (?, ?, ?, ?)",
        token_hash,
        user_id,
        device_id,
        expires_at,
    )


def take(txn: WriteTransaction, token_hash: str) -> tuple[str, int] | None:
    """Whose the token is, and until when; nobody can take it a second time."""
    row = txn.one(
        "DELETE FROM login_tokens WHERE hash = ? RETURNING user_id, expires_at", token_hash
    )
    return None if row is None else (row[0], row[1])


def remove_expired(txn: WriteTransaction, now: int) -> None:
    """Forget tokens that nobody has used."""
    txn.run("DELETE FROM login_tokens WHERE expires_at <= ?", now)


def remove_of(txn: WriteTransaction, user_id: str, device_ids: Collection[str]) -> None:
    """Forget the tokens that some devices of somebody asked for."""
    txn.many(
        "DELETE FROM login_tokens WHERE user_id = ? AND device_id = ?",
        [(user_id, device_id) for device_id in device_ids],
    )
