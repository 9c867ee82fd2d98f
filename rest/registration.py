"""Signing up."""

from typing import Any

from homeserver.limits import Limits
from homeserver.sessions import Login
from homeserver.sign_up import SignUp
from rest.access import service_of
from rest.routing import Access, Call, Route
from rest.sessions import APPLICATION_SERVICE, login_answer, new_device

_V3 = "/_matrix/client/v3"
_V1 = "/_matrix/client/v1"


class RegistrationApi:
    """Client-server API, "Account registration", "Token-authenticated registration" and "Guest
    Access"."""

    def __init__(self, sign_up: SignUp, limits: Limits) -> None:
        self._sign_up = sign_up
        self._limits = limits

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        register, available = f"{_V3}/register", f"{_V3}/register/available"
        validity = f"{_V1}/register/m.login.registration_token/validity"
        limit = "registration"
        return [
            Route("POST", register, self.register, Access.OR_SERVICE, body="register", limit=limit),
            Route("GET", available, self.available, Access.PUBLIC, limit=limit),
            Route("GET", validity, self.validity, Access.PUBLIC, limit=limit),
        ]

    async def register(self, call: Call) -> dict[str, Any]:
        """Create an account and, unless told not to, log in."""
        if call.query.choice("kind", ("user", "guest"), "user") == "guest":
            return await self._register_guest(call)
        body = call.body
        device = None if body.get("inhibit_login") else new_device(call)
        username = body.get("username")
        if body.get("type") == APPLICATION_SERVICE:
            service = service_of(call)
            user_id, login = await self._sign_up.register_bridged(service, username, device)
        else:
            token = body.get("guest_access_token")
            guest = None
            if token is not None:
                guest = await self._sign_up.guest(token, username, call.address)
            user_id, login = await self._sign_up.register(
                username, body.get("password"), body.get("auth"), device, guest=guest
            )
        return registration_answer(user_id, login)

    async def _register_guest(self, call: Call) -> dict[str, Any]:
        self._sign_up.check_guests_welcome()
        self._limits.spend("guests", call.address)
        name = call.body.get("initial_device_display_name")
        return login_answer(await self._sign_up.register_guest(name, call.address))

    async def available(self, call: Call) -> dict[str, Any]:
        """Whether somebody could get a name."""
        await self._sign_up.check_available(call.query.needed("username"))
        return {"available": True}

    async def validity(self, call: Call) -> dict[str, Any]:
        """Whether a registration token is good."""
        return {"valid": await self._sign_up.is_token_valid(call.query.needed("token"))}


def registration_answer(user_id: str, login: Login | None) -> dict[str, Any]:
    """The answer to whoever has a new account, logged in or not."""
    return {"user_id": user_id} if login is None else login_answer(login)
