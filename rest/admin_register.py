"""Accounts made by tools that know the shared secret."""

from typing import Any

from homeserver.sessions import NewDevice
from homeserver.sign_up import SignUp
from rest.registration import registration_answer
from rest.routing import Access, Call, Route

_REGISTER = "/_synapse/admin/v1/register"


class AdminRegisterApi:
    """``/_synapse/admin/v1/register``, as existing tools speak it."""

    def __init__(self, sign_up: SignUp, server_name: str) -> None:
        self._sign_up = sign_up
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        public, limit, body = Access.PUBLIC, "registration", "admin.register"
        return [
            Route("GET", _REGISTER, self.nonce, public, limit=limit),
            Route("POST", _REGISTER, self.register, public, limit=limit, body=body),
        ]

    async def nonce(self, call: Call) -> dict[str, Any]:
        """What the MAC must cover."""
        return {"nonce": self._sign_up.nonce()}

    async def register(self, call: Call) -> dict[str, Any]:
        """Create the account and log in."""
        body = call.body
        user_id, login = await self._sign_up.register_with_secret(
            body["username"],
            body["password"],
            None if body.get("inhibit_login") is True else NewDevice(None, None, call.address),
            nonce=body["nonce"],
            is_admin=body.get("admin") is True,
            user_type=body.get("user_type"),
            mac=body["mac"],
        )
        return {**registration_answer(user_id, login), "home_server": self._server_name}
