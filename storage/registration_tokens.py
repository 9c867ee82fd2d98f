"""Registration tokens: hashes of what was handed out, and how often each was used."""

from storage.transaction import Transaction, WriteTransaction

_USABLE = "(uses_allowed IS NULL OR used < uses_allowed) AND (expires_at IS NULL OR expires_at > ?)"


def add_registration_token(
    txn: WriteTransaction,
    token_hash: str,
    now: int,
    *,
    uses_allowed: int | None,
    expires_at: int | None = None,
    grants_admin: bool = False,
    is_first: bool = False,
) -> bool:
    """Store a token; False when it exists already."""
    return bool(
        txn.run(
            "INSERT INTO registration_tokens (hash, uses_allowed, used, expires_at, grants_admin,"
            " is_first, created_at) VALUES (?, ?, 0, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            token_hash,
            uses_allowed,
            expires_at,
            int(grants_admin),
            int(is_first),
            now,
        )
    )


def is_usable(txn: Transaction, token_hash: str, now: int) -> bool:
    """Whether the token could be used now."""
    sql = f"SELECT 1 FROM registration_tokens WHERE hash = ? AND {_USABLE}"
    return txn.one(sql, token_hash, now) is not None


def use_registration_token(txn: WriteTransaction, token_hash: str, now: int) -> bool | None:
    """Count one use; whether it grants administration, or None when it cannot be used."""
    grants_admin = txn.value(
        "UPDATE registration_tokens SET used = used + 1"
        f" WHERE hash = ? AND {_USABLE} RETURNING grants_admin",
        token_hash,
        now,
    )
    return None if grants_admin is None else bool(grants_admin)


def remove_first_token(txn: WriteTransaction) -> None:
    """Take back the token for the first administrator, if nobody used it."""
    txn.run("DELETE FROM registration_tokens WHERE is_first = 1 AND used = 0")
