"""Identities: two people verify each other, and everybody hears of a new device.

Client-server API, "Cross-signing" and "Tracking the device list for a user".
"""

from typing import Any

import olm
from attrs import frozen

from e2e.selftest.faults import check
from e2e.selftest.group import Group, check_exactly
from e2e.selftest.keys import publish
from e2e.selftest.member import Member
from e2e.selftest.olm_device import PublicDevice, check_signature, signed
from e2e.selftest.rooms import DELIVERED_GOAL_MS

Json = dict[str, Any]


@frozen
class Identity:
    """Somebody's cross-signing keys."""

    user_id: str
    master: olm.PkSigning
    self_signing: olm.PkSigning
    user_signing: olm.PkSigning

    @classmethod
    def make(cls, user_id: str) -> "Identity":
        """New keys."""
        return cls(user_id, *(olm.PkSigning(olm.PkSigning.generate_seed()) for _ in range(3)))

    def sign(self, usage: str, value: Json) -> Json:
        """An object with the signature of one of the keys added."""
        key = getattr(self, usage)
        return signed(value, self.user_id, f"ed25519:{key.public_key}", key.sign)

    def key(self, usage: str) -> Json:
        """One of the keys, as it is published; not signed yet."""
        public = getattr(self, usage).public_key
        return {
            "user_id": self.user_id,
            "usage": [usage],
            "keys": {f"ed25519:{public}": public},
        }

    def upload(self, device: Member) -> Json:
        """The body that publishes the keys, with the signatures that clients give them."""
        return {
            "master_key": device.olm.sign(self.key("master")),
            "self_signing_key": self.sign("master", self.key("self_signing")),
            "user_signing_key": self.sign("master", self.key("user_signing")),
        }

    def check(self, value: Json, usage: str) -> None:
        """Go on only if one of the keys has signed an object."""
        public = getattr(self, usage).public_key
        check_signature(value, self.user_id, public, f"ed25519:{public}")


async def verify_each_other(group: Group) -> None:
    """Two people publish cross-signing keys, and one of them verifies the other.

    The chain holds for her afterwards, from her own key to his device; that she has verified him
    is for nobody else to see.
    """
    alice, bob, carol = group.members[:3]
    identities = await group.compute(Identity.make, [alice.user_id, bob.user_id])
    for member, identity in zip((alice, bob), identities, strict=True):
        await _publish(group, member, identity)
    of_alice, of_bob = identities
    seen = await _identity_keys(alice, bob)
    master = seen["master_keys"].get("keys")
    check_exactly(master, of_bob.key("master")["keys"], f"The master key of {bob.user_id}")
    (proof,) = await group.compute(
        lambda key: of_alice.sign("user_signing", key), [seen["master_keys"]]
    )
    await _upload_signature(alice, bob.user_id, of_bob.master.public_key, proof)
    seen = await _identity_keys(alice, bob)

    def check_chain(keys: Json) -> None:
        of_alice.check(keys["master_keys"], "user_signing")
        of_bob.check(keys["self_signing_keys"], "master")
        of_bob.check(keys["device_keys"][bob.olm.public.device_id], "self_signing")

    await group.compute(check_chain, [seen])
    for_carol = (await _identity_keys(carol, bob))["master_keys"]
    is_secret = alice.user_id not in for_carol.get("signatures", {})
    check(is_secret, "Everybody can see who has verified whom")


async def add_device(group: Group) -> None:
    """Somebody logs in on another device; everybody in the room hears of it and finds its keys."""
    person = group.readers[0]
    login = await person.client.ask(
        "POST",
        "/login",
        {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": person.user_id},
            "password": group.password,
        },
        has_password=True,
    )
    device = Member.logged_in(group.client, login)
    readers = [group.writer, *group.readers]
    delivery = await group.deliver(
        lambda: publish(device, {"device_keys": device.olm.device_keys(), "one_time_keys": {}}),
        readers,
        lambda reader: person.user_id in reader.changed,
        "the news of a new device",
    )
    title = f"A new device is known to the last of {len(readers)}"
    group.ledger.note(title, delivery.last_seconds, DELIVERED_GOAL_MS)
    wanted: Json = {person.user_id: []}
    answer = await group.writer.ask("POST", "/keys/query", {"device_keys": wanted})
    keys = answer.get("device_keys", {}).get(person.user_id, {})
    device_ids = {each.olm.public.device_id for each in (person, device)}
    check_exactly(set(keys), device_ids, f"The devices of {person.user_id}")
    for each in (person, device):
        device_id = each.olm.public.device_id
        found = PublicDevice.verified(keys[device_id], person.user_id, device_id)
        check(found == each.olm.public, f"The server gives out false keys of {person.user_id}")


async def _publish(group: Group, member: Member, identity: Identity) -> None:
    """Publish an identity, and sign the device with it."""
    device_id = member.olm.public.device_id
    (body,) = await group.compute(identity.upload, [member])
    await member.prove("POST", "/keys/device_signing/upload", body, group.password)
    device = identity.sign("self_signing", member.olm.device_keys())
    await _upload_signature(member, member.user_id, device_id, device)


async def _upload_signature(member: Member, user_id: str, target: str, value: Json) -> None:
    body = {user_id: {target: value}}
    answer = await member.ask("POST", "/keys/signatures/upload", body)
    check_exactly(answer.get("failures", {}), {}, "The failures of an upload of signatures")


async def _identity_keys(asker: Member, of: Member) -> Json:
    """What the server tells somebody of a person's keys, by section of the answer."""
    answer = await asker.ask("POST", "/keys/query", {"device_keys": {of.user_id: []}})
    keys: Json = {}
    for section in ("device_keys", "master_keys", "self_signing_keys"):
        check(
            of.user_id in answer.get(section, {}),
            f"The {section.replace('_', ' ')} of {of.user_id} are missing in a key query",
        )
        keys[section] = answer[section][of.user_id]
    return keys
