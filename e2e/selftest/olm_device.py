"""A device's side of encryption: what a client does with Olm and Megolm.

Client-server API, "End-to-End Encryption". No network here; everything blocks for as long as the
mathematics take.
"""

from collections.abc import Mapping
from typing import Any

import olm
import orjson
from attrs import frozen
from canonicaljson import encode_canonical_json
from olm.utility import OlmVerifyError, ed25519_verify

from e2e.selftest.faults import Fault, check

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
SIGNED_KEY = "signed_curve25519"

_PREKEY_MESSAGE = 0

Json = dict[str, Any]


def signed(value: Json, user_id: str, key_id: str, sign: Any) -> Json:
    """A copy of an object with one more signature ("Signing JSON")."""
    signatures = {who: dict(keys) for who, keys in value.get("signatures", {}).items()}
    signatures.setdefault(user_id, {})[key_id] = sign(_signed_part(value))
    return {**value, "signatures": signatures}


def check_signature(value: Mapping[str, Any], user_id: str, public_key: str, key_id: str) -> None:
    """Go on only if an object carries a valid signature.

    Raises:
        Fault: it does not.
    """
    signature = value.get("signatures", {}).get(user_id, {}).get(key_id)
    check(signature is not None, f"A signature of {key_id} of {user_id} is missing")
    try:
        ed25519_verify(public_key, _signed_part(value), signature)
    except OlmVerifyError:
        raise Fault(f"The signature of {key_id} of {user_id} is not valid") from None


def _signed_part(value: Mapping[str, Any]) -> str:
    bare = {k: v for k, v in value.items() if k not in ("signatures", "unsigned")}
    return encode_canonical_json(bare).decode()


@frozen
class PublicDevice:
    """What others know of a device."""

    user_id: str
    device_id: str
    ed25519: str
    curve25519: str

    @classmethod
    def verified(cls, keys: Any, user_id: str, device_id: str) -> "PublicDevice":
        """What device keys from the server say about a device.

        Raises:
            Fault: they are another device's, or not signed by the device.
        """
        name = f"the device {device_id} of {user_id}"
        check(isinstance(keys, dict), f"The server has no keys of {name}")
        owner = (keys.get("user_id"), keys.get("device_id"))
        check(owner == (user_id, device_id), f"The keys of {name} say that they are of {owner}")
        try:
            ed25519, curve25519 = (
                keys["keys"][f"{kind}:{device_id}"] for kind in ("ed25519", "curve25519")
            )
        except (KeyError, TypeError):
            raise Fault(f"The keys of {name} are not complete") from None
        check_signature(keys, user_id, ed25519, f"ed25519:{device_id}")
        return cls(user_id, device_id, ed25519, curve25519)

    def check_one_time_key(self, name: str, key: Any) -> str:
        """The public part of a one-time or fallback key that was claimed.

        Raises:
            Fault: it is not signed by this device.
        """
        right = name.startswith(f"{SIGNED_KEY}:") and isinstance(key, dict) and "key" in key
        check(right, f"The key {name} claimed from {self.user_id} is not a {SIGNED_KEY} key")
        check_signature(key, self.user_id, self.ed25519, f"ed25519:{self.device_id}")
        return str(key["key"])


