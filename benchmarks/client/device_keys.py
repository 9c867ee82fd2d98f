"""Well-formed, signed device keys and one-time keys, as a client uploads them."""

import base64
import os
from typing import Any

import orjson
from nacl.public import PrivateKey
from nacl.signing import SigningKey

ALGORITHMS = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]


class DeviceKeys:
    """The keys of somebody's device."""

    def __init__(self, user_id: str, device_id: str) -> None:
        self._user_id = user_id
        self._device_id = device_id
        self._key = SigningKey.generate()
        self.ed25519 = unpadded(bytes(self._key.verify_key))
        self.curve25519 = unpadded(bytes(PrivateKey.generate().public_key))

    def upload(self, one_time_keys: int) -> dict[str, Any]:
        """The body of /keys/upload."""
        device_id = self._device_id
        keys = {
            f"curve25519:{device_id}": self.curve25519,
            f"ed25519:{device_id}": self.ed25519,
        }
        return {
            "device_keys": self._signed(
                {
                    "user_id": self._user_id,
                    "device_id": device_id,
                    "algorithms": ALGORITHMS,
                    "keys": keys,
                }
            ),
            "one_time_keys": {
                f"signed_curve25519:AAAA{number:04d}": self._signed(
                    {"key": unpadded(os.urandom(32))}
                )
                for number in range(one_time_keys)
            },
        }

    def _signed(self, claim: dict[str, Any]) -> dict[str, Any]:
        canonical = orjson.dumps(claim, option=orjson.OPT_SORT_KEYS)
        signature = unpadded(self._key.sign(canonical).signature)
        name = f"ed25519:{self._device_id}"
        return {**claim, "signatures": {self._user_id: {name: signature}}}


def unpadded(raw: bytes) -> str:
    """Base64 without padding."""
    return base64.b64encode(raw).rstrip(b"=").decode()
