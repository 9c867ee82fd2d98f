"""Profiles, and finding people."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.profiles import Profiles
from homeserver.user_directory import UserDirectory
from rest.routing import Access, Call, Route

_PROFILE = "/_matrix/client/v3/profile/{user_id}"
_NAME = "displayname"
"""The only field that guests may change, so that it has routes of its own."""


class ProfilesApi:
    """Client-server API, "Profiles" and "User Directory"."""

    def __init__(self, profiles: Profiles, people: UserDirectory, ours: Ours) -> None:
        self._profiles = profiles
        self._people = people
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        field, name = _PROFILE + "/{key}", f"{_PROFILE}/{_NAME}"
        return [
            Route("GET", _PROFILE, self.all, Access.PUBLIC),
            Route("GET", field, self.read, Access.PUBLIC),
            Route("GET", name, self.read, Access.PUBLIC),
            Route("PUT", field, self.write),
            Route("DELETE", field, self.remove),
            Route("PUT", name, self.write, Access.GUEST),
            Route("DELETE", name, self.remove, Access.GUEST),
            Route(
                "POST",
                "/_matrix/client/v3/user_directory/search",
                self.search,
                body="user_directory.search",
            ),
        ]

    async def all(self, call: Call) -> dict[str, Any]:
        """Every field."""
        return await self._profiles.all(self._ours.user(call.path["user_id"]))

    async def read(self, call: Call) -> dict[str, Any]:
        """One field."""
        user_id = self._ours.user(call.path["user_id"])
        return await self._profiles.field(user_id, call.path.get("key", _NAME))

    async def write(self, call: Call) -> dict[str, Any]:
        """Set one's own field."""
        user_id = self._ours.user(call.path["user_id"])
        await self._profiles.set(call.requester, user_id, call.path.get("key", _NAME), call.body)
        return {}

    async def remove(self, call: Call) -> dict[str, Any]:
        """Take one's own field away."""
        user_id = self._ours.user(call.path["user_id"])
        await self._profiles.remove(call.requester, user_id, call.path.get("key", _NAME))
        return {}

    async def search(self, call: Call) -> dict[str, Any]:
        """Find people by name."""
        return await self._people.search(
            call.requester.user_id, call.body["search_term"], call.body.get("limit", 10)
        )
