"""Cross-signing: people's identities, and who has signed what.

Client-server API, "Cross-signing". Only signatures that have been verified are stored.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from e2e import public_keys
from e2e.device_lists import Announcer
from e2e.identity_log import IdentityLog
from e2e.signatures import (
    check_cross_signing_key,
    is_signature,
    signatures_by,
    signed_part,
    without_signatures,
)
from schema.canonical import check_canonical, encode
from schema.errors import (
    Conflict,
    Forbidden,
    InvalidParam,
    InvalidSignature,
    MatrixError,
    MissingParam,
    NotFound,
)
from storage import cross_signing, device_keys, devices
from storage.cross_signing import Signature
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction

SUBKEYS = ("self_signing", "user_signing")
USAGES = ("master", *SUBKEYS)
MOST_SIGNED = 100

Json = dict[str, Any]
Keys = Mapping[str, Json]
"""Cross-signing keys by usage: master, self_signing, user_signing."""


@frozen
class _Upload:
    """Keys that have been checked against what is stored."""

    stored: dict[str, tuple[str, str]]
    public: dict[str, str]
    json: dict[str, str]
    signatures: list[Signature]

    @property
    def new(self) -> list[str]:
        """The usages for which there was another key, or none."""
        return [u for u, key in self.public.items() if self.stored.get(u, ("",))[0] != key]

    @property
    def replaces(self) -> bool:
        """Whether an identity that exists is changed, which takes more than an access token."""
        return "master" in self.stored and bool(self.new)


class CrossSigning:
    """The cross-signing keys of people, and the signatures on keys."""

    def __init__(self, store: Store, announcer: Announcer, log: IdentityLog) -> None:
        self._store = store
        self._announcer = announcer
        self._log = log

    async def needs_authentication(self, user_id: str, keys: Keys) -> bool:
        """Whether publishing these keys would change an identity that exists.

        The first keys, and the same ones again, need no interactive authentication.

        Raises:
            InvalidParam, InvalidSignature, MissingParam, Forbidden: as ``upload`` does.
        """
        return (await self._store.read(lambda txn: _check(txn, user_id, keys))).replaces

    async def upload(
        self, user_id: str, keys: Keys, *, authenticated: bool, device_id: str = ""
    ) -> None:
        """Publish a person's cross-signing keys: all that are given, or none.

        A new master key discards the keys and signatures that belonged to the old one. The
        person's devices are told of it, but for ``device_id``, which does it.

        Raises:
            InvalidParam: a key is malformed or somebody else's.
            InvalidSignature: a key is not signed by the master key.
            MissingParam: there is no master key, neither here nor from before.
            Forbidden: a key is the same as the id of one of the person's devices.
            Conflict: it needs authentication, since the keys were changed in the meantime.
        """

        def work(txn: WriteTransaction) -> None:
            upload = _check(txn, user_id, keys)
            if upload.replaces and not authenticated:
                raise Conflict("Your cross-signing keys have just been changed; try again")
            changed = bool(upload.new)
            outdated = [upload.stored[u][0] for u in upload.new if u in upload.stored]
            if "master" in upload.new:
                for usage in set(SUBKEYS) & set(upload.stored) - set(upload.public):
                    cross_signing.delete_key(txn, user_id, usage)
                    outdated.append(upload.stored[usage][0])
            if outdated:
                cross_signing.delete_signatures(txn, user_id, outdated)
            for usage in upload.new:
                public_key, json = upload.public[usage], upload.json[usage]
                cross_signing.put_key(txn, user_id, usage, public_key, json)
            self._note(txn, user_id, upload, device_id)
            for signature in upload.signatures:
                changed |= cross_signing.add_signature(txn, signature)
            if changed:
                self._announcer.changed(txn, user_id)

        await self._store.write(work)

    def _note(self, txn: WriteTransaction, user_id: str, upload: _Upload, device_id: str) -> None:
        if "master" in upload.new:
            key, is_first = upload.public["master"], "master" not in upload.stored
            self._log.master_key_changed(txn, user_id, key, device_id, is_first=is_first)
        elif upload.new:
            new = [upload.public[usage] for usage in upload.new]
            self._log.signing_keys_changed(txn, user_id, new, device_id)

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Remove somebody's keys; in the transaction that closes the account."""
        keys = cross_signing.keys_of(txn, user_id)
        if keys:
            for usage in keys:
                cross_signing.delete_key(txn, user_id, usage)
            cross_signing.delete_signatures(txn, user_id, [key for key, _ in keys.values()])
            self._announcer.changed(txn, user_id)

    async def sign(self, signer: str, signed: Mapping[str, Mapping[str, Json]]) -> Json:
        """Add signatures to keys: user id, then device id or public key, then the signed object.

        One's own self-signing key signs one's devices, one's devices sign the own master key, and
        one's user-signing key signs the master keys of others. Returns the failures; everything
        else is stored.

        Raises:
            InvalidParam: too many objects at once.
        """
        if sum(len(targets) for targets in signed.values()) > MOST_SIGNED:
            raise InvalidParam(f"At most {MOST_SIGNED} objects can be signed at once")

        def work(txn: WriteTransaction) -> Json:
            failures: Json = {}
            changed = {}
            for user_id, targets in signed.items():
                for target, claim in targets.items():
                    try:
                        found = _check_signed(txn, signer, user_id, target, claim)
                    except MatrixError as error:
                        failures.setdefault(user_id, {})[target] = error.body()
                        continue
                    for signature in found:
                        if cross_signing.add_signature(txn, signature):
                            changed[user_id] = True
            for user_id in changed:
                if user_id == signer:
                    self._announcer.changed(txn, user_id)
                else:
                    self._announcer.signed(txn, signer, user_id)
            return failures

        return await self._store.write(work)


