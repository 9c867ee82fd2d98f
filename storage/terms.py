"""Which version of which document somebody has accepted."""

from collections.abc import Mapping

from storage.transaction import WriteTransaction


def add_accepted(
    txn: WriteTransaction, user_id: str, versions: Mapping[str, str], now: int
) -> None:
    """Somebody has accepted these versions of these documents."""
    txn.insert(
        "INSERT INTO accepted_terms (user_id, policy, version, accepted_at) VALUES ??",
        [(user_id, policy, version, now) for policy, version in versions.items()],
    )


def remove_accepted(txn: WriteTransaction, user_id: str) -> None:
    """Forget what somebody has accepted."""
    txn.run("DELETE FROM accepted_terms WHERE user_id = ?", user_id)
