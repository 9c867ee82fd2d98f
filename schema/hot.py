"""Hand-written checks of the bodies that are large, frequent, or come from many people at once.

Each does what its schema in ``schema/requests`` says, in the same order and with the same
sentences, at a hundredth of the engine's cost; a test holds the two side by side. Whoever changes
a limit changes it in both places.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from schema import faults
from schema.faults import Place

_ID, _DEVICE, _KEY_NAME, _KEY = 255, 512, 600, 1024
_LARGEST = 2**53 - 1
_IDENTIFIER = ("user", "medium", "address", "country", "phone", "number")
_algorithm_and_id = re.compile(r"[^:\x00]+:[^\x00]+").fullmatch


def event_content(body: Any) -> None:
    _object(body, ())


def keys_upload(body: Any) -> None:
    _object(body, ())
    if body.get("device_keys") is not None:
        _device_keys(body["device_keys"], ("device_keys",))
    for name, most in (
        ("one_time_keys", 500),
        ("fallback_keys", 50),
        ("org.matrix.msc2732.fallback_keys", 50),
    ):
        if body.get(name) is not None:
            _one_time_keys(body[name], (name,), most)


def keys_query(body: Any) -> None:
    people = _people(body, "device_keys")
    for user_id, devices in people.items():
        if devices != []:
            _texts(devices, ("device_keys", user_id), 1000, _DEVICE)


def keys_claim(body: Any) -> None:
    people = _people(body, "one_time_keys")
    for user_id, devices in people.items():
        _map_of_texts(devices, ("one_time_keys", user_id), 1000, _DEVICE, _ID)


def keys_signatures(body: Any) -> None:
    _objects_by_device(body, (), 1000)


def send_to_device(body: Any) -> None:
    _object(body, ())
    if "messages" not in body:
        raise faults.missing((), "messages")
    _objects_by_device(body["messages"], ("messages",), 5000)


def login(body: Any) -> None:
    _object(body, ())
    if "type" not in body:
        raise faults.missing((), "type")
    _text(body["type"], ("type",), _ID)
    identifier = body.get("identifier")
    if type(identifier) is dict:
        if "type" not in identifier:
            raise faults.missing(("identifier",), "type")
        _text(identifier["type"], ("identifier", "type"), _ID)
        for name in _IDENTIFIER:
            _text_or_null(identifier.get(name), ("identifier", name), _ID)
    elif identifier is not None:
        raise faults.wrong_type(("identifier",), ["object", "null"], identifier)
    for name in ("user", "medium", "address"):
        _text_or_null(body.get(name), (name,), _ID)
    _text_or_null(body.get("password"), ("password",), 512, may_hold_nul=True)
    _text_or_null(body.get("token"), ("token",), 4096, may_hold_nul=True)
    _text_or_null(body.get("device_id"), ("device_id",), _DEVICE)
    name = "initial_device_display_name"
    _text_or_null(body.get(name), (name,), 255)
    refreshes = body.get("refresh_token")
    if refreshes is not None and type(refreshes) is not bool:
        raise faults.wrong_type(("refresh_token",), ["boolean", "null"], refreshes)


def room_keys(body: Any) -> None:
    _object(body, ())
    if "rooms" not in body:
        raise faults.missing((), "rooms")
    _map(body["rooms"], ("rooms",), 5000, _ID)
    for room_id, room in body["rooms"].items():
        _room_sessions(room, ("rooms", room_id))


def room_keys_of_room(body: Any) -> None:
    _room_sessions(body, ())


HOT: Mapping[str, Callable[[Any], None]] = {
    "account_data": event_content,
    "event.content": event_content,
    "keys.claim": keys_claim,
    "keys.query": keys_query,
    "keys.signatures": keys_signatures,
    "keys.upload": keys_upload,
    "login": login,
    "room_keys.keys": room_keys,
    "room_keys.room": room_keys_of_room,
    "sendToDevice": send_to_device,
}


def _people(body: Any, key: str) -> dict[str, Any]:
    _object(body, ())
    if key not in body:
        raise faults.missing((), key)
    if body.get("timeout") is not None:
        _integer(body["timeout"], ("timeout",))
    people: dict[str, Any] = body[key]
    _map(people, (key,), 5000, _ID)
    return people


def _device_keys(keys: Any, place: Place) -> None:
    _object(keys, place)
    for name in ("user_id", "device_id", "algorithms", "keys", "signatures"):
        if name not in keys:
            raise faults.missing(place, name)
    _text(keys["user_id"], (*place, "user_id"), _ID)
    _text(keys["device_id"], (*place, "device_id"), _DEVICE)
    _texts(keys["algorithms"], (*place, "algorithms"), 50, _ID)
    _map_of_texts(keys["keys"], (*place, "keys"), 50, _KEY_NAME, _KEY)
    _signatures(keys["signatures"], (*place, "signatures"))


def _one_time_keys(keys: Any, place: Place, most: int) -> None:
    _object(keys, place)
    if len(keys) > most:
        raise faults.wrong_value(place, faults.too_many(most))
    for name in keys:
        if len(name) > _KEY_NAME:
            raise faults.wrong_key(place, name, faults.too_long(_KEY_NAME))
        if not _algorithm_and_id(name):
            raise faults.wrong_key(place, name, "must be of the form algorithm:id")
    for name, key in keys.items():
        if type(key) is dict:
            _signed_key(key, (*place, name))
        elif type(key) is str:
            _text(key, (*place, name), _KEY)
        else:
            raise faults.wrong_type((*place, name), ["string", "object"], key)


def _signed_key(key: dict[str, Any], place: Place) -> None:
    for name in ("key", "signatures"):
        if name not in key:
            raise faults.missing(place, name)
    _text(key["key"], (*place, "key"), _KEY)
    _signatures(key["signatures"], (*place, "signatures"))
    if type(key.get("fallback", False)) is not bool:
        raise faults.wrong_type((*place, "fallback"), "boolean", key["fallback"])


def _signatures(signatures: Any, place: Place) -> None:
    _map(signatures, place, 50, _ID)
    for user_id, keys in signatures.items():
        _map_of_texts(keys, (*place, user_id), 50, _KEY_NAME, _KEY)


def _objects_by_device(people: Any, place: Place, most: int) -> None:
    _map(people, place, most, _ID)
    for user_id, devices in people.items():
        _map(devices, (*place, user_id), 1000, _DEVICE)
        for device_id, content in devices.items():
            if type(content) is not dict:
                raise faults.wrong_type((*place, user_id, device_id), "object", content)


def _room_sessions(room: Any, place: Place) -> None:
    _object(room, place)
    if "sessions" not in room:
        raise faults.missing(place, "sessions")
    _map(room["sessions"], (*place, "sessions"), 10000, _ID)
    for session_id, session in room["sessions"].items():
        _session(session, (*place, "sessions", session_id))


def _session(session: Any, place: Place) -> None:
    _object(session, place)
    for name in ("first_message_index", "forwarded_count", "is_verified", "session_data"):
        if name not in session:
            raise faults.missing(place, name)
    _integer(session["first_message_index"], (*place, "first_message_index"))
    _integer(session["forwarded_count"], (*place, "forwarded_count"))
    if type(session["is_verified"]) is not bool:
        raise faults.wrong_type((*place, "is_verified"), "boolean", session["is_verified"])
    _object(session["session_data"], (*place, "session_data"))


def _object(value: Any, place: Place) -> None:
    if type(value) is not dict:
        raise faults.wrong_type(place, "object", value)


def _map(value: Any, place: Place, most: int, longest_name: int) -> None:
    _object(value, place)
    if len(value) > most:
        raise faults.wrong_value(place, faults.too_many(most))
    for name in value:
        if len(name) > longest_name:
            raise faults.wrong_key(place, name, faults.too_long(longest_name))
        if "\0" in name:
            raise faults.wrong_key(place, name, faults.NUL)


def _integer(value: Any, place: Place) -> None:
    if type(value) is not int:
        raise faults.wrong_type(place, "integer", value)
    if value < 0:
        raise faults.wrong_value(place, faults.too_small(0))
    if value > _LARGEST:
        raise faults.wrong_value(place, faults.too_large(_LARGEST))


def _map_of_texts(value: Any, place: Place, most: int, longest_name: int, longest: int) -> None:
    _map(value, place, most, longest_name)
    for name, text in value.items():
        if type(text) is not str or len(text) > longest or "\0" in text:
            _text(text, (*place, name), longest)


def _texts(value: Any, place: Place, most: int, longest: int) -> None:
    if type(value) is not list:
        raise faults.wrong_type(place, "array", value)
    if len(value) > most:
        raise faults.wrong_value(place, faults.too_many(most))
    for index, text in enumerate(value):
        _text(text, (*place, index), longest)


def _text_or_null(value: Any, place: Place, longest: int, *, may_hold_nul: bool = False) -> None:
    if value is None:
        return
    if type(value) is not str:
        raise faults.wrong_type(place, ["string", "null"], value)
    if len(value) > longest:
        raise faults.wrong_value(place, faults.too_long(longest))
    if "\0" in value and not may_hold_nul:
        raise faults.wrong_value(place, faults.NUL)


def _text(value: Any, place: Place, longest: int) -> None:
    if type(value) is not str:
        raise faults.wrong_type(place, "string", value)
    if len(value) > longest:
        raise faults.wrong_value(place, faults.too_long(longest))
    if "\0" in value:
        raise faults.wrong_value(place, faults.NUL)
