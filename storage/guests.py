"""Accounts of guests."""

from storage.transaction import Transaction, WriteTransaction


def mark(txn: WriteTransaction, user_id: str) -> None:
    """The account is a guest's."""
    txn.run("UPDATE accounts SET is_guest = 1 WHERE user_id = ?", user_id)


def complete(txn: WriteTransaction, user_id: str, password: str | None, is_admin: bool) -> bool:
    """Make a guest's account a full one; False when it is none, or closed."""
    return bool(
        txn.run(
            "UPDATE accounts SET is_guest = 0, password = ?, is_admin = ?"
            " WHERE user_id = ? AND is_guest = 1 AND deactivated_at IS NULL",
            password,
            int(is_admin),
            user_id,
        )
    )


def everybody(txn: Transaction) -> list[str]:
    """All guests whose account is open."""
    rows = txn.all("SELECT user_id FROM accounts WHERE is_guest = 1 AND deactivated_at IS NULL")
    return [row[0] for row in rows]


def is_guest(txn: Transaction, user_id: str) -> bool:
    """Whether this is a guest whose account is open."""
    found = txn.one(
        "SELECT 1 FROM accounts WHERE user_id = ? AND is_guest = 1 AND deactivated_at IS NULL",
        user_id,
    )
    return found is not None


def idle_since(txn: Transaction, before: int, limit: int) -> list[str]:
    """Guests of before this time none of whose devices has been used since, the oldest first."""
    rows = txn.all(
        "SELECT a.user_id FROM accounts a WHERE a.is_guest = 1 AND a.deactivated_at IS NULL"
        " AND a.created_at < ? AND NOT EXISTS (SELECT 1 FROM devices d"
        " WHERE d.user_id = a.user_id AND d.last_seen_at >= ?)"
        " ORDER BY a.created_at, a.user_id LIMIT ?",
        before,
        before,
        limit,
    )
    return [row[0] for row in rows]
