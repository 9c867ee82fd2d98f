"""Whose devices have which keys: the answer of /keys/query, kept ready for each person.

Client-server API, "Tracking the device list for a user", and "Key and signature security" for who
sees which signature.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    devices: dict[str, Fragment]
    all_devices: Fragment
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
            names = wanted[user_id]
            answer["device_keys"][user_id] = (
                {name: person.devices[name] for name in names if name in person.devices}
                if names
                else person.all_devices
            )
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


def _read(txn: Transaction, user_ids: Sequence[str]) -> tuple[int, dict[str, _Person]]:
    """What there is to tell about people, and the position of the stream at which it was so."""
    position: int = txn.value("SELECT position FROM stream")
    devices: dict[str, dict[str, Json]] = defaultdict(dict)
    for user_id, device_id, json, name in device_keys.of_users(txn, user_ids):
        unsigned = {} if name is None else {"device_display_name": name}
        devices[user_id][device_id] = {**orjson.loads(json), "unsigned": unsigned}
    keys: dict[str, dict[str, tuple[str, Json]]] = defaultdict(dict)
    for user_id, usage, public_key, json in cross_signing.keys_of_users(txn, user_ids):
        keys[user_id][usage] = (public_key, orjson.loads(json))
    signatures: dict[str, list[Signature]] = defaultdict(list)
    for signature in cross_signing.signatures_on(txn, user_ids):
        signatures[signature.user_id].append(signature)
    return position, {
        user_id: _person(user_id, devices[user_id], keys[user_id], signatures[user_id])
        for user_id in device_keys.known_people(txn, user_ids)
    }


def _person(
    user_id: str,
    devices: dict[str, Json],
    keys: dict[str, tuple[str, Json]],
    signatures: list[Signature],
) -> _Person:
    """Everybody sees a person's own signatures; those of others are seen by whoever made them."""
    targets = devices | dict(keys.values())
    for signature in signatures:
        if signature.signer == user_id and signature.target in targets:
            _add(targets[signature.target], signature)
    master_for: dict[str, Json] = {}
    if "master" in keys:
        public_key, master = keys["master"]
        for signature in signatures:
            if signature.signer != user_id and signature.target == public_key:
                own_view = master_for.setdefault(
                    signature.signer, orjson.loads(orjson.dumps(master))
                )
                _add(own_view, signature)
    finished = {device_id: Fragment(orjson.dumps(keys)) for device_id, keys in devices.items()}
    return _Person(
        devices=finished,
        all_devices=Fragment(orjson.dumps(finished)),
        keys={usage: Fragment(orjson.dumps(key)) for usage, (_, key) in keys.items()},
        master_for={who: Fragment(orjson.dumps(view)) for who, view in master_for.items()},
    )


def _add(key: Json, signature: Signature) -> None:
    by_signer = key.setdefault("signatures", {}).setdefault(signature.signer, {})
    by_signer[signature.key_id] = signature.signature
