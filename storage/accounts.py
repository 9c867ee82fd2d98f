"""Accounts: who exists, how they prove it, and what they may do."""

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class Account:
    """One row of ``accounts``."""

    user_id: str
    password: str | None
    is_admin: bool
    locked: bool
    created_at: int
    deactivated_at: int | None


def add_account(
    txn: WriteTransaction, user_id: str, password: str | None, is_admin: bool, now: int
) -> bool:
    """Create the account; False when the name is taken, also by a closed account."""
    return bool(
        txn.run(
            "INSERT INTO accounts (user_id, password, is_admin, locked, created_at, erased)"
            " VALUES (?, ?, ?, 0, ?, 0) ON CONFLICT DO NOTHING",
            user_id,
            password,
            int(is_admin),
            now,
        )
    )


def find_account(txn: Transaction, user_id: str) -> Account | None:
    """The account, also when it is closed."""
    row = txn.one(
        "SELECT password, is_admin, locked, created_at, deactivated_at"
        " FROM accounts WHERE user_id = ?",
        user_id,
    )
    if row is None:
        return None
    password, is_admin, locked, created_at, deactivated_at = row
    return Account(user_id, password, bool(is_admin), bool(locked), created_at, deactivated_at)


def has_administrator(txn: Transaction) -> bool:
    """Whether anybody is, or ever was before closing the account, an administrator."""
    return txn.one("SELECT 1 FROM accounts WHERE is_admin = 1 LIMIT 1") is not None


def set_password(txn: WriteTransaction, user_id: str, password: str) -> bool:
    """Replace the password's hash; False when there is no such account, or it is closed."""
    return bool(
        txn.run(
            "UPDATE accounts SET password = ? WHERE user_id = ? AND deactivated_at IS NULL",
            password,
            user_id,
        )
    )


def set_admin(txn: WriteTransaction, user_id: str, is_admin: bool) -> bool:
    """Make or unmake an administrator; False when there is no such account, or it is closed."""
    return bool(
        txn.run(
            "UPDATE accounts SET is_admin = ? WHERE user_id = ? AND deactivated_at IS NULL",
            int(is_admin),
            user_id,
        )
    )


def set_locked(txn: WriteTransaction, user_id: str, locked: bool) -> bool:
    """Lock or unlock; False when there is no such account, or it is closed."""
    return bool(
        txn.run(
            "UPDATE accounts SET locked = ? WHERE user_id = ? AND deactivated_at IS NULL",
            int(locked),
            user_id,
        )
    )


def close_account(txn: WriteTransaction, user_id: str, erase: bool, now: int) -> bool:
    """Close the account for ever; False when there is no such account, or it is closed."""
    return bool(
        txn.run(
            "UPDATE accounts SET password = NULL, deactivated_at = ?, erased = ?"
            " WHERE user_id = ? AND deactivated_at IS NULL",
            now,
            int(erase),
            user_id,
        )
    )
