"""Sessions: access and refresh tokens as hashes, each bound to one device."""

from collections.abc import Collection

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class AccessToken:
    """What a request may do that carries the token, and how its device stands."""

    user_id: str
    device_id: str
    generation: int
    expires_at: int | None
    confirmed: int
    """The newest generation of tokens that the device's client has been seen to have."""
    is_admin: bool
    is_guest: bool
    locked: bool


@frozen
class RefreshToken:
    """A refresh token of some generation, and how its device stands."""

    user_id: str
    device_id: str
    generation: int
    confirmed: int
    locked: bool


def add_access_token(
    txn: WriteTransaction,
    token_hash: str,
    user_id: str,
    device_id: str,
    generation: int,
    expires_at: int | None,
) -> None:
    """Store an access token."""
    txn.later(
        "INSERT INTO access_tokens (hash, user_id, device_id, generation, expires_at)"
        " VALUES (?, ?, ?, ?, ?)",
        token_hash,
        user_id,
        device_id,
        generation,
        expires_at,
    )


def add_refresh_token(
    txn: WriteTransaction, token_hash: str, user_id: str, device_id: str, generation: int
) -> None:
    """Store a refresh token."""
    txn.later(
        "INSERT INTO refresh_tokens (hash, user_id, device_id, generation) VALUES (?, ?, ?, ?)",
        token_hash,
        user_id,
        device_id,
        generation,
    )


def find_access_token(txn: Transaction, token_hash: str) -> AccessToken | None:
    """The token, unless its account is closed."""
    row = txn.one(
        "SELECT t.user_id, t.device_id, t.generation, t.expires_at, d.generation,"
        " a.is_admin, a.is_guest, a.locked FROM access_tokens t"
        " JOIN devices d ON d.user_id = t.user_id AND d.device_id = t.device_id"
        " JOIN accounts a ON a.user_id = t.user_id"
        " WHERE t.hash = ? AND a.deactivated_at IS NULL",
        token_hash,
    )
    if row is None:
        return None
    user_id, device_id, generation, expires_at, confirmed, is_admin, is_guest, locked = row
    return AccessToken(
        user_id,
        device_id,
        generation,
        expires_at,
        confirmed,
        bool(is_admin),
        bool(is_guest),
        bool(locked),
    )


def find_refresh_token(txn: Transaction, token_hash: str) -> RefreshToken | None:
    """The token, unless its account is closed."""
    row = txn.one(
        "SELECT t.user_id, t.device_id, t.generation, d.generation, a.locked"
        " FROM refresh_tokens t"
        " JOIN devices d ON d.user_id = t.user_id AND d.device_id = t.device_id"
        " JOIN accounts a ON a.user_id = t.user_id"
        " WHERE t.hash = ? AND a.deactivated_at IS NULL",
        token_hash,
    )
    if row is None:
        return None
    user_id, device_id, generation, confirmed, locked = row
    return RefreshToken(user_id, device_id, generation, confirmed, bool(locked))


def remove_older_access_tokens(
    txn: WriteTransaction, user_id: str, device_id: str, generation: int
) -> None:
    """Remove a device's access tokens from before ``generation``."""
    txn.run(
        "DELETE FROM access_tokens WHERE user_id = ? AND device_id = ? AND generation < ?",
        user_id,
        device_id,
        generation,
    )


def remove_older_refresh_tokens(
    txn: WriteTransaction, user_id: str, device_id: str, generation: int
) -> None:
    """Remove a device's refresh tokens from before ``generation``."""
    txn.run(
        "DELETE FROM refresh_tokens WHERE user_id = ? AND device_id = ? AND generation < ?",
        user_id,
        device_id,
        generation,
    )


def expire_access_tokens(txn: WriteTransaction, user_id: str, device_id: str, now: int) -> None:
    """Let every access token of a device have expired."""
    txn.run(
        "UPDATE access_tokens SET expires_at = ? WHERE user_id = ? AND device_id = ?",
        now,
        user_id,
        device_id,
    )


def remove_access_tokens(txn: WriteTransaction, user_id: str, device_ids: Collection[str]) -> None:
    """Remove every access token of these devices."""
    txn.among(
        "DELETE FROM access_tokens WHERE device_id IN (??) AND user_id = ? RETURNING 1",
        device_ids,
        user_id,
    )


def remove_refresh_tokens(txn: WriteTransaction, user_id: str, device_ids: Collection[str]) -> None:
    """Remove every refresh token of these devices."""
    txn.among(
        "DELETE FROM refresh_tokens WHERE device_id IN (??) AND user_id = ? RETURNING 1",
        device_ids,
        user_id,
    )
