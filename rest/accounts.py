"""The requester's own account, and what may be known about others."""

from typing import Any

from homeserver.accounts import Accounts
from homeserver.devices import Devices
from homeserver.email_proofs import EmailProofs
from homeserver.passwords import check_new_password
from homeserver.uia import Uia, request_key
from rest.routing import Access, Call, Route
from schema.errors import Forbidden, MissingToken

_ACCOUNT = "/_matrix/client/v3/account"
_WHOIS = "/_matrix/client/v3/admin/whois/{user_id}"
_IS_ADMIN = "/_synapse/admin/v1/users/{user_id}/admin"


class AccountsApi:
    """Client-server API, "Account management" and "Server administration"."""

    def __init__(
        self,
        accounts: Accounts,
        devices: Devices,
        uia: Uia,
        email_proofs: EmailProofs | None,
    ) -> None:
        self._accounts = accounts
        self._devices = devices
        self._uia = uia
        self._email_proofs = email_proofs

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        password, deactivate = f"{_ACCOUNT}/password", f"{_ACCOUNT}/deactivate"
        return [
            Route("GET", f"{_ACCOUNT}/whoami", self.who_am_i, Access.GUEST),
            Route("POST", password, self.change_password, Access.OPTIONAL, body="account.password"),
            Route("POST", deactivate, self.deactivate, body="account.deactivate"),
            Route("GET", _WHOIS, self.who_is),
            Route("GET", _IS_ADMIN, self.is_admin),
        ]

    async def who_am_i(self, call: Call) -> dict[str, Any]:
        """Whose the access token is."""
        requester = call.requester
        answer = {"user_id": requester.user_id, "is_guest": requester.is_guest}
        if requester.device_id:
            answer["device_id"] = requester.device_id
        return answer

    async def change_password(self, call: Call) -> dict[str, Any]:
        """A new password, for the old one or for who proves their e-mail address.

        A weak one is refused before anything is asked for.
        """
        new_password = call.body["new_password"]
        keep_all = call.body.get("logout_devices") is False
        if call.requester is not None and call.requester.application_service is not None:
            raise Forbidden("The users of an application service have no passwords")
        check_new_password(new_password)
        if call.requester is None:
            await self._reset_password(call, new_password, keep_all)
            return {}
        await self._authenticate(call)
        await self._accounts.change_password(
            call.requester.user_id,
            new_password,
            keep_device=call.requester.device_id,
            keep_all=keep_all,
        )
        return {}

    async def _reset_password(self, call: Call, new_password: str, keep_all: bool) -> None:
        if self._email_proofs is None:
            raise MissingToken("This request needs an access token: nobody has an e-mail address")
        key = request_key(f"{call.method} {call.uri}", call.body)
        await self._email_proofs.reset_password(
            new_password, key, call.body.get("auth"), keep_all=keep_all
        )

    async def deactivate(self, call: Call) -> dict[str, Any]:
        """Close the requester's account."""
        if call.requester.application_service is not None and call.requester.is_person:
            raise Forbidden("An application service can only close accounts that are its alone")
        await self._authenticate(call)
        await self._accounts.deactivate(
            call.requester.user_id, erase=call.body.get("erase") is True
        )
        return {"id_server_unbind_result": "success"}

    async def who_is(self, call: Call) -> dict[str, Any]:
        """Where somebody is logged in: for themselves and for administrators."""
        user_id = self._self_or_anybody(call)
        await self._accounts.get(user_id)
        devices = await self._devices.all(user_id)
        return {
            "user_id": user_id,
            "devices": {
                device.device_id: {
                    "sessions": [
                        {
                            "connections": [
                                {"ip": device.last_seen_address, "last_seen": device.last_seen_at}
                            ]
                        }
                    ]
                }
                for device in devices
            },
        }

    async def is_admin(self, call: Call) -> dict[str, Any]:
        """Whether somebody is an administrator. Element asks before it offers to administer."""
        account = await self._accounts.get(self._self_or_anybody(call))
        return {"admin": account.is_admin}

    async def _authenticate(self, call: Call) -> None:
        key = request_key(f"{call.method} {call.uri}", call.body)
        await self._uia.require(call.requester, key, call.body.get("auth"))

    def _self_or_anybody(self, call: Call) -> str:
        user_id = call.path["user_id"]
        if user_id != call.requester.user_id and not call.requester.is_admin:
            raise Forbidden("Only an administrator may ask this about somebody else")
        return user_id
