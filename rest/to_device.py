"""Sending to devices over HTTP (client-server API, "Send-to-Device messaging")."""

from typing import Any

from e2e.to_device import ToDevice
from rest.routing import Access, Call, Route


class ToDeviceApi:
    """The one route of this feature."""

    def __init__(self, to_device: ToDevice) -> None:
        self._to_device = to_device

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        path = "/_matrix/client/v3/sendToDevice/{event_type}/{txn_id}"
        return [Route("PUT", path, self.send, Access.GUEST, body="sendToDevice", limit="keys")]

    async def send(self, call: Call) -> dict[str, Any]:
        """Send each of some devices an event."""
        requester = call.requester
        await self._to_device.send(
            (requester.user_id, requester.device_id),
            call.path["event_type"],
            call.path["txn_id"],
            call.body["messages"],
        )
        return {}
