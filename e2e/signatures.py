"""Signed keys: their shape, their owner, and whether the signature is right.

Everything here is pure and refuses; whoever gets a value back can trust it. Rules: client-server
API, "Key algorithms", "Uploading keys", "Cross-signing"; appendices, "Signing JSON".
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any

from olm.utility import OlmVerifyError, ed25519_verify

from schema.canonical import check_canonical, encode
from schema.errors import BadJson, InvalidParam, InvalidSignature, TooLarge

ONE_TIME_ALGORITHM = "signed_curve25519"
"""The only algorithm of one-time and fallback keys whose keys can be authenticated."""

LARGEST_DEVICE_KEYS = 65_536
LARGEST_KEY = 4_096
LONGEST_KEY_ID = 255
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64

Json = dict[str, Any]


def signed_part(signed: Mapping[str, Any]) -> bytes:
    """What a signature of an object is made of: canonical JSON without signatures and unsigned."""
    return encode(without_signatures(signed))


def without_signatures(signed: Mapping[str, Any]) -> Json:
    """An object without what a signature does not cover."""
    return {k: v for k, v in signed.items() if k not in ("signatures", "unsigned")}


def signatures_by(signed: Mapping[str, Any], user_id: str) -> dict[str, str]:
    """The signatures that an object claims to have from one person, by key id."""
    signatures = signed.get("signatures")
    by_user = signatures.get(user_id) if isinstance(signatures, dict) else None
    if not isinstance(by_user, dict):
        return {}
    return {key_id: text for key_id, text in by_user.items() if isinstance(text, str)}


def is_signature(signature: str | None, message: bytes, public_key: str) -> bool:
    """Whether this is the ed25519 signature of a message by the owner of the public key."""
    if signature is None or not _is_unpadded_base64(signature, _SIGNATURE_BYTES):
        return False
    try:
        ed25519_verify(public_key, message.decode(), signature)
    except OlmVerifyError:
        return False
    return True


def check_device_keys(keys: Json, user_id: str, device_id: str) -> str:
    """The keys of a device as the JSON to store: as signed, with the device's own signature only.

    Raises:
        InvalidParam: they belong to another device, or a key is malformed.
        InvalidSignature: the device has not signed them.
    """
    check_canonical(keys, "device_keys")
    if (keys["user_id"], keys["device_id"]) != (user_id, device_id):
        raise InvalidParam(
            "device_keys must carry the user_id and device_id of the device that uploads them:"
            f" {user_id} and {device_id}"
        )
    for name, key in keys["keys"].items():
        algorithm, _, owner = name.partition(":")
        if owner != device_id:
            raise InvalidParam(f"device_keys.keys: {name!r} does not end in the device id")
        if algorithm in ("ed25519", "curve25519"):
            check_public_key(key, f"device_keys.keys.{name}")
    for algorithm in ("ed25519", "curve25519"):
        if f"{algorithm}:{device_id}" not in keys["keys"]:
            raise InvalidParam(f"device_keys.keys must hold {algorithm}:{device_id}")
    stored = _with_own_signature(
        keys, user_id, f"ed25519:{device_id}", keys["keys"][f"ed25519:{device_id}"], "device_keys"
    )
    return _bounded(stored, LARGEST_DEVICE_KEYS, "device_keys")


def check_one_time_keys(
    keys: Json, what: str, user_id: str, device_id: str, fingerprint: str
) -> dict[str, str]:
    """One-time or fallback keys as the JSON to store, by key id.

    Raises:
        InvalidParam: the algorithm is not signed_curve25519, or a key is malformed.
        InvalidSignature: the device whose ``fingerprint`` this is has not signed them.
    """
    checked = {}
    for name, key in keys.items():
        algorithm, _, key_id = name.partition(":")
        place = f"{what}.{name[:80]}"
        if algorithm != ONE_TIME_ALGORITHM or not isinstance(key, dict):
            raise InvalidParam(f"{place}: only signed keys ({ONE_TIME_ALGORITHM}) are accepted")
        if not 0 < len(key_id.encode()) <= LONGEST_KEY_ID:
            raise InvalidParam(f"{place}: the key id must have 1 to {LONGEST_KEY_ID} bytes")
        check_canonical(key, place)
        check_public_key(key["key"], f"{place}.key")
        stored = _with_own_signature(key, user_id, f"ed25519:{device_id}", fingerprint, place)
        checked[key_id] = _bounded(stored, LARGEST_KEY, place)
    return checked


def check_cross_signing_key(key: Json, user_id: str, usage: str) -> str:
    """The public key of a cross-signing key; its signatures are checked elsewhere.

    Raises:
        InvalidParam: it belongs to somebody else, is for another usage, or is malformed.
    """
    place = f"{usage}_key"
    check_canonical(key, place)
    if key["user_id"] != user_id:
        raise InvalidParam(f"{place}.user_id must be {user_id}, who uploads it")
    if usage not in key["usage"]:
        raise InvalidParam(f"{place}.usage must say {usage!r}")
    if len(key["keys"]) != 1:
        raise InvalidParam(f"{place}.keys must hold exactly one key")
    ((name, public_key),) = key["keys"].items()
    if name != f"ed25519:{public_key}":
        raise InvalidParam(f"{place}.keys must hold the key under the name ed25519:<the key>")
    check_public_key(public_key, f"{place}.keys.{name}")
    _bounded(key, LARGEST_KEY, place)
    return str(public_key)


def check_public_key(key: Any, place: str) -> None:
    """Refuse what is not 32 bytes in unpadded Base64.

    Raises:
        BadJson, InvalidParam: says what is wrong with ``place``.
    """
    if not isinstance(key, str):
        raise BadJson(f"{place} must be a text")
    if not _is_unpadded_base64(key, _KEY_BYTES):
        raise InvalidParam(f"{place} must be {_KEY_BYTES} bytes in unpadded Base64")


def fingerprint(device_keys: Mapping[str, Any]) -> str:
    """The ed25519 key of a device whose keys have been checked."""
    key: str = device_keys["keys"][f"ed25519:{device_keys['device_id']}"]
    return key


def _with_own_signature(
    signed: Json, user_id: str, key_id: str, public_key: str, place: str
) -> Json:
    """The object without ``unsigned`` and with no signature but the one that is asked for."""
    signature = signatures_by(signed, user_id).get(key_id)
    if not is_signature(signature, signed_part(signed), public_key):
        raise InvalidSignature(f"{place} has no valid signature by {key_id} of {user_id}")
    return {**without_signatures(signed), "signatures": {user_id: {key_id: signature}}}


def _bounded(value: Json, most: int, place: str) -> str:
    json = encode(value)
    if len(json) > most:
        raise TooLarge(f"{place} is larger than {most} bytes")
    return json.decode()


def _is_unpadded_base64(text: str, size: int) -> bool:
    """Whether the text is the one unpadded Base64 of so many bytes."""
    try:
        data = b64decode(text + "=" * (-size % 3), validate=True)
    except (Base64Error, ValueError):
        return False
    return len(data) == size and b64encode(data).rstrip(b"=").decode() == text
