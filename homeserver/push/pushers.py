"""Pushers: where devices want to be notified (client-server API, "Push Notifications")."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
from attrs import frozen

from federation_disabled.guard import Guard
from homeserver.clock import Clock
from homeserver.push.changes import PushersChanged
from homeserver.push.sealing import Seal
from homeserver.requester import Requester
from schema.errors import InvalidParam, MissingParam, TooLarge
from storage import pushers
from storage.pushers import StoredPusher
from storage.store import Store
from storage.transaction import WriteTransaction

MAX_PUSHERS = 100
MAX_APP_ID = 64
MAX_PUSHKEY = 512
MAX_DATA = 10_000
# MSC3881, which is not stable yet: a device can silence the pushers of another.
ENABLED = "org.matrix.msc3881.enabled"
_DEVICE = "org.matrix.msc3881.device_id"
_NOTIFY = "/_matrix/push/v1/notify"
_SHOWN = (
    "pushkey",
    "kind",
    "app_id",
    "app_display_name",
    "device_display_name",
    "profile_tag",
    "lang",
    "data",
)


@frozen
class Pushers:
    """Keeps pushers. Their keys and addresses are stored sealed."""

    store: Store
    seal: Seal
    clock: Clock
    guard: Guard

    async def all(self, user_id: str) -> list[dict[str, Any]]:
        """A person's pushers, as GET /pushers shows them."""
        stored = await self.store.read(lambda txn: pushers.of_person(txn, user_id))
        opened = [(each.device_id, self.seal.open(each.sealed)) for each in stored]
        return [
            {**orjson.loads(text), _DEVICE: device_id}
            for device_id, text in opened
            if text is not None
        ]

    async def set(self, requester: Requester, pusher: Mapping[str, Any]) -> None:
        """Add, change or (``kind`` None) remove a pusher, as POST /pushers/set describes it.

        It belongs to the device that sets it, unless that is changing the pusher of another one,
        which it then names as GET /pushers does.

        Raises:
            InvalidParam, MissingParam: it cannot be a pusher.
            TooLarge: it is too large, or the person has too many.
        """
        app_id, fingerprint = pusher["app_id"], self.seal.fingerprint(pusher["pushkey"])
        user_id = requester.user_id
        if pusher["kind"] is None:
            await self.remove(user_id, app_id, fingerprint)
            return
        _check(pusher, self.guard)
        shown = {name: pusher[name] for name in _SHOWN if pusher.get(name) is not None}
        shown[ENABLED] = pusher.get(ENABLED) is not False
        sealed = self.seal.close(orjson.dumps(shown).decode())
        named, now = pusher.get(_DEVICE), self.clock()

        def work(txn: WriteTransaction) -> None:
            since = txn.position()
            owner = pushers.device_of(txn, user_id, app_id, fingerprint) if named else None
            device_id = owner if owner is not None and owner == named else requester.device_id
            pushers.put(
                txn,
                StoredPusher(user_id, app_id, fingerprint, device_id, sealed, now, since),
            )
            if pushers.count(txn, user_id) > MAX_PUSHERS:
                raise TooLarge(f"You can have {MAX_PUSHERS} pushers: remove one first")
            changed = [user_id]
            if not pusher.get("append"):
                changed += pushers.remove_from_others(txn, user_id, app_id, fingerprint)
            for each in changed:
                _announce(txn, each)

        await self.store.write(work)

    async def remove(self, user_id: str, app_id: str, fingerprint: str) -> None:
        """Remove a pusher; fine if it is gone already."""

        def work(txn: WriteTransaction) -> None:
            pushers.remove(txn, user_id, app_id, fingerprint)
            _announce(txn, user_id)

        await self.store.write(work)

    def forget(self, txn: WriteTransaction, user_id: str, device_ids: Sequence[str]) -> None:
        """Inside a transaction: these devices are gone, and with them what they asked for."""
        pushers.remove_of_devices(txn, user_id, device_ids)
        _announce(txn, user_id)


def _announce(txn: WriteTransaction, user_id: str) -> None:
    txn.announce(PushersChanged(position=txn.position(), user_id=user_id))


def _check(pusher: Mapping[str, Any], guard: Guard) -> None:
    if pusher["kind"] != "http":
        raise InvalidParam("This server knows only pushers of the kind `http`")
    if not 0 < len(pusher["app_id"]) <= MAX_APP_ID:
        raise InvalidParam(f"`app_id` has 1 to {MAX_APP_ID} characters")
    if not 0 < len(pusher["pushkey"].encode()) <= MAX_PUSHKEY:
        raise InvalidParam(f"`pushkey` has 1 to {MAX_PUSHKEY} bytes")
    if "url" not in pusher["data"]:
        raise MissingParam("A pusher of the kind `http` needs `data.url`")
    if len(orjson.dumps(pusher["data"])) > MAX_DATA:
        raise TooLarge(f"`data` has at most {MAX_DATA} bytes")
    if not _is_gateway(pusher["data"]["url"], guard):
        raise InvalidParam(
            f"`data.url` is the address of a push gateway: HTTPS, and it ends in {_NOTIFY}"
        )


def _is_gateway(url: str, guard: Guard) -> bool:
    """Plain HTTP only leads to machines that the organizer has named."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    is_private = parts.scheme == "https" or (parts.scheme == "http" and guard.names(host or ""))
    return is_private and bool(host) and port != 0 and parts.path == _NOTIFY
