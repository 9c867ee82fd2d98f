"""OpenID tokens, and the two federation routes that clients of a lone server need."""

from typing import Any

from homeserver.openid import OpenId
from rest.routing import Access, Call, Route
from schema.errors import Forbidden

_FEDERATION = "/_matrix/federation/v1"


class OpenIdApi:
    """Client-server API, "OpenID"; server-server API, "OpenID" and "Server implementation"."""

    def __init__(self, openid: OpenId, server_name: str, version: str) -> None:
        self._openid = openid
        self._server_name = server_name
        self._version = version

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [
            Route(
                "POST",
                "/_matrix/client/v3/user/{user_id}/openid/request_token",
                self.request_token,
            ),
            Route("GET", f"{_FEDERATION}/openid/userinfo", self.userinfo, Access.PUBLIC),
            Route("GET", f"{_FEDERATION}/version", self.version, Access.PUBLIC),
        ]

    async def request_token(self, call: Call) -> dict[str, Any]:
        """A token for somebody to prove who they are."""
        if call.path["user_id"] != call.requester.user_id:
            raise Forbidden("You can only prove your own identity")
        token, seconds = self._openid.issue(call.requester.user_id)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "matrix_server_name": self._server_name,
            "expires_in": seconds,
        }

    async def userinfo(self, call: Call) -> dict[str, Any]:
        """Who a token belongs to."""
        return {"sub": self._openid.owner(call.query.needed("access_token"))}

    async def version(self, call: Call) -> dict[str, Any]:
        """What this server is."""
        return {"server": {"name": "Hearth", "version": self._version}}
