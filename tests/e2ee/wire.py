"""What encryption needs from an answer of /sync, read as a client reads it."""

from typing import Any

import olm
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from e2e.identity_log import NOTICE
from tests.olm_devices import Device, Json

ALGORITHM = "signed_curve25519"
SOON = 10
"""Seconds within which what has to happen at once happens, on a machine that has more to do."""

COUNT, UNUSED = "device_one_time_keys_count", "device_unused_fallback_key_types"
_PRESENCE_ONLY = {"presence", "next_batch", COUNT, UNUSED}


async def sync(device: Device, since: str | None = None, timeout: int = 0, **query: Any) -> Json:
    """One /sync over the wire."""
    return await device.person.sync(since, timeout, **query)


async def token(device: Device) -> str:
    """Where the stream is now, for this device."""
    return str((await sync(device))["next_batch"])


async def waiting(device: Device, since: str) -> "Deferred[Json]":
    """A /sync that the server holds because there is no news; it fails if none comes soon."""
    registry = device.town.server.app.metrics.registry
    before = registry.get_sample_value("hearth_sync_waiters") or 0
    answer = Deferred.fromCoroutine(_news(device, since))
    answer.addTimeout(SOON, default_reactor)
    while not answer.called and registry.get_sample_value("hearth_sync_waiters") == before:
        await deferLater(default_reactor, 0.002)
    return answer


async def _news(device: Device, since: str) -> Json:
    """The first answer that does not only tell who is online."""
    while True:
        answer = await sync(device, since, timeout=10 * SOON * 1000)
        if "presence" not in answer or answer.keys() - _PRESENCE_ONLY:
            return answer
        since = answer["next_batch"]


def messages(answer: Json) -> list[Json]:
    """The to-device messages that somebody has sent; what the server itself tells is left out."""
    events = answer.get("to_device", {}).get("events", [])
    return [event for event in events if event["type"] != NOTICE]


def bodies(answer: Json) -> list[Any]:
    """What the to-device messages say."""
    return [message["content"]["body"] for message in messages(answer)]


def counts(answer: Json) -> tuple[int, list[str]]:
    """One-time keys left, and unused fallback keys; both must be in every answer."""
    return answer[COUNT][ALGORITHM], answer[UNUSED]


def changed(answer: Json) -> list[str]:
    """Whose devices have to be asked for again."""
    return list(answer.get("device_lists", {}).get("changed", []))


def left(answer: Json) -> list[str]:
    """Whose devices are no concern any more."""
    return list(answer.get("device_lists", {}).get("left", []))


def public_keys(keys: Json) -> list[str]:
    """The keys themselves, of a body that uploads them."""
    return [key["key"] for key in keys.values()]


def olm_message(sender: Device, receiver: Device, one_time_key: str, text: str) -> Any:
    """The first message of an Olm session that begins with a claimed key."""
    identity_key = receiver.account.identity_keys["curve25519"]
    return olm.OutboundSession(sender.account, identity_key, one_time_key).encrypt(text)


def read(receiver: Device, message: Any) -> str:
    """Decrypt the first message of a session; as clients do, the private key is then dropped."""
    session = olm.InboundSession(receiver.account, message)
    text = session.decrypt(message)
    receiver.account.remove_one_time_keys(session)
    return str(text)
