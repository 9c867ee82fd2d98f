"""The one place where credentials become a requester."""

from homeserver.requester import Requester
from homeserver.sessions import Sessions
from rest.routing import Call
from schema.errors import MissingToken


class Access:
    """Reads the access token of a request and asks the sessions whose it is."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def requester(self, call: Call, *, even_locked: bool = False) -> Requester:
        """Who asks (client-server API, "Using access tokens").

        Raises:
            MissingToken: there is no token.
            UnknownToken: nobody's, or not any more.
        """
        header = call.headers("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise MissingToken("The Authorization header must be `Bearer` and an access token")
            token = token.strip()
        else:
            token = call.query.text("access_token") or ""
            if not token:
                raise MissingToken("This request needs an access token")
        return await self._sessions.requester(token, call.address, even_locked=even_locked)
