"""The one place where credentials become a requester."""

from typing import Any

from homeserver.bridges.masquerade import Masquerade
from homeserver.bridges.registration import Registration
from homeserver.requester import Requester
from homeserver.sessions import Sessions
from rest.routing import Call
from schema.errors import MissingToken, UnknownDevice, UnknownToken


class Access:
    """Reads the access token of a request; says whose it is, or which application service's."""

    def __init__(self, sessions: Sessions, masquerade: Masquerade) -> None:
        self._sessions = sessions
        self._masquerade = masquerade

    async def requester(self, call: Call, *, even_locked: bool = False) -> Requester:
        """Who asks (client-server API, "Using access tokens"; Application Service API, "Identity
        assertion").

        Raises:
            MissingToken: there is no token.
            UnknownToken: nobody's, or not any more.
            Forbidden, UnknownDevice: a service names a user or device that is none of its.
        """
        token = _token(call)
        if token is None:
            raise MissingToken("This request needs an access token")
        service = self._masquerade.service(token)
        if service is None:
            return await self._sessions.requester(token, call.address, even_locked=even_locked)
        query = call.query
        # COMPAT(mautrix-python 0.21): the name before version 1.17 of the specification.
        device_id = query.text("device_id") or query.text("org.matrix.msc3202.device_id")
        return await self._masquerade.requester(
            service, query.text("user_id"), device_id, call.address, even_locked=even_locked
        )

    def service(self, call: Call) -> Registration | None:
        """The application service that asks; None for everybody else, whatever they send."""
        try:
            token = _token(call)
        except MissingToken:
            return None
        return None if token is None else self._masquerade.service(token)


def service_of(call: Call) -> Any:
    """The application service that asks, where nobody else may.

    Raises:
        MissingToken, UnknownToken: it is none.
    """
    if call.service is not None:
        return call.service
    if _token(call) is None:
        raise MissingToken("This needs the `as_token` of an application service")
    raise UnknownToken("This is not the `as_token` of an application service")


def device_of(call: Call) -> str:
    """The device that asks, where one is needed.

    Raises:
        UnknownDevice: an application service has not named one.
    """
    device_id: str = call.requester.device_id
    if not device_id:
        raise UnknownDevice("This needs a device: name one with `?device_id=`")
    return device_id


def _token(call: Call) -> str | None:
    header = call.headers("authorization")
    if header is None:
        return call.query.text("access_token") or None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken("The Authorization header must be `Bearer` and an access token")
    return token.strip()
