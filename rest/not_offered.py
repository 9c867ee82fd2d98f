"""What this server does not offer, answered in the words that clients understand."""

from collections.abc import Awaitable, Callable
from typing import Any

from rest.routing import Access, Call, Route
from schema.errors import Forbidden, MatrixError, NotFound, Unrecognized

_V3 = "/_matrix/client/v3"
_Handler = Callable[[Call], Awaitable[dict[str, Any]]]


class NotOfferedApi:
    """Single sign-on, calls through a relay, third-party networks, policy servers."""

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        single_sign_on = _refusal(
            Unrecognized, "This server has no single sign-on: log in with your password"
        )
        no_network = _refusal(NotFound, "This server is connected to no other network")
        for_services = _refusal(Forbidden, "This is for application services only")
        calls = _refusal(NotFound, "This server has no TURN server: calls go without a relay")
        policy = _refusal(NotFound, "This server is no policy server")
        sso, networks = f"{_V3}/login/sso/redirect", f"{_V3}/thirdparty"
        return [
            Route("GET", sso, single_sign_on, Access.PUBLIC),
            Route("GET", sso + "/{idp_id}", single_sign_on, Access.PUBLIC),
            Route("GET", f"{_V3}/voip/turnServer", calls),
            Route("GET", "/.well-known/matrix/policy_server", policy, Access.PUBLIC),
            Route("GET", f"{networks}/protocols", self.no_protocols),
            Route("GET", networks + "/protocol/{protocol}", no_network),
            Route("GET", f"{networks}/location", no_network),
            Route("GET", networks + "/location/{protocol}", no_network),
            Route("GET", f"{networks}/user", no_network),
            Route("GET", networks + "/user/{protocol}", no_network),
            Route("POST", "/_matrix/client/v1/appservice/{service_id}/ping", for_services),
            Route(
                "PUT", f"{_V3}/directory/list/appservice/{{network_id}}/{{room_id}}", for_services
            ),
        ]

    async def no_protocols(self, call: Call) -> dict[str, Any]:
        """The networks that bridges connect: none."""
        return {}


def _refusal(kind: type[MatrixError], sentence: str) -> _Handler:
    async def refuse(call: Call) -> dict[str, Any]:
        raise kind(sentence)

    return refuse
