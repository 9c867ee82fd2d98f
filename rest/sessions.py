"""Logging in, refreshing and logging out."""

from typing import Any

from homeserver.accounts import Accounts
from homeserver.bridges.masquerade import Masquerade
from homeserver.devices import Devices
from homeserver.login_tokens import LoginTokens
from homeserver.sessions import Login, NewDevice, Sessions, Tokens
from homeserver.uia import Uia, request_key
from rest.access import service_of
from rest.routing import Access, Call, Route
from schema.errors import BadRequest, MissingParam

_V3 = "/_matrix/client/v3"
APPLICATION_SERVICE = "m.login.application_service"


class SessionsApi:
    """Client-server API, "Login" and "Refreshing access tokens"."""

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        devices: Devices,
        login_tokens: LoginTokens,
        uia: Uia,
        masquerade: Masquerade,
        *,
        has_services: bool,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._devices = devices
        self._login_tokens = login_tokens
        self._uia = uia
        self._masquerade = masquerade
        self._has_services = has_services

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        login, refresh = f"{_V3}/login", f"{_V3}/refresh"
        return [
            Route("GET", login, self.flows, Access.PUBLIC),
            Route("POST", login, self.log_in, Access.OR_SERVICE, body="login", limit="login"),
            Route(
                "POST",
                "/_matrix/client/v1/login/get_token",
                self.get_token,
                body="login.get_token",
                limit="login",
            ),
            Route("POST", refresh, self.refresh, Access.PUBLIC, body="refresh", limit="login"),
            Route("POST", f"{_V3}/logout", self.log_out, Access.EVEN_LOCKED),
            Route("POST", f"{_V3}/logout/all", self.log_out_everywhere, Access.EVEN_LOCKED),
        ]

    async def flows(self, call: Call) -> dict[str, Any]:
        """The ways to log in."""
        token = {"type": "m.login.token", "get_login_token": True}
        services = [{"type": APPLICATION_SERVICE}] if self._has_services else []
        return {"flows": [{"type": "m.login.password"}, token, *services]}

    async def log_in(self, call: Call) -> dict[str, Any]:
        """Name and password, or a login token, for a session."""
        user_id = await self._prove(call)
        return login_answer(await self._sessions.log_in(user_id, new_device(call)))

    async def _prove(self, call: Call) -> str:
        """The user id of whoever the body proves to be."""
        body = call.body
        if body["type"] == APPLICATION_SERVICE:
            service, name = service_of(call), await self._accounts.name_in(body)
            if name is None:
                raise MissingParam("To log in as a user, give `identifier`")
            return await self._masquerade.user_to_log_in(service, name)
        if body["type"] == "m.login.token":
            if not body.get("token"):
                raise MissingParam("To log in with a token, give `token`")
            return await self._login_tokens.redeem(body["token"])
        if body["type"] != "m.login.password":
            raise BadRequest("The ways to log in here are `m.login.password` and `m.login.token`")
        if body.get("password") is None:
            raise MissingParam("To log in, give `identifier` and `password`")
        return await self._accounts.authenticate(body, body["password"])

    async def get_token(self, call: Call) -> dict[str, Any]:
        """A token that logs another device in, for who gives the password once more."""
        key = request_key(f"{call.method} {call.uri}", call.body)
        await self._uia.require(call.requester, key, call.body.get("auth"))
        token, lifetime = await self._login_tokens.issue(call.requester)
        return {"login_token": token, "expires_in_ms": lifetime}

    async def refresh(self, call: Call) -> dict[str, Any]:
        """A refresh token for the next tokens."""
        return _tokens_answer(await self._sessions.refresh(call.body["refresh_token"]))

    async def log_out(self, call: Call) -> dict[str, Any]:
        """End this session; its device goes with it."""
        await self._devices.delete(call.requester.user_id, [call.requester.device_id])
        return {}

    async def log_out_everywhere(self, call: Call) -> dict[str, Any]:
        """End all sessions of the requester."""
        await self._devices.delete_all(call.requester.user_id)
        return {}


def new_device(call: Call) -> NewDevice:
    """What the body of a login or a registration says about the device."""
    return NewDevice(
        device_id=call.body.get("device_id") or None,
        display_name=call.body.get("initial_device_display_name"),
        address=call.address,
        refreshes=call.body.get("refresh_token") is True,
    )


def login_answer(login: Login) -> dict[str, Any]:
    """The answer to a login or a registration."""
    tokens = _tokens_answer(login.tokens)
    return {"user_id": login.user_id, "device_id": login.device_id, **tokens}


def _tokens_answer(tokens: Tokens) -> dict[str, Any]:
    answer: dict[str, Any] = {"access_token": tokens.access_token}
    if tokens.refresh_token is not None:
        answer["refresh_token"] = tokens.refresh_token
        answer["expires_in_ms"] = tokens.expires_in_ms
    return answer
