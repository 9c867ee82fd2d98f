"""Previews of links over HTTP (client-server API, "Content repository")."""

from typing import Any

from homeserver.previews.previews import Previews
from rest.routing import Call, Route
from schema.errors import Unrecognized


class PreviewsApi:
    """Previews, where the configuration has switched them on."""

    def __init__(self, previews: Previews | None) -> None:
        self._previews = previews

    def routes(self) -> list[Route]:
        """The routes of this feature, the deprecated one among them."""
        return [
            Route("GET", "/_matrix/client/v1/media/preview_url", self.preview, limit="previews"),
            Route("GET", "/_matrix/media/v3/preview_url", self.preview, limit="previews"),
        ]

    async def preview(self, call: Call) -> dict[str, Any]:
        """What a page says about itself. ``ts`` is a preference: there is only the present."""
        if self._previews is None:
            raise Unrecognized("This server makes no previews of links")
        call.query.integer("ts", 0)
        return await self._previews.get(call.query.needed("url"))
