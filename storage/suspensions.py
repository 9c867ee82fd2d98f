"""Accounts that are suspended."""

from storage.transaction import Transaction, WriteTransaction


def set_suspended(txn: WriteTransaction, user_id: str, suspended: bool) -> None:
    """Suspend an account, or lift that."""
    txn.run("UPDATE accounts SET suspended = ? WHERE user_id = ?", int(suspended), user_id)


def suspended_accounts(txn: Transaction) -> list[str]:
    """Everybody who is suspended."""
    return [row[0] for row in txn.all("SELECT user_id FROM accounts WHERE suspended = 1")]
