"""E-mail addresses and phone numbers: this server keeps none and sends no messages to them."""

from typing import Any, NoReturn

from rest.routing import Access, Call, Route
from schema.errors import (
    ThreepidAuthFailed,
    ThreepidDenied,
    ThreepidMediumNotSupported,
)

_V3 = "/_matrix/client/v3"
_3PID = f"{_V3}/account/3pid"


class ThirdPartyIdsApi:
    """Client-server API, "Adding Account Administrative Contact Information": there is none."""

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        public, limit = Access.PUBLIC, "registration"
        denied = [
            Route("POST", f"{_V3}/{what}/{medium}/requestToken", self.deny, public, limit=limit)
            for what in ("register", "account/password")
            for medium in ("email", "msisdn")
        ]
        unsupported = [
            Route("POST", f"{_3PID}/{medium}/requestToken", self.refuse_medium, public, limit=limit)
            for medium in ("email", "msisdn")
        ]
        return [
            *denied,
            *unsupported,
            Route("GET", _3PID, self.read_all),
            Route("POST", _3PID, self.refuse_proof),
            Route("POST", f"{_3PID}/add", self.refuse_proof),
            Route("POST", f"{_3PID}/bind", self.refuse_proof),
            Route("POST", f"{_3PID}/delete", self.remove),
            Route("POST", f"{_3PID}/unbind", self.remove),
        ]

    async def read_all(self, call: Call) -> dict[str, Any]:
        """None."""
        return {"threepids": []}

    async def remove(self, call: Call) -> dict[str, Any]:
        """Nothing is left to remove, here or at an identity server."""
        return {"id_server_unbind_result": "success"}

    async def deny(self, call: Call) -> NoReturn:
        """Nobody signs up or gets a new password by e-mail or phone."""
        raise ThreepidDenied(
            "This server sends no e-mail and no text messages; ask its organizer for help"
        )

    async def refuse_medium(self, call: Call) -> NoReturn:
        """No medium is supported."""
        raise ThreepidMediumNotSupported(
            "This server keeps no e-mail addresses and no phone numbers"
        )

    async def refuse_proof(self, call: Call) -> NoReturn:
        """No address was ever validated here."""
        raise ThreepidAuthFailed("This e-mail address or phone number has not been validated here")
