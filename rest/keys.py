"""Device keys, one-time keys and cross-signing over HTTP (client-server API, "Key management")."""

from collections.abc import Callable
from typing import Any

from e2e.cross_signing import USAGES, CrossSigning
from e2e.device_lists import DeviceLists
from e2e.devices import Devices
from e2e.key_queries import KeyQueries
from e2e.one_time_keys import OneTimeKeys
from homeserver.uia import Uia, request_key
from rest.access import device_of
from rest.routing import Access, Call, Route


class KeysApi:
    """What clients publish and ask about keys."""

    def __init__(
        self,
        devices: Devices,
        one_time_keys: OneTimeKeys,
        queries: KeyQueries,
        lists: DeviceLists,
        cross_signing: CrossSigning,
        uia: Uia,
        position_in: Callable[[str], int],
    ) -> None:
        """``position_in`` reads the stream position out of a sync token, or refuses it."""
        self._devices = devices
        self._one_time_keys = one_time_keys
        self._queries = queries
        self._lists = lists
        self._cross_signing = cross_signing
        self._uia = uia
        self._position_in = position_in

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        keys = "/_matrix/client/v3/keys"
        return [
            Route(
                "POST",
                f"{keys}/upload",
                self.upload,
                Access.GUEST,
                body="keys.upload",
                limit="keys",
            ),
            Route(
                "POST", f"{keys}/query", self.query, Access.GUEST, body="keys.query", limit="keys"
            ),
            Route(
                "POST", f"{keys}/claim", self.claim, Access.GUEST, body="keys.claim", limit="keys"
            ),
            Route("GET", f"{keys}/changes", self.changes, limit="keys"),
            Route(
                "POST",
                f"{keys}/device_signing/upload",
                self.upload_cross_signing,
                body="keys.device_signing",
                limit="keys",
            ),
            Route(
                "POST", f"{keys}/signatures/upload", self.sign, body="keys.signatures", limit="keys"
            ),
        ]

    async def upload(self, call: Call) -> dict[str, Any]:
        """Publish the device's keys."""
        body = call.body
        # COMPAT(matrix-js-sdk 12): the name before the specification had fallback keys.
        fallback = body.get("fallback_keys") or body.get("org.matrix.msc2732.fallback_keys")
        counts = await self._devices.upload(
            call.requester.user_id,
            device_of(call),
            body.get("device_keys"),
            body.get("one_time_keys") or {},
            fallback or {},
        )
        return {"one_time_key_counts": counts}

    async def query(self, call: Call) -> dict[str, Any]:
        """Who has which devices and cross-signing keys."""
        return await self._queries.query(call.requester.user_id, call.body["device_keys"])

    async def claim(self, call: Call) -> dict[str, Any]:
        """Take one-time keys."""
        wanted = call.body["one_time_keys"]
        claimed = await self._one_time_keys.claim(call.requester.user_id, wanted)
        return {"failures": {}, "one_time_keys": claimed}

    async def changes(self, call: Call) -> dict[str, Any]:
        """Whose keys have changed between two sync tokens."""
        since = self._position_in(call.query.needed("from"))
        upto = self._position_in(call.query.needed("to"))
        changed, left = await self._lists.changes(call.requester.user_id, since, upto)
        return {"changed": sorted(changed), "left": sorted(left)}

    async def upload_cross_signing(self, call: Call) -> dict[str, Any]:
        """Publish cross-signing keys; changing them takes interactive authentication."""
        requester, body = call.requester, call.body
        keys = {u: body[f"{u}_key"] for u in USAGES if body.get(f"{u}_key") is not None}
        replaces = await self._cross_signing.needs_authentication(requester.user_id, keys)
        if replaces:
            request = request_key("keys/device_signing/upload", body)
            await self._uia.require(requester, request, body.get("auth"))
        await self._cross_signing.upload(
            requester.user_id, keys, authenticated=replaces, device_id=requester.device_id
        )
        return {}

    async def sign(self, call: Call) -> dict[str, Any]:
        """Add signatures to keys."""
        return {"failures": await self._cross_signing.sign(call.requester.user_id, call.body)}
