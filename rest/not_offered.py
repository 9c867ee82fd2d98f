"""What this server does not offer, answered in the words that clients understand."""

from collections.abc import Awaitable, Callable
from typing import Any

from rest.routing import Access, Call, Route
from schema.errors import MatrixError, NotFound, Unrecognized

_V3 = "/_matrix/client/v3"
_Handler = Callable[[Call], Awaitable[dict[str, Any]]]


class NotOfferedApi:
    """Single sign-on, policy servers."""

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        single_sign_on = _refusal(
            Unrecognized, "This server has no single sign-on: log in with your password"
        )
        policy = _refusal(NotFound, "This server is no policy server")
        sso = f"{_V3}/login/sso/redirect"
        return [
            Route("GET", sso, single_sign_on, Access.PUBLIC),
            Route("GET", sso + "/{idp_id}", single_sign_on, Access.PUBLIC),
            Route("GET", "/.well-known/matrix/policy_server", policy, Access.PUBLIC),
        ]


def _refusal(kind: type[MatrixError], sentence: str) -> _Handler:
    async def refuse(call: Call) -> dict[str, Any]:
        raise kind(sentence)

    return refuse
