"""Attempts to prove an e-mail address, with the hashes of their secrets."""

from attrs import frozen

from storage.transaction import Transaction, WriteTransaction

_COLUMNS = (
    "sid, purpose, address, client_secret, send_attempt, token, next_link, expires_at, validated_at"
)


@frozen
class Validation:
    """One attempt."""

    sid: str
    purpose: str
    address: str
    client_secret: str
    send_attempt: int
    token: str
    next_link: str | None
    expires_at: int
    validated_at: int | None


def find_attempt(
    txn: Transaction, purpose: str, address: str, client_secret: str, now: int
) -> Validation | None:
    """The attempt of a client for an address, if it is still open."""
    row = txn.one(
        f"SELECT {_COLUMNS} FROM email_validations"
        " WHERE address = ? AND client_secret = ? AND purpose = ? AND expires_at > ?",
        address,
        client_secret,
        purpose,
        now,
    )
    return None if row is None else Validation(*row)


def find_validation(txn: Transaction, sid: str, now: int) -> Validation | None:
    """The attempt with this id, if it is still open."""
    row = txn.one(
        f"SELECT {_COLUMNS} FROM email_validations WHERE sid = ? AND expires_at > ?", sid, now
    )
    return None if row is None else Validation(*row)


def put_validation(txn: WriteTransaction, new: Validation) -> str | None:
    """Begin an attempt, or note that a client's has another letter; its id.

    None when that letter, or a later one, is known already.
    """
    sid: str | None = txn.value(
        "INSERT INTO email_validations (sid, purpose, address, client_secret, send_attempt, token,"
        " wrong_tokens, next_link, expires_at) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)"
        " ON CONFLICT (address, client_secret, purpose) DO UPDATE"
        " SET send_attempt = excluded.send_attempt, token = excluded.token, wrong_tokens = 0,"
        " next_link = excluded.next_link, expires_at = excluded.expires_at"
        " WHERE email_validations.send_attempt < excluded.send_attempt RETURNING sid",
        new.sid,
        new.purpose,
        new.address,
        new.client_secret,
        new.send_attempt,
        new.token,
        new.next_link,
        new.expires_at,
    )
    return sid


def count_wrong_token(txn: WriteTransaction, sid: str) -> None:
    """Somebody guessed."""
    txn.run("UPDATE email_validations SET wrong_tokens = wrong_tokens + 1 WHERE sid = ?", sid)


def remove_guessed(txn: WriteTransaction, sid: str, most: int) -> None:
    """End the attempt if somebody has guessed too often."""
    txn.run("DELETE FROM email_validations WHERE sid = ? AND wrong_tokens >= ?", sid, most)


def set_validated(txn: WriteTransaction, sid: str, now: int, expires_at: int) -> None:
    """The address is proved."""
    txn.run(
        "UPDATE email_validations SET validated_at = COALESCE(validated_at, ?), expires_at = ?"
        " WHERE sid = ?",
        now,
        expires_at,
        sid,
    )


def take_validated(
    txn: WriteTransaction, sid: str, purpose: str, now: int
) -> tuple[str, int] | None:
    """The address that was proved, and when; nobody can take it a second time."""
    row = txn.one(
        "DELETE FROM email_validations WHERE sid = ? AND purpose = ? AND expires_at > ?"
        " AND validated_at IS NOT NULL RETURNING address, validated_at",
        sid,
        purpose,
        now,
    )
    return None if row is None else (row[0], row[1])


def remove_expired(txn: WriteTransaction, now: int) -> None:
    """Forget attempts that are over."""
    txn.run("DELETE FROM email_validations WHERE expires_at <= ?", now)


def remove_of_address(txn: WriteTransaction, address: str) -> None:
    """Forget every attempt to prove an address: whose it is has changed."""
    txn.run("DELETE FROM email_validations WHERE address = ?", address)
