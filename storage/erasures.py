"""People who have asked for what they sent to be erased."""

from storage.transaction import Transaction, WriteTransaction


def set_erased(txn: WriteTransaction, user_id: str, position: int) -> None:
    """What this account has sent up to here is erased."""
    txn.run("UPDATE accounts SET erased_at = ? WHERE user_id = ?", position, user_id)


def erased_accounts(txn: Transaction) -> list[tuple[str, int]]:
    """Everybody who is erased, and since which position of the stream."""
    rows = txn.all("SELECT user_id, erased_at FROM accounts WHERE erased_at IS NOT NULL")
    return [(user_id, position) for user_id, position in rows]
