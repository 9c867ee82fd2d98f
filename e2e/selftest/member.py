"""One person of the group: an account, a device, and what /sync has brought to it."""

from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from attrs import define, field

from e2e.selftest.client import Client, Refused
from e2e.selftest.faults import Fault
from e2e.selftest.olm_device import SIGNED_KEY, OlmDevice

LONGEST_POLL_SECONDS = 30.0

_FILTER = orjson.dumps(
    {
        "presence": {"types": []},
        "account_data": {"types": []},
        "room": {
            "account_data": {"types": []},
            "ephemeral": {"types": []},
            "state": {"lazy_load_members": True, "types": []},
            "timeline": {"limit": 20, "types": ["m.room.encrypted"]},
        },
    }
).decode()
"""Only what encryption needs: five hundred people who hear of each other's every step would make
this a test of something else."""

Json = dict[str, Any]


@define(eq=False)
class Member:
    """Somebody with one device, as the server answered to their registration or login."""

    client: Client
    user_id: str
    token: str
    olm: OlmDevice
    since: str | None = None
    messages: list[Json] = field(factory=list)
    """The to-device messages that have come."""
    events: list[Json] = field(factory=list)
    """The encrypted events of rooms that have come."""
    changed: set[str] = field(factory=set)
    """Whose device lists have changed."""
    one_time_keys_left: int | None = None
    unused_fallback_keys: list[str] | None = None
    is_in_room: bool = False

    @classmethod
    def logged_in(cls, client: Client, login: Json) -> "Member":
        """Whoever has got this answer of /register or /login.

        Raises:
            Fault: the answer lacks what it must have.
        """
        try:
            user_id, device_id, token = (
                str(login[key]) for key in ("user_id", "device_id", "access_token")
            )
        except KeyError as missing:
            raise Fault(f"The answer to a login has no {missing}") from None
        return cls(client, user_id, token, OlmDevice(user_id, device_id))

    async def ask(self, method: str, path: str, body: Json | None = None, **more: Any) -> Json:
        """A request of this person that must succeed; see ``Client.ask``."""
        return await self.client.ask(method, path, body, token=self.token, **more)

    async def prove(self, method: str, path: str, body: Json, password: str) -> Json:
        """A request that may need the person's password ("User-Interactive Authentication")."""
        try:
            return await self.ask(method, path, body)
        except Refused as refused:
            session = refused.answer.get("session")
            if refused.status != 401 or session is None:
                raise
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.user_id},
            "password": password,
            "session": session,
        }
        return await self.ask(method, path, {**body, "auth": auth}, has_password=True)

    async def put_into_room(self, room_id: str, event_type: str, txn_id: str, body: Json) -> str:
        """Send a message event; its id."""
        path = f"/rooms/{quote(room_id)}/send/{event_type}/{txn_id}"
        return str((await self.ask("PUT", path, body))["event_id"])

    async def send_to_devices(self, txn_id: str, messages: dict[str, dict[str, Json]]) -> None:
        """Send encrypted to-device messages, by user id and device id."""
        path = f"/sendToDevice/m.room.encrypted/{txn_id}"
        await self.ask("PUT", path, {"messages": messages})

    async def sync(self, seconds: float = 0.0) -> None:
        """One /sync, which waits so long for something to happen."""
        query: dict[str, str | int] = {
            "filter": _FILTER,
            "set_presence": "offline",
            "timeout": int(seconds * 1000),
        }
        if self.since is not None:
            query["since"] = self.since
        self._take(await self.ask("GET", f"/sync?{urlencode(query)}", waits=seconds))

    def forget(self) -> None:
        """Count only what comes from now on."""
        self.messages.clear()
        self.events.clear()
        self.changed.clear()

    async def until(self, happened: Callable[["Member"], bool], patience: float) -> float | None:
        """Sync until something has happened; when its news were here, None if it never happens."""
        deadline = perf_counter() + patience
        while (remaining := deadline - perf_counter()) > 0:
            await self.sync(min(remaining, LONGEST_POLL_SECONDS))
            arrived = perf_counter()
            if happened(self):
                return arrived
        return None

    def _take(self, answer: Json) -> None:
        self.since = answer["next_batch"]
        self.messages += answer.get("to_device", {}).get("events", [])
        self.changed |= set(answer.get("device_lists", {}).get("changed", []))
        self.one_time_keys_left = answer.get("device_one_time_keys_count", {}).get(SIGNED_KEY)
        self.unused_fallback_keys = answer.get("device_unused_fallback_key_types")
        rooms = answer.get("rooms", {})
        for kind in ("join", "leave"):
            for room in rooms.get(kind, {}).values():
                self.events += room.get("timeline", {}).get("events", [])
