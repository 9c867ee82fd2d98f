"""Dehydrated devices over HTTP (MSC3814)."""

from typing import Any

from e2e.dehydrated import MOST_AT_ONCE, Dehydrated, DehydratedDevices
from rest.access import device_of
from rest.routing import Call, Route
from schema.hot import keys_upload

_DEVICE = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"


class DehydratedApi:
    """The requester's dehydrated device, and what has come for it."""

    def __init__(self, devices: DehydratedDevices) -> None:
        self._devices = devices

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        events = f"{_DEVICE}/{{device_id}}/events"
        return [
            Route("PUT", _DEVICE, self.put, body="dehydrated_device", limit="keys"),
            Route("GET", _DEVICE, self.read, limit="keys"),
            Route("DELETE", _DEVICE, self.delete, limit="keys"),
            Route("GET", events, self.events, limit="keys"),
            Route(
                "POST", events, self.events_by_post, body="dehydrated_device.events", limit="keys"
            ),
        ]

    async def put(self, call: Call) -> dict[str, Any]:
        """Keep a dehydrated device."""
        body = call.body
        keys_upload(body)
        given = Dehydrated(
            body["device_id"],
            body.get("initial_device_display_name"),
            body["device_data"],
            body["device_keys"],
            body.get("one_time_keys") or {},
            body.get("fallback_keys") or {},
        )
        await self._devices.put((call.requester.user_id, device_of(call)), given)
        return {"device_id": given.device_id}

    async def read(self, call: Call) -> dict[str, Any]:
        """The sealed device."""
        device_id, data = await self._devices.get(call.requester.user_id)
        return {"device_id": device_id, "device_data": data}

    async def delete(self, call: Call) -> dict[str, Any]:
        """Remove it."""
        requester = (call.requester.user_id, call.requester.device_id)
        return {"device_id": await self._devices.delete(requester)}

    async def events(self, call: Call) -> dict[str, Any]:
        """A page of messages; without ``next_batch`` it is the last one."""
        limit = call.query.integer("limit", MOST_AT_ONCE, least=1, most=MOST_AT_ONCE)
        page = await self._devices.events(
            call.requester.user_id, call.path["device_id"], call.query.text("from"), limit
        )
        return {"events": page.events, **({} if page.is_last else {"next_batch": page.end})}

    async def events_by_post(self, call: Call) -> dict[str, Any]:
        """A page of messages. The one after the last is empty.

        COMPAT(matrix-js-sdk 43): it asks again until it gets no events, and begins anew when an
        answer has events but no ``next_batch``.
        """
        page = await self._devices.events(
            call.requester.user_id,
            call.path["device_id"],
            call.body.get("next_batch") or None,
            MOST_AT_ONCE,
        )
        return {"events": page.events, "next_batch": page.end}
