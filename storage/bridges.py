"""How far application services have got, and the transactions that they have not acknowledged."""

from collections.abc import Collection, Iterable, Mapping

import orjson
from attrs import field, frozen

from storage import to_device
from storage.to_device import Device
from storage.transaction import Transaction, WriteTransaction


@frozen
class Letter:
    """One transaction, as it is sent until the service has acknowledged it."""

    txn_id: str
    body: str
    upto: int
    created_at: int
    to_device: Mapping[Device, int] = field(factory=dict)
    """Up to which position it empties the queues of devices."""


@frozen
class Progress:
    """Where a service is."""

    position: int
    letter: Letter | None


def begin(txn: WriteTransaction, service_ids: Collection[str]) -> dict[str, Progress]:
    """Where each of the services is. New ones begin now; those no longer there are forgotten."""
    now = txn.last_position
    known = _progress(txn)
    txn.many(
        "DELETE FROM bridges WHERE service_id = ?",
        [(each,) for each in known if each not in service_ids],
    )
    new = [each for each in service_ids if each not in known]
    txn.insert("INSERT INTO bridges (service_id, position) VALUES ??", [(n, now) for n in new])
    return {each: known.get(each, Progress(now, None)) for each in service_ids}


def _progress(txn: Transaction) -> dict[str, Progress]:
    rows = txn.all(
        "SELECT service_id, position, txn_id, body, upto, created_at, to_device FROM bridges"
    )
    return {
        service_id: Progress(
            position,
            None
            if txn_id is None
            else Letter(txn_id, body, upto, created_at, _positions(orjson.loads(queues))),
        )
        for service_id, position, txn_id, body, upto, created_at, queues in rows
    }


def _positions(rows: Iterable[tuple[str, str, int]]) -> dict[Device, int]:
    return {(user_id, device_id): position for user_id, device_id, position in rows}


def keep(txn: WriteTransaction, service_id: str, letter: Letter) -> None:
    """Store a transaction before it is sent for the first time."""
    queues = [[*device, position] for device, position in letter.to_device.items()]
    txn.run(
        "UPDATE bridges SET txn_id = ?, body = ?, upto = ?, created_at = ?, to_device = ?"
        " WHERE service_id = ?",
        letter.txn_id,
        letter.body,
        letter.upto,
        letter.created_at,
        orjson.dumps(queues).decode(),
        service_id,
    )


def acknowledge(txn: WriteTransaction, service_id: str, letter: Letter) -> None:
    """The service has a transaction: what was kept for it goes."""
    advance(txn, service_id, letter.upto)
    to_device.delete_upto(txn, letter.to_device)


def advance(txn: WriteTransaction, service_id: str, position: int) -> None:
    """Nothing up to a position is left for the service."""
    txn.run(
        "UPDATE bridges SET position = ?, txn_id = NULL, body = NULL, upto = NULL,"
        " created_at = NULL, to_device = NULL WHERE service_id = ?",
        position,
        service_id,
    )
