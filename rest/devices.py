"""Devices of the requester."""

from typing import Any

from homeserver.devices import Device, Devices
from homeserver.uia import Uia, request_key
from rest.routing import Access, Answer, Call, Route

_DEVICES = "/_matrix/client/v3/devices"
_DEVICE = f"{_DEVICES}/{{device_id}}"


class DevicesApi:
    """Client-server API, "Device Management"."""

    def __init__(self, devices: Devices, uia: Uia) -> None:
        self._devices = devices
        self._uia = uia

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        delete_devices = "/_matrix/client/v3/delete_devices"
        return [
            Route("GET", _DEVICES, self.read_all, Access.GUEST),
            Route("GET", _DEVICE, self.read, Access.GUEST),
            Route("PUT", _DEVICE, self.update, Access.GUEST, body="devices.update"),
            Route("DELETE", _DEVICE, self.delete, body="devices.delete"),
            Route("POST", delete_devices, self.delete_several, body="delete_devices"),
        ]

    async def read_all(self, call: Call) -> dict[str, Any]:
        """Every device of the requester."""
        devices = await self._devices.all(call.requester.user_id)
        return {"devices": [device_answer(device) for device in devices]}

    async def read(self, call: Call) -> dict[str, Any]:
        """One device."""
        device = await self._devices.get(call.requester.user_id, call.path["device_id"])
        return device_answer(device)

    async def update(self, call: Call) -> dict[str, Any] | Answer:
        """Rename a device. Application services may also create one."""
        user_id, device_id = call.requester.user_id, call.path["device_id"]
        name = call.body.get("display_name")
        if call.requester.application_service is None:
            await self._devices.rename(user_id, device_id, name)
            return {}
        created = await self._devices.rename_or_create(user_id, device_id, name, call.address)
        return Answer({}, status=201 if created else 200)

    async def delete(self, call: Call) -> dict[str, Any]:
        """Remove one device, with the person's password."""
        await self._remove(call, [call.path["device_id"]])
        return {}

    async def delete_several(self, call: Call) -> dict[str, Any]:
        """Remove devices, with the person's password."""
        await self._remove(call, call.body["devices"])
        return {}

    async def _remove(self, call: Call, device_ids: list[str]) -> None:
        key = request_key(f"{call.method} {call.uri}", call.body)
        await self._uia.require(call.requester, key, call.body.get("auth"))
        await self._devices.delete(call.requester.user_id, device_ids)


def device_answer(device: Device) -> dict[str, Any]:
    """A device as clients see it; what is not known is absent. A dehydrated one is never seen."""
    answer: dict[str, Any] = {"device_id": device.device_id}
    if not device.is_dehydrated:
        answer["last_seen_ip"] = device.last_seen_address
        answer["last_seen_ts"] = device.last_seen_at
    if device.display_name is not None:
        answer["display_name"] = device.display_name
    return answer
