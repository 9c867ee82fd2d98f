"""Device keys, one-time keys and fallback keys: published, asked for, claimed, counted.

Client-server API, "Key management" and "One-time and fallback keys".
"""

from itertools import cycle, islice
from typing import Any

from e2e.selftest.client import together
from e2e.selftest.faults import check
from e2e.selftest.group import Group, check_exactly
from e2e.selftest.member import Member
from e2e.selftest.olm_device import SIGNED_KEY, OlmDevice, PublicDevice

ONE_TIME_KEYS = 5
"""Few, so that it does not take long to use them up."""

CLAIMS_TOO_MANY = 2

QUERY_GOAL_MS = 30.0
CLAIM_GOAL_MS = 40.0

Json = dict[str, Any]


async def publish_keys(group: Group) -> None:
    """Every device publishes its keys, and the server counts them right."""
    bodies = await group.compute(_keys_to_publish, [member.olm for member in group.members])
    await group.all(lambda pair: publish(*pair), list(zip(group.members, bodies, strict=True)))


async def publish(member: Member, body: Json) -> None:
    """Upload the keys of a device.

    Raises:
        Fault: the server does not count them right.
    """
    answer = await member.ask("POST", "/keys/upload", body)
    left = answer.get("one_time_key_counts", {}).get(SIGNED_KEY)
    check_exactly(left, len(body["one_time_keys"]), "The count of one-time keys after an upload")


async def sync_first(group: Group) -> None:
    """Everybody's first /sync, which says how many keys there are."""
    await group.catch_up(group.members)
    for member in group.members:
        _check_left(member, ONE_TIME_KEYS, [SIGNED_KEY])


async def query_keys(group: Group) -> None:
    """The writer asks for everybody's devices, and verifies that they are what they say."""
    wanted: Json = {member.user_id: [] for member in group.members}
    with group.ledger.figure(f"Key query of {group.size} people", QUERY_GOAL_MS):
        answer = await group.writer.ask("POST", "/keys/query", {"device_keys": wanted})
    found = answer.get("device_keys", {})

    def verify(member: Member) -> PublicDevice:
        device_id = member.olm.public.device_id
        keys = found.get(member.user_id, {}).get(device_id)
        return PublicDevice.verified(keys, member.user_id, device_id)

    for device, member in zip(
        await group.compute(verify, group.members), group.members, strict=True
    ):
        check(device == member.olm.public, f"The server gives out false keys of {member.user_id}")
        check_exactly(len(found[member.user_id]), 1, f"The number of devices of {member.user_id}")
        group.devices[member.user_id] = device


async def claim_keys(group: Group) -> None:
    """The writer claims one key of everybody, and begins an Olm session with each.

    One key each is gone afterwards, no more and no less.
    """
    writer, readers = group.writer, group.readers
    wanted = {m.user_id: {m.olm.public.device_id: SIGNED_KEY} for m in readers}
    with group.ledger.figure(f"Claim of {len(readers)} one-time keys", CLAIM_GOAL_MS):
        answer = await writer.ask("POST", "/keys/claim", {"one_time_keys": wanted})

    def start_session(member: Member) -> None:
        device = group.devices[member.user_id]
        name, key = _claimed(answer, device)
        public = device.check_one_time_key(name, key)
        known = public in member.olm.one_time_keys
        check(known, f"The key claimed from {member.user_id} is no one-time key of theirs")
        writer.olm.start_session(device, public)

    await group.compute(start_session, readers)
    await group.catch_up(group.members)
    _check_left(writer, ONE_TIME_KEYS, [SIGNED_KEY])
    for member in readers:
        _check_left(member, ONE_TIME_KEYS - 1, [SIGNED_KEY])


async def use_up_keys(group: Group) -> None:
    """Several people claim more keys of one device at once than it has.

    Each key goes out once; then the fallback key does, which is reported as used and can be
    written to; a new one counts as unused again.
    """
    target, *askers = [*group.readers, group.writer]
    device = target.olm.public
    left = ONE_TIME_KEYS - 1
    wanted = {target.user_id: {device.device_id: SIGNED_KEY}}
    answers = await together(
        asker.ask("POST", "/keys/claim", {"one_time_keys": wanted})
        for asker in islice(cycle(askers), left + CLAIMS_TOO_MANY)
    )
    claimed = [_claimed(answer, device) for answer in answers]
    keys = await group.compute(lambda named: device.check_one_time_key(*named), claimed)
    once = [key for key in keys if key in target.olm.one_time_keys]
    check(len(once) == len(set(once)), "A one-time key was given to several people")
    check_exactly(len(once), left, "The number of one-time keys that could be claimed")
    fallback = [key for key in claimed if key[1]["key"] == target.olm.fallback_key]
    check_exactly(len(fallback), CLAIMS_TOO_MANY, "How often the fallback key was given out")
    check(
        all(key.get("fallback") is True for _, key in fallback),
        "The fallback key does not say that it is one",
    )
    await group.catch_up([target])
    _check_left(target, 0, [])
    await _write_to_fallback_key(group, askers[-1], target)
    new = {"one_time_keys": {}, "fallback_keys": target.olm.make_fallback_key()}
    await publish(target, new)
    await group.catch_up([target])
    _check_left(target, 0, [SIGNED_KEY])


async def _write_to_fallback_key(group: Group, asker: Member, target: Member) -> None:
    device = target.olm.public

    def encrypt(writer: OlmDevice) -> Json:
        writer.start_session(device, target.olm.fallback_key)
        return writer.encrypt_to(device, "m.dummy", {})

    (content,) = await group.compute(encrypt, [asker.olm])
    messages = {target.user_id: {device.device_id: content}}
    await group.deliver(
        lambda: asker.send_to_devices(group.transaction(), messages),
        [target],
        lambda member: bool(member.messages),
        "a message to their fallback key",
    )
    await group.compute(target.olm.decrypt, target.messages)


def _keys_to_publish(device: OlmDevice) -> Json:
    return {
        "device_keys": device.device_keys(),
        "one_time_keys": device.make_one_time_keys(ONE_TIME_KEYS),
        "fallback_keys": device.make_fallback_key(),
    }


def _claimed(answer: Json, device: PublicDevice) -> tuple[str, Json]:
    """The one key that was claimed from a device, and its full name."""
    keys = answer.get("one_time_keys", {}).get(device.user_id, {}).get(device.device_id, {})
    check(
        len(keys) == 1,
        f"A claim brought {len(keys)} keys of {device.user_id} instead of one",
    )
    ((name, key),) = keys.items()
    return name, key


def _check_left(member: Member, one_time: int, fallback: list[str]) -> None:
    who = member.user_id
    check_exactly(
        member.one_time_keys_left, one_time, f"The count of one-time keys that {who} is told"
    )
    check_exactly(
        member.unused_fallback_keys, fallback, f"The unused fallback keys that {who} is told of"
    )
