"""Events: built, hashed, signed, cut down by redaction, and written out.

An event is a PDU (server-server API, "PDUs"). It is stored as two texts that never change again
except by redaction: what clients see, and the rest of the PDU, its envelope. Both together, with
the room id, give the PDU back.
"""

import base64
import hashlib
from typing import Any

import orjson
from attrs import frozen
from signedjson.types import SigningKey

from homeserver.rooms.versions import RoomVersion
from schema.canonical import check_canonical, check_encodable, encode, encode_loosely
from schema.errors import BadJson, EventTooLarge

MAX_EVENT_BYTES = 65536
MAX_ID_BYTES = 255

Pdu = dict[str, Any]
Link = str | list[Any]
"""How an event names an earlier one: its id, or a list of its id and its hashes."""

_CREATE = "m.room.create"
_REDACTION = "m.room.redaction"
_CLIENT_KEYS = frozenset(
    {"content", "event_id", "origin_server_ts", "redacts", "sender", "state_key", "type"}
)
_NOT_IN_ENVELOPE = _CLIENT_KEYS | {"room_id", "unsigned"}
# The texts that get a column of their own.
_SHORT_TEXTS = ("type", "state_key", "sender", "room_id", "redacts")


@frozen
class Signer:
    """Signs events in the name of this server."""

    server_name: str
    key: SigningKey

    @property
    def key_id(self) -> str:
        """The signing key identifier, such as ``ed25519:a_b``."""
        return f"{self.key.alg}:{self.key.version}"


@frozen
class Built:
    """A signed event with the ids that follow from it."""

    event_id: str
    room_id: str
    pdu: Pdu


def build(
    version: RoomVersion,
    signer: Signer,
    *,
    room_id: str | None,
    sender: str,
    type: str,
    content: dict[str, Any],
    state_key: str | None = None,
    redacts: str | None = None,
    origin_server_ts: int,
    depth: int,
    prev_events: list[Link],
    auth_events: list[Link],
) -> Built:
    """Make a signed event that keeps the limits of the specification.

    ``room_id`` is None for a create event whose hash becomes the room id. What a redaction redacts
    comes as ``redacts`` or in ``content``; it ends where the room version keeps it. Earlier events
    are named as ``link_to`` says.

    Raises:
        EventTooLarge: the whole event or one of its texts is too large.
        BadJson: something in it has no canonical form.
    """
    pdu: Pdu = {
        "auth_events": auth_events,
        "content": content,
        "depth": depth,
        "origin_server_ts": origin_server_ts,
        "prev_events": prev_events,
        "sender": sender,
        "type": type,
    }
    if room_id is not None:
        pdu["room_id"] = room_id
    if state_key is not None:
        pdu["state_key"] = state_key
    if type == _REDACTION:
        _place_redacts(version, pdu, redacts)
    check_event_limits(version, pdu)
    if version.event_id_alphabet is None:
        # No other event of this server has the same room, depth and content.
        unique = _base64(hashlib.sha256(_encode(version, pdu)).digest(), b"-_")
        pdu["event_id"] = f"${unique}:{signer.server_name}"
    return sign(version, signer, pdu)


def sign(version: RoomVersion, signer: Signer, pdu: Pdu) -> Built:
    """Add content hash and signature to a PDU that has neither (server-server API, "Signing
    Events").

    Raises:
        EventTooLarge: with both, the event is larger than 64 KiB.
    """
    whole = _encode(version, pdu)
    hashes = {"sha256": _base64(hashlib.sha256(whole).digest())}
    # Signature and reference hash cover the same bytes, so they are encoded once.
    essence = _encode(version, redact_pdu(version, {**pdu, "hashes": hashes}))
    signature = _base64(signer.key.sign(essence).signature)
    added = {"hashes": hashes, "signatures": {signer.server_name: {signer.key_id: signature}}}
    if len(whole) + len(encode(added)) - len("}{") + len(",") > MAX_EVENT_BYTES:
        raise EventTooLarge(
            f"The event is larger than {MAX_EVENT_BYTES} bytes, the limit for a whole event"
        )
    event_id = _event_id(version, pdu, essence)
    return Built(event_id, pdu.get("room_id") or room_id_of(event_id), {**pdu, **added})


def event_id_of(version: RoomVersion, pdu: Pdu) -> str:
    """The event id of a PDU, redacted or not: its reference hash, unless it has one."""
    return _event_id(version, pdu, _essence(version, pdu))


def link_to(version: RoomVersion, pdu: Pdu) -> Link:
    """How later events of the room name this one, redacted or not."""
    essence = _essence(version, pdu)
    event_id = _event_id(version, pdu, essence)
    if version.event_id_alphabet is not None:
        return event_id
    return [event_id, {"sha256": _base64(hashlib.sha256(essence).digest())}]


def room_id_of(create_event_id: str) -> str:
    """The id of the room that a create event makes, where the room version derives it."""
    return "!" + create_event_id[1:]


def check_json(version: RoomVersion, value: Any) -> None:
    """Refuse what events of this room version cannot hold ("Canonical JSON" of each version).

    Raises:
        BadJson: names the path to it.
    """
    if version.canonical_json:
        check_canonical(value)
    else:
        check_encodable(value)


