"""Searching in the history of rooms."""

from collections.abc import Mapping
from typing import Any

from homeserver.search.search import Search
from homeserver.search.wish import Surroundings, Wish
from homeserver.sync.filters import RoomEventFilter
from rest.history import viewer
from rest.routing import Call, Route

KEYS = ("content.body", "content.name", "content.topic")
DEFAULT_CONTEXT = 5
MAX_CONTEXT = 10


class SearchApi:
    """Client-server API, "Server Side Search"."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        path = "/_matrix/client/v3/search"
        return [Route("POST", path, self.search, body="search", limit="search")]

    async def search(self, call: Call) -> dict[str, Any]:
        """A page of results, of each category that is asked for."""
        categories = {}
        wanted = call.body["search_categories"].get("room_events")
        if wanted is not None:
            categories["room_events"] = await self._search.room_events(
                viewer(call), _wish(wanted), call.query.text("next_batch") or None
            )
        return {"search_categories": categories}


def _wish(wanted: Mapping[str, Any]) -> Wish:
    context = wanted.get("event_context")
    groups = wanted.get("groupings", {}).get("group_by", [])
    return Wish(
        search_term=wanted["search_term"],
        keys=[key.removeprefix("content.") for key in wanted.get("keys", KEYS)],
        wanted=RoomEventFilter.parse(wanted.get("filter", {})),
        recent=wanted.get("order_by") == "recent",
        surroundings=None if context is None else _surroundings(context),
        with_state=wanted.get("include_state", False),
        group_by=list(dict.fromkeys(group["key"] for group in groups if "key" in group)),
    )


def _surroundings(context: Mapping[str, Any]) -> Surroundings:
    return Surroundings(
        min(context.get("before_limit", DEFAULT_CONTEXT), MAX_CONTEXT),
        min(context.get("after_limit", DEFAULT_CONTEXT), MAX_CONTEXT),
        context.get("include_profile", False),
    )