def _check(txn: Transaction, user_id: str, keys: Keys) -> _Upload:
    stored = cross_signing.keys_of(txn, user_id)
    public = {u: check_cross_signing_key(keys[u], user_id, u) for u in USAGES if u in keys}
    master = public.get("master") or stored.get("master", (None,))[0]
    if master is None:
        raise MissingParam("A master_key must be uploaded first, or together with the others")
    if len(set(public.values())) < len(public):
        raise InvalidParam("The cross-signing keys must differ from each other")
    if set(public.values()) & {device.device_id for device in devices.devices_of(txn, user_id)}:
        raise Forbidden("A cross-signing key must not be the same as one of your device ids")
    json = {}
    by_master = f"ed25519:{master}"
    for usage in public:
        signature = signatures_by(keys[usage], user_id).get(by_master)
        valid = is_signature(signature, signed_part(keys[usage]), master)
        if not valid and (usage != "master" or signature is not None):
            raise InvalidSignature(f"{usage}_key has no valid signature by your master key")
        kept = without_signatures(keys[usage])
        if valid:
            kept["signatures"] = {user_id: {by_master: signature}}
        json[usage] = encode(kept).decode()
    signatures = _by_devices(txn, user_id, keys["master"], master) if "master" in keys else []
    return _Upload(stored, public, json, signatures)


def _by_devices(txn: Transaction, user_id: str, key: Json, master: str) -> list[Signature]:
    """The signatures of devices that a master key brings along; of unknown devices none."""
    found = []
    own_devices = public_keys.of_devices(txn, user_id)
    for key_id, signature in signatures_by(key, user_id).items():
        public_key = own_devices.get(key_id)
        if public_key is not None:
            if not is_signature(signature, signed_part(key), public_key):
                raise InvalidSignature(f"master_key: the signature by {key_id} is not valid")
            found.append(Signature(user_id, master, user_id, key_id, signature))
    return found


def _check_signed(
    txn: Transaction, signer: str, user_id: str, target: str, claim: Json
) -> list[Signature]:
    """The signatures to add to one key; a MatrixError if there is anything wrong with them."""
    check_canonical(claim)
    stored, signers = _target(txn, signer, user_id, target)
    if signed_part(claim) != signed_part(stored):
        raise InvalidParam("The signed object is not the key that is stored here")
    found = []
    for key_id, signature in signatures_by(claim, signer).items():
        public_key = signers.get(key_id)
        if public_key is not None:
            if not is_signature(signature, signed_part(claim), public_key):
                raise InvalidSignature(f"The signature by {key_id} is not valid")
            found.append(Signature(user_id, target, signer, key_id, signature))
    if not found:
        raise InvalidSignature("There is no signature by a key that may sign this one")
    return found


def _target(
    txn: Transaction, signer: str, user_id: str, target: str
) -> tuple[Json, dict[str, str]]:
    """A key that is to be signed, and who may: public keys of the signer by key id."""
    own = cross_signing.keys_of(txn, signer)
    if user_id == signer:
        device = device_keys.find(txn, signer, target)
        if device is not None:
            return orjson.loads(device), _named(own, "self_signing")
        theirs = own
    else:
        theirs = cross_signing.keys_of(txn, user_id)
    public_key, json = theirs.get("master", (None, ""))
    if public_key != target:
        raise NotFound("There is no such device, and it is not the current master key")
    signers = (
        public_keys.of_devices(txn, signer) if user_id == signer else _named(own, "user_signing")
    )
    return orjson.loads(json), signers


def _named(keys: dict[str, tuple[str, str]], usage: str) -> dict[str, str]:
    return {f"ed25519:{keys[usage][0]}": keys[usage][0]} if usage in keys else {}