class OlmDevice:
    """A device with an Olm account of its own."""

    def __init__(self, user_id: str, device_id: str) -> None:
        self._account = olm.Account()
        self.public = PublicDevice(user_id, device_id, **self._account.identity_keys)
        self.one_time_keys: set[str] = set()
        """The public parts of all one-time keys that this device has made."""
        self.fallback_key = ""
        self._sessions: dict[str, list[olm.Session]] = {}
        self._group: olm.OutboundGroupSession | None = None
        self._groups: dict[str, olm.InboundGroupSession] = {}

    def device_keys(self) -> Json:
        """The device keys, signed ("Uploading keys")."""
        public = self.public
        return self.sign(
            {
                "user_id": public.user_id,
                "device_id": public.device_id,
                "algorithms": [OLM, MEGOLM],
                "keys": {
                    f"ed25519:{public.device_id}": public.ed25519,
                    f"curve25519:{public.device_id}": public.curve25519,
                },
            }
        )

    def make_one_time_keys(self, count: int) -> Json:
        """So many new one-time keys, signed, by their full names."""
        self._account.generate_one_time_keys(count)
        keys = self._account.one_time_keys["curve25519"]
        self._account.mark_keys_as_published()
        self.one_time_keys |= set(keys.values())
        return {f"{SIGNED_KEY}:{id}": self.sign({"key": key}) for id, key in keys.items()}

    def make_fallback_key(self) -> Json:
        """A new fallback key, signed, by its full name."""
        self._account.generate_fallback_key()
        ((key_id, self.fallback_key),) = self._account.fallback_key["curve25519"].items()
        self._account.mark_keys_as_published()
        key = self.sign({"key": self.fallback_key, "fallback": True})
        return {f"{SIGNED_KEY}:{key_id}": key}

    def sign(self, value: Json) -> Json:
        """An object with this device's signature added."""
        key_id = f"ed25519:{self.public.device_id}"
        return signed(value, self.public.user_id, key_id, self._account.sign)

    def start_session(self, other: PublicDevice, one_time_key: str) -> None:
        """Begin an Olm session with a device, with a key that was claimed from it."""
        session = olm.OutboundSession(self._account, other.curve25519, one_time_key)
        self._sessions.setdefault(other.curve25519, []).insert(0, session)

    def encrypt_to(self, other: PublicDevice, event_type: str, content: Json) -> Json:
        """The content of an ``m.room.encrypted`` to-device message, in the newest session."""
        plaintext = {
            "type": event_type,
            "content": content,
            "sender": self.public.user_id,
            "sender_device": self.public.device_id,
            "keys": {"ed25519": self.public.ed25519},
            "recipient": other.user_id,
            "recipient_keys": {"ed25519": other.ed25519},
        }
        message = self._sessions[other.curve25519][0].encrypt(orjson.dumps(plaintext).decode())
        return {
            "algorithm": OLM,
            "sender_key": self.public.curve25519,
            "ciphertext": {
                other.curve25519: {"type": message.message_type, "body": message.ciphertext}
            },
        }

    def decrypt(self, event: Json) -> Json:
        """The plaintext of a to-device message, which must be from who it says, and for us.

        Raises:
            Fault: it cannot be decrypted, or names other people than the server does.
        """
        me = self.public
        content = event["content"]
        message = content.get("ciphertext", {}).get(me.curve25519)
        check(message is not None, f"{me.user_id} has got a message for another device")
        try:
            text = self._decrypt(content["sender_key"], message["type"], message["body"])
        except (olm.OlmSessionError, olm.OlmAccountError) as error:
            raise Fault(f"{me.user_id} cannot decrypt a to-device message: {error}") from error
        plaintext: Json = orjson.loads(text)
        named = (plaintext["sender"], plaintext["recipient"], plaintext["recipient_keys"])
        right = (event["sender"], me.user_id, {"ed25519": me.ed25519})
        check(named == right, f"{me.user_id} has got a message of somebody else: {named}")
        return plaintext

    def start_group(self, room_id: str) -> Json:
        """Begin a Megolm session; the content of the ``m.room_key`` that shares it."""
        self._group = group = olm.OutboundGroupSession()
        room_key = {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": group.id,
            "session_key": group.session_key,
        }
        self.learn_group(room_key)
        return room_key

    def learn_group(self, room_key: Json) -> None:
        """Keep a Megolm session that somebody has shared."""
        session = olm.InboundGroupSession(room_key["session_key"])
        self._groups[room_key["session_id"]] = session

    def encrypt_for_room(self, room_id: str, event_type: str, content: Json) -> Json:
        """The content of an ``m.room.encrypted`` event for a room, in the newest session."""
        assert self._group is not None
        plaintext = {"type": event_type, "content": content, "room_id": room_id}
        return {
            "algorithm": MEGOLM,
            "sender_key": self.public.curve25519,
            "device_id": self.public.device_id,
            "session_id": self._group.id,
            "ciphertext": self._group.encrypt(orjson.dumps(plaintext).decode()),
        }

    def decrypt_from_room(self, event: Json) -> Json:
        """The plaintext of an event of a room.

        Raises:
            Fault: its session was not shared with this device, or it cannot be decrypted.
        """
        me, content = self.public.user_id, event["content"]
        session = self._groups.get(content.get("session_id"))
        if session is None:
            raise Fault(f"{me} cannot decrypt a message: its room key has never arrived")
        try:
            text, _ = session.decrypt(content["ciphertext"])
        except olm.OlmGroupSessionError as error:
            raise Fault(f"{me} cannot decrypt a message of the room: {error}") from error
        plaintext: Json = orjson.loads(text)
        return plaintext

    def _decrypt(self, sender_key: str, message_type: int, body: str) -> str:
        sessions = self._sessions.setdefault(sender_key, [])
        if message_type != _PREKEY_MESSAGE:
            text: str = sessions[0].decrypt(olm.OlmMessage(body))
            return text
        message = olm.OlmPreKeyMessage(body)
        session = next((each for each in sessions if each.matches(message)), None)
        if session is None:
            session = olm.InboundSession(self._account, message, sender_key)
            self._account.remove_one_time_keys(session)
            sessions.insert(0, session)
        text = session.decrypt(message)
        return text
