"""Rooms in the directories that services keep of their networks."""

from storage.transaction import Transaction, WriteTransaction


def put(txn: WriteTransaction, service_id: str, network_id: str, room_id: str) -> None:
    """List a room; listed already, it stays so."""
    txn.run(
        "INSERT INTO bridge_directories (service_id, network_id, room_id) VALUES (?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        service_id,
        network_id,
        room_id,
    )


def remove(txn: WriteTransaction, service_id: str, network_id: str, room_id: str) -> None:
    """Take a room out."""
    txn.run(
        "DELETE FROM bridge_directories WHERE service_id = ? AND network_id = ? AND room_id = ?",
        service_id,
        network_id,
        room_id,
    )


def rooms_of(txn: Transaction, service_id: str, network_id: str) -> list[str]:
    """The rooms of one network."""
    rows = txn.all(
        "SELECT room_id FROM bridge_directories WHERE service_id = ? AND network_id = ?",
        service_id,
        network_id,
    )
    return [row[0] for row in rows]


def all_rooms(txn: Transaction) -> list[str]:
    """The rooms of all networks, each once."""
    return [row[0] for row in txn.all("SELECT DISTINCT room_id FROM bridge_directories")]
