"""Cross-signing keys, and signatures that were added to keys after their upload."""

from collections.abc import Iterable

from attrs import frozen

from storage.transaction import Row, Transaction, WriteTransaction


@frozen
class Signature:
    """One signature of ``signer`` on a key of ``user_id``: a device id or a public key."""

    user_id: str
    target: str
    signer: str
    key_id: str
    signature: str


def keys_of(txn: Transaction, user_id: str) -> dict[str, tuple[str, str]]:
    """A person's cross-signing keys: by usage, the public key and the JSON."""
    rows = txn.all(
        "SELECT usage, public_key, json FROM cross_signing_keys WHERE user_id = ?", user_id
    )
    return {usage: (public_key, json) for usage, public_key, json in rows}


def keys_of_users(txn: Transaction, user_ids: Iterable[str]) -> list[Row]:
    """User id, usage, public key and JSON of the keys of some people."""
    return txn.among(
        "SELECT user_id, usage, public_key, json FROM cross_signing_keys WHERE user_id IN (??)",
        user_ids,
    )


def put_key(txn: WriteTransaction, user_id: str, usage: str, public_key: str, json: str) -> None:
    """Store a key, in place of the last one for this usage."""
    txn.later(
        "INSERT INTO cross_signing_keys (user_id, usage, public_key, json) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_id, usage) DO UPDATE SET public_key = excluded.public_key,"
        " json = excluded.json",
        user_id,
        usage,
        public_key,
        json,
    )


def delete_key(txn: WriteTransaction, user_id: str, usage: str) -> None:
    """Remove a person's key for one usage."""
    txn.run("DELETE FROM cross_signing_keys WHERE user_id = ? AND usage = ?", user_id, usage)


def signatures_on(txn: Transaction, user_ids: Iterable[str]) -> list[Signature]:
    """Every signature on the keys of some people."""
    rows = txn.among(
        "SELECT user_id, target, signer, key_id, signature FROM key_signatures"
        " WHERE user_id IN (??)",
        user_ids,
    )
    return [Signature(*row) for row in rows]


def add_signature(txn: WriteTransaction, signature: Signature) -> bool:
    """Store a signature; False when it was there."""
    changed = txn.run(
        "INSERT INTO key_signatures (user_id, target, signer, key_id, signature)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_id, target, signer, key_id)"
        " DO UPDATE SET signature = excluded.signature"
        " WHERE key_signatures.signature <> excluded.signature",
        signature.user_id,
        signature.target,
        signature.signer,
        signature.key_id,
        signature.signature,
    )
    return changed > 0


def delete_signatures(txn: WriteTransaction, user_id: str, names: Iterable[str]) -> None:
    """Remove the signatures on and by some of a person's devices or public keys."""
    rows = [(user_id, name, user_id, f"ed25519:{name}") for name in names]
    txn.many(
        "DELETE FROM key_signatures WHERE (user_id = ? AND target = ?)"
        " OR (signer = ? AND key_id = ?)",
        rows,
    )
