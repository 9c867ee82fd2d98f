"""The public keys that somebody may sign with, by key id (appendices, "Signing JSON")."""

import orjson

from e2e.signatures import fingerprint
from storage import cross_signing, device_keys
from storage.transaction import Transaction


def of_devices(txn: Transaction, user_id: str) -> dict[str, str]:
    """The ed25519 keys of a person's devices."""
    return {
        f"ed25519:{device_id}": fingerprint(orjson.loads(json))
        for device_id, json in device_keys.of_user(txn, user_id).items()
    }


def of_identity(txn: Transaction, user_id: str) -> dict[str, str]:
    """A person's cross-signing keys."""
    keys = cross_signing.keys_of(txn, user_id)
    return {f"ed25519:{public_key}": public_key for public_key, _ in keys.values()}
