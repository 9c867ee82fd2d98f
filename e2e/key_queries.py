"""Whose devices have which keys: the answer of /keys/query, kept ready for each person.

Client-server API, "Tracking the device list for a user", and "Key and signature security" for who
sees which signature.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen
from orjson import Fragment

from storage import cross_signing, device_keys
from storage.cross_signing import Signature
from storage.device_lists import DeviceListChanged
from storage.freshness import Freshness
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction

MOST_PEOPLE = 2_000
"""Whose answers are kept ready: more people than live in a neighbourhood."""

Json = dict[str, Any]


@frozen
class _Person:
    """What others are told about somebody, as finished JSON."""

    devices: str
    """The keys of all devices, by device id."""
    keys: dict[str, Fragment]
    """Cross-signing keys by usage, with the signatures that everybody sees."""
    master_for: dict[str, Fragment]
    """The master key for those who have signed it, with their signature."""


class KeyQueries:
    """Answers who has which devices and cross-signing keys, from memory when it can."""

    def __init__(self, store: Store, may_see: Callable[[str, str], bool]) -> None:
        """``may_see(asker, user_id)`` says whether somebody may know of a person."""
        self._store = store
        self._may_see = may_see
        self._people: OrderedDict[str, _Person] = OrderedDict()
        self._changed = Freshness()

    def load(self, position: int) -> None:
        """Begin where the stream is now: at the start, or after changes have been missed."""
        self._people.clear()
        self._changed = Freshness(position)

    def __len__(self) -> int:
        return len(self._people)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, DeviceListChanged):
                self._people.pop(change.user_id, None)
                self._changed.touch(change.user_id, change.position)

    async def query(self, asker: str, wanted: Mapping[str, Sequence[str]]) -> Json:
        """The keys of some devices of people; of all their devices when none is named.

        People who are unknown here, or not for ``asker`` to know, are missing in the answer.
        """
        visible = [user_id for user_id in wanted if self._may_see(asker, user_id)]
        people = await self._look_up(visible)
        answer: Json = {
            "failures": {},
            "device_keys": {},
            "master_keys": {},
            "self_signing_keys": {},
            "user_signing_keys": {},
        }
        for user_id, person in people.items():
            answer["device_keys"][user_id] = _chosen(person.devices, wanted[user_id])
            master = person.master_for.get(asker) or person.keys.get("master")
            if master is not None:
                answer["master_keys"][user_id] = master
            if "self_signing" in person.keys:
                answer["self_signing_keys"][user_id] = person.keys["self_signing"]
            if user_id == asker and "user_signing" in person.keys:
                answer["user_signing_keys"][user_id] = person.keys["user_signing"]
        return answer

    async def _look_up(self, user_ids: Iterable[str]) -> dict[str, _Person]:
        found, missing = {}, []
        for user_id in user_ids:
            person = self._people.get(user_id)
            if person is None:
                missing.append(user_id)
            else:
                self._people.move_to_end(user_id)
                found[user_id] = person
        if missing:
            position, people = await self._store.read(lambda txn: _read(txn, missing))
            for user_id, person in people.items():
                if not self._changed.may_have_changed(user_id, position):
                    self._people[user_id] = person
            while len(self._people) > MOST_PEOPLE:
                self._people.popitem(last=False)
            found |= people
        return found


def _chosen(devices: str, names: Sequence[str]) -> Json | Fragment:
    """Some of a person's devices; all of them when none is named."""
    if not names:
        return Fragment(devices)
    keys = orjson.loads(devices)
    return {name: keys[name] for name in names if name in keys}


def _read(txn: Transaction, user_ids: Sequence[str]) -> tuple[int, dict[str, _Person]]:
    """What there is to tell about people, and the position of the stream at which it was so."""
    position: int = txn.value("SELECT position FROM stream")
    devices: dict[str, dict[str, str]] = {}
    for user_id, device_id, json, name in device_keys.of_users(txn, user_ids):
        devices.setdefault(user_id, {})[device_id] = _named(json, name)
    without_any = [user_id for user_id in user_ids if user_id not in devices]
    devices |= {user_id: {} for user_id in device_keys.known_people(txn, without_any)}
    keys: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for user_id, usage, public_key, json in cross_signing.keys_of_users(txn, user_ids):
        keys[user_id][usage] = (public_key, json)
    signatures: dict[str, list[Signature]] = defaultdict(list)
    for signature in cross_signing.signatures_on(txn, user_ids):
        signatures[signature.user_id].append(signature)
    return position, {
        user_id: _person(user_id, theirs, keys.get(user_id, {}), signatures.get(user_id, ()))
        for user_id, theirs in devices.items()
    }


def _named(json: str, name: str | None) -> str:
    """The stored keys of a device, which never have ``unsigned``, and how it is called."""
    unsigned = {} if name is None else {"device_display_name": name}
    return f'{json[:-1]},"unsigned":{orjson.dumps(unsigned).decode()}}}'


def _person(
    user_id: str,
    devices: Mapping[str, str],
    keys: Mapping[str, tuple[str, str]],
    signatures: Iterable[Signature],
) -> _Person:
    """Everybody sees a person's own signatures; those of others are seen by whoever made them."""
    own: dict[str, list[Signature]] = {}
    of_others: dict[str, list[Signature]] = {}
    public_key, _ = keys.get("master", ("", ""))
    for signature in signatures:
        if signature.signer == user_id:
            own.setdefault(signature.target, []).append(signature)
        elif signature.target == public_key:
            of_others.setdefault(signature.signer, []).append(signature)
    own_view = {usage: _signed(json, own.pop(key, ())) for usage, (key, json) in keys.items()}
    if own:
        devices = {name: _signed(json, own.get(name, ())) for name, json in devices.items()}
    return _Person(
        devices=_object(devices),
        keys={usage: Fragment(json) for usage, json in own_view.items()},
        master_for={
            signer: Fragment(_signed(own_view["master"], theirs))
            for signer, theirs in of_others.items()
        },
    )


def _object(members: Mapping[str, str]) -> str:
    """An object of JSON whose members are there as JSON."""
    texts = [f"{orjson.dumps(name).decode()}:{json}" for name, json in members.items()]
    return f"{{{','.join(texts)}}}"


def _signed(json: str, signatures: Collection[Signature]) -> str:
    """A key with more signatures; without any, the same text."""
    if not signatures:
        return json
    key = orjson.loads(json)
    for signature in signatures:
        by_signer = key.setdefault("signatures", {}).setdefault(signature.signer, {})
        by_signer[signature.key_id] = signature.signature
    return orjson.dumps(key).decode()
