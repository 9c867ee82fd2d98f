"""E-mail addresses of accounts. There are no phone numbers, and identity servers are not used."""

from typing import Any, NoReturn

from homeserver.email_proofs import EmailProofs
from homeserver.email_validations import EmailValidations
from homeserver.mail.letters import Purpose
from homeserver.sign_up import SignUp
from homeserver.third_party_ids import ThirdPartyIds
from homeserver.uia import Uia, request_key
from rest.routing import Access, Call, Route
from schema.errors import (
    ServerNotTrusted,
    ThreepidAuthFailed,
    ThreepidDenied,
    ThreepidMediumNotSupported,
)

_V3 = "/_matrix/client/v3"
_3PID = f"{_V3}/account/3pid"
_REGISTER, _PASSWORD = f"{_V3}/register", f"{_V3}/account/password"


class ThirdPartyIdsApi:
    """Client-server API, "Adding Account Administrative Contact Information"."""

    def __init__(
        self,
        third_party_ids: ThirdPartyIds,
        validations: EmailValidations | None,
        proofs: EmailProofs | None,
        sign_up: SignUp,
        uia: Uia,
    ) -> None:
        """``validations`` and ``proofs`` are None where the server sends no e-mail."""
        self._third_party_ids = third_party_ids
        self._validations = validations
        self._proofs = proofs
        self._sign_up = sign_up
        self._uia = uia

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        public, ask, limit = Access.PUBLIC, "email.requestToken", "email"
        to_register, for_password = f"{_REGISTER}/email", f"{_PASSWORD}/email"
        return [
            Route("POST", f"{to_register}/requestToken", self.register, public, ask, limit),
            Route("POST", f"{for_password}/requestToken", self.password, public, ask, limit),
            Route("POST", f"{_3PID}/email/requestToken", self.ask_to_add, public, ask, limit),
            Route("POST", f"{_REGISTER}/msisdn/requestToken", self.no_phone, public),
            Route("POST", f"{_PASSWORD}/msisdn/requestToken", self.no_phone, public),
            Route("POST", f"{_3PID}/msisdn/requestToken", self.no_phone_to_add, public),
            Route("GET", _3PID, self.read_all),
            Route("POST", _3PID, self.not_by_identity_server),
            Route("POST", f"{_3PID}/add", self.add, body="account.3pid.add"),
            Route("POST", f"{_3PID}/bind", self.no_identity_server),
            Route("POST", f"{_3PID}/delete", self.remove, body="account.3pid.delete"),
            Route("POST", f"{_3PID}/unbind", self.unbind, body="account.3pid.delete"),
        ]

    async def register(self, call: Call) -> dict[str, Any]:
        """A letter to prove an address with, for signing up."""
        self._sign_up.check_address_helps()
        return await self._request(Purpose.REGISTER, call)

    async def password(self, call: Call) -> dict[str, Any]:
        """A letter to prove an address with, for a new password."""
        return await self._request(Purpose.PASSWORD, call)

    async def ask_to_add(self, call: Call) -> dict[str, Any]:
        """A letter to prove an address with, for adding it to an account."""
        if self._validations is None:
            raise ThreepidMediumNotSupported("This server keeps no e-mail addresses")
        return await self._request(Purpose.ADD, call)

    async def read_all(self, call: Call) -> dict[str, Any]:
        """The requester's addresses."""
        found = await self._third_party_ids.all(call.requester.user_id)
        return {
            "threepids": [
                {
                    "medium": "email",
                    "address": each.address,
                    "validated_at": each.validated_at,
                    "added_at": each.added_at,
                }
                for each in found
            ]
        }

    async def add(self, call: Call) -> dict[str, Any]:
        """Add an address that has been proved, for who gives their password once more."""
        if self._proofs is None:
            raise ThreepidAuthFailed("This server keeps no e-mail addresses")
        sid = call.body["sid"]
        await self._proofs.check(sid, call.body["client_secret"])
        key = request_key(f"{call.method} {call.uri}", call.body)
        await self._uia.require(call.requester, key, call.body.get("auth"))
        await self._proofs.add(call.requester.user_id, sid)
        return {}

    async def remove(self, call: Call) -> dict[str, Any]:
        """Remove an address. No identity server knew of it."""
        if call.body["medium"] == "email":
            await self._third_party_ids.remove(call.requester.user_id, call.body["address"])
        return {"id_server_unbind_result": "no-support"}

    async def unbind(self, call: Call) -> dict[str, Any]:
        """No identity server knows of it."""
        return {"id_server_unbind_result": "no-support"}

    async def no_phone(self, call: Call) -> NoReturn:
        """Nobody signs up or gets a new password by phone."""
        raise ThreepidDenied("This server sends no text messages")

    async def no_phone_to_add(self, call: Call) -> NoReturn:
        """Phone numbers are not kept."""
        raise ThreepidMediumNotSupported("This server keeps no phone numbers")

    async def no_identity_server(self, call: Call) -> NoReturn:
        """Nothing is bound at an identity server."""
        raise ServerNotTrusted("This server works with no identity server; add the address here")

    async def not_by_identity_server(self, call: Call) -> NoReturn:
        """The deprecated way to bind. It must not add: it does not ask for the password."""
        raise ThreepidAuthFailed(
            "This server works with no identity server; add the address by /account/3pid/add"
        )

    async def _request(self, purpose: Purpose, call: Call) -> dict[str, Any]:
        if self._validations is None:
            raise ThreepidDenied("This server sends no e-mail; ask its organizer for help")
        body = call.body
        sid = await self._validations.request(
            purpose,
            body["email"],
            body["client_secret"],
            body["send_attempt"],
            body.get("next_link"),
        )
        return {"sid": sid}