def check_event_limits(version: RoomVersion, pdu: Pdu) -> None:
    """Refuse a PDU with a text that is too long or a value that it cannot hold.

    The size of the whole event is checked when it is signed (client-server API, "Size limits").

    Raises:
        EventTooLarge: type, state key or an id is longer than 255 bytes.
        BadJson: names the path to a value that an event cannot hold.
    """
    check_json(version, pdu)
    for name in _SHORT_TEXTS:
        text = pdu.get(name, "")
        if len(text) > MAX_ID_BYTES or len(text.encode()) > MAX_ID_BYTES:
            raise EventTooLarge(f"{name} is longer than {MAX_ID_BYTES} bytes")
        if "\0" in text:
            raise BadJson(f"{name} must not hold the character U+0000")


def client_json(version: RoomVersion, event: Built) -> str:
    """The event as clients see it, in canonical order, without ``room_id`` and ``unsigned``."""
    pdu = event.pdu
    client = {key: pdu[key] for key in pdu.keys() & _CLIENT_KEYS}
    client["event_id"] = event.event_id
    _show_redacts(version, client)
    return encode(client).decode()


def envelope_json(event: Built) -> str:
    """The parts of the PDU that clients do not see."""
    pdu = event.pdu
    return encode({key: pdu[key] for key in pdu.keys() - _NOT_IN_ENVELOPE}).decode()


def pdu_from(version: RoomVersion, client_text: str, envelope_text: str, room_id: str) -> Pdu:
    """The PDU back from its stored texts; redacted when the client's text was redacted."""
    pdu: Pdu = {**orjson.loads(client_text), **orjson.loads(envelope_text)}
    if version.event_id_alphabet is not None:
        del pdu["event_id"]
    if not (version.room_id_from_create and pdu["type"] == _CREATE):
        pdu["room_id"] = room_id
    if version.redacts_in_content:
        pdu.pop("redacts", None)
    elif "redacts" in pdu:
        del pdu["content"]["redacts"]
    return pdu


def redact(version: RoomVersion, client_event: dict[str, Any]) -> dict[str, Any]:
    """What a redaction leaves of an event in the format of clients (client-server API,
    "Redactions"). The given event stays as it is."""
    redacted = redact_pdu(version, client_event)
    _show_redacts(version, redacted)
    return redacted


def redact_pdu(version: RoomVersion, pdu: Pdu) -> Pdu:
    """What a redaction leaves of a PDU. The given PDU stays as it is."""
    rules = version.redaction
    redacted = {key: value for key, value in pdu.items() if key in rules.event_keys}
    if pdu["type"] == _CREATE and rules.keeps_create_content:
        return redacted
    content = pdu["content"]
    kept = rules.content_keys.get(pdu["type"], frozenset())
    redacted["content"] = {key: value for key, value in content.items() if key in kept}
    if pdu["type"] == "m.room.member" and rules.keeps_signed_third_party_invite:
        invite = content.get("third_party_invite")
        if isinstance(invite, dict) and "signed" in invite:
            redacted["content"]["third_party_invite"] = {"signed": invite["signed"]}
    return redacted


def _place_redacts(version: RoomVersion, pdu: Pdu, redacts: str | None) -> None:
    """Put what a redaction redacts where its room version keeps it, and only there."""
    target = pdu["content"].get("redacts") if redacts is None else redacts
    if not isinstance(target, str):
        return
    if version.redacts_in_content:
        pdu["content"] = {**pdu["content"], "redacts": target}
    else:
        pdu["content"] = {k: v for k, v in pdu["content"].items() if k != "redacts"}
        pdu["redacts"] = target


def _show_redacts(version: RoomVersion, client_event: dict[str, Any]) -> None:
    """Clients find ``redacts`` in both places in every room version (room version 11, "Moving the
    redacts property")."""
    if client_event["type"] != _REDACTION:
        return
    if version.redacts_in_content:
        target = client_event["content"].get("redacts")
        if isinstance(target, str):
            client_event["redacts"] = target
    elif "redacts" in client_event:
        content = client_event["content"]
        client_event["content"] = {**content, "redacts": client_event["redacts"]}


def _encode(version: RoomVersion, value: Any) -> bytes:
    """What is hashed and signed."""
    return encode(value) if version.canonical_json else encode_loosely(value)


def _essence(version: RoomVersion, pdu: Pdu) -> bytes:
    """What the reference hash covers (server-server API, "Calculating the reference hash for an
    event")."""
    essence = redact_pdu(version, pdu)
    essence.pop("signatures", None)
    return _encode(version, essence)


def _event_id(version: RoomVersion, pdu: Pdu, essence: bytes) -> str:
    if version.event_id_alphabet is None:
        return str(pdu["event_id"])
    return "$" + _base64(hashlib.sha256(essence).digest(), version.event_id_alphabet)


def _base64(data: bytes, alphabet: bytes = b"+/") -> str:
    return base64.b64encode(data, alphabet).decode().rstrip("=")
