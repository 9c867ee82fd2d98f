"""How a stored event looks to one device: the stored text, plus what belongs to the moment.

Nothing is serialised again: the text of the event stays as it is, and ``unsigned`` (client-server
API, "Room event format") is put together around it.
"""

import orjson
from attrs import frozen

from homeserver.events import pdu_from
from homeserver.rooms.versions import RoomVersion
from storage.events import Event


@frozen
class Viewer:
    """Whose eyes an event is made for."""

    user_id: str
    device_id: str


def client_event(
    event: Event,
    viewer: Viewer,
    now: int,
    *,
    membership: str | None = None,
    with_room_id: bool = True,
    with_quotes: bool = True,
    relations: str | None = None,
) -> orjson.Fragment:
    """``event`` in the format of clients, ready to be put into an answer.

    ``membership`` is the viewer's at the time of the event, ``relations`` the JSON text of the
    bundled aggregations. /sync leaves the room id out. ``with_quotes`` is False where the viewer
    must not see what the event quotes (``Visibility.without_quotes``).
    """
    room_id = f',"room_id":"{event.room_id}"' if with_room_id else ""
    unsigned = _unsigned(event, viewer, now, membership, with_quotes, relations)
    return orjson.Fragment(f"{event.json[:-1]}{room_id},{unsigned}}}")


def federation_event(
    version: RoomVersion,
    event: Event,
    envelope: str,
    viewer: Viewer,
    now: int,
    *,
    membership: str | None = None,
    with_quotes: bool = True,
    relations: str | None = None,
) -> orjson.Fragment:
    """``event`` as servers would exchange it in rooms of this version, with the same ``unsigned``
    (client-server API, "Filtering", ``event_format``)."""
    pdu = orjson.dumps(
        pdu_from(version, event.json, envelope, event.room_id), option=orjson.OPT_SORT_KEYS
    )
    unsigned = _unsigned(event, viewer, now, membership, with_quotes, relations)
    return orjson.Fragment(f"{pdu.decode()[:-1]},{unsigned}}}")


def _unsigned(
    event: Event,
    viewer: Viewer,
    now: int,
    membership: str | None,
    with_quotes: bool,
    relations: str | None,
) -> str:
    parts = [f'"unsigned":{{"age":{max(0, now - event.origin_server_ts)}']
    if membership is not None:
        parts.append(f',"membership":"{membership}"')
    stored = event.unsigned if with_quotes else _without_quotes(event.unsigned)
    if stored:
        parts.append(f",{stored}")
    if (
        event.txn_id is not None
        and event.sender == viewer.user_id
        and event.device_id == viewer.device_id
    ):
        parts.append(f',"transaction_id":{orjson.dumps(event.txn_id).decode()}')
    if relations is not None:
        parts.append(f',"m.relations":{relations}')
    return "".join((*parts, "}"))


def _without_quotes(unsigned: str) -> str:
    kept = orjson.loads(f"{{{unsigned}}}")
    for key in ("prev_content", "prev_sender", "redacted_because"):
        kept.pop(key, None)
    return orjson.dumps(kept).decode()[1:-1]


def stripped_event(event: Event) -> orjson.Fragment:
    """The little that people outside a room see of its state ("Stripped state")."""
    text = orjson.dumps(
        {
            "content": event.content,
            "sender": event.sender,
            "state_key": event.state_key,
            "type": event.type,
        }
    )
    return orjson.Fragment(text)
