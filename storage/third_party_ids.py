"""E-mail addresses of accounts."""

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction


@frozen
class EmailAddress:
    """An address that somebody has proved to be theirs, and when."""

    address: str
    validated_at: int
    added_at: int


def addresses_of(txn: Transaction, user_id: str) -> list[EmailAddress]:
    """Somebody's addresses, oldest first."""
    rows = txn.all(
        "SELECT address, validated_at, added_at FROM email_addresses WHERE user_id = ?"
        " ORDER BY added_at, address",
        user_id,
    )
    return [EmailAddress(*row) for row in rows]


def owner_of(txn: Transaction, address: str) -> str | None:
    """Whose the address is."""
    owner: str | None = txn.value("SELECT user_id FROM email_addresses WHERE address = ?", address)
    return owner


def add_address(
    txn: WriteTransaction, address: str, user_id: str, validated_at: int, now: int
) -> bool:
    """Give the address to somebody; False when somebody has it."""
    return bool(
        txn.run(
            "INSERT INTO email_addresses (address, user_id, validated_at, added_at)"
            " VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            address,
            user_id,
            validated_at,
            now,
        )
    )


def remove_address(txn: WriteTransaction, address: str, user_id: str) -> None:
    """Take one of their addresses from somebody."""
    txn.run("DELETE FROM email_addresses WHERE address = ? AND user_id = ?", address, user_id)


def remove_addresses_of(txn: WriteTransaction, user_id: str) -> None:
    """Take all of their addresses from somebody."""
    txn.run("DELETE FROM email_addresses WHERE user_id = ?", user_id)
