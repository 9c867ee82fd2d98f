"""Account data and tags."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.account_data import AccountData
from homeserver.push.personal_rules import PersonalRules
from rest.routing import Call, Route
from schema.errors import Forbidden

# MSC3391: deleting, which is not stable yet.
_DELETING = "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}"
_USER = "/_matrix/client/v3/user/{user_id}"
_GLOBAL = f"{_USER}/account_data/{{type}}"
_IN_ROOM = f"{_USER}/rooms/{{room_id}}/account_data/{{type}}"
_TAGS = f"{_USER}/rooms/{{room_id}}/tags"


class AccountDataApi:
    """Client-server API, "Client Config" and "Room Tagging"."""

    def __init__(self, account_data: AccountData, push_rules: PersonalRules, ours: Ours) -> None:
        self._account_data = account_data
        self._push_rules = push_rules
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [
            Route("GET", _GLOBAL, self.read),
            Route("PUT", _GLOBAL, self.write),
            Route("GET", _IN_ROOM, self.read),
            Route("PUT", _IN_ROOM, self.write),
            Route("DELETE", f"{_DELETING}/account_data/{{type}}", self.delete),
            Route("DELETE", f"{_DELETING}/rooms/{{room_id}}/account_data/{{type}}", self.delete),
            Route("GET", _TAGS, self.tags),
            Route("PUT", _TAGS + "/{tag}", self.tag, body="tag"),
            Route("DELETE", _TAGS + "/{tag}", self.untag),
        ]

    async def read(self, call: Call) -> Any:
        """One piece of account data."""
        user_id, room_id = self._place(call)
        if call.path["type"] == "m.push_rules" and not room_id:
            return {"global": await self._push_rules.all(user_id)}
        return await self._account_data.get(user_id, room_id, call.path["type"])

    async def write(self, call: Call) -> dict[str, Any]:
        """Keep a piece of account data."""
        await self._account_data.put(*self._place(call), call.path["type"], call.body)
        return {}

    async def delete(self, call: Call) -> dict[str, Any]:
        """Keep it no more."""
        await self._account_data.delete(*self._place(call), call.path["type"])
        return {}

    async def tags(self, call: Call) -> dict[str, Any]:
        """The tags of a room."""
        return await self._account_data.tags(*self._place(call))

    async def tag(self, call: Call) -> dict[str, Any]:
        """Put a tag on a room."""
        await self._account_data.tag(*self._place(call), call.path["tag"], call.body)
        return {}

    async def untag(self, call: Call) -> dict[str, Any]:
        """Take a tag away."""
        await self._account_data.untag(*self._place(call), call.path["tag"])
        return {}

    def _place(self, call: Call) -> tuple[str, str]:
        user_id: str = call.requester.user_id
        if call.path["user_id"] != user_id:
            raise Forbidden("Account data is personal: you can only use your own")
        room_id = call.path.get("room_id")
        return user_id, "" if room_id is None else self._ours.room(room_id)
