"""What has to be done to a database that was restored from a backup, before people use it again.

The backup does not know what happened after it was made, but clients do: they hold tokens of that
lost time, and one-time keys that were handed out in it.
"""

from storage import one_time_keys
from storage.transaction import Transaction, WriteTransaction

GAP = 1_000_000_000
"""How many positions of the stream are left out. The lost time must have used fewer, whatever the
age of the backup: this is thirty a second for a year."""


def make_safe(txn: WriteTransaction) -> int:
    """Prepare a restored database. To be called once for each restoration, while no server runs.

    No one-time key that is in the backup will be handed out, since it may have been already; the
    devices see a count of 0 and upload new ones, and the fallback keys, which stay, serve until
    then. The stream goes on behind a gap, so that tokens of the lost time are recognised for ever:
    their holders begin anew. Returns how many one-time keys were withdrawn.
    """
    txn.run("INSERT INTO stream_gaps (first_position, last_position) VALUES (?, ?)", *txn.leap(GAP))
    txn.position()  # so that the first tokens after the restoration lie behind the gap, not in it
    return one_time_keys.withdraw_all(txn)


def gaps(txn: Transaction) -> list[tuple[int, int]]:
    """First and last position of everything that was left out."""
    rows = txn.all("SELECT first_position, last_position FROM stream_gaps")
    return [(first, last) for first, last in rows]
