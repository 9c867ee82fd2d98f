"""Whether this server reaches a service (Application Service API, "Pinging")."""

from typing import Any

from attrs import frozen

from federation_disabled.egress import EgressFailed, EgressRefused, EgressTimedOut
from homeserver.bridges.outside import Outside
from homeserver.bridges.services import Services
from homeserver.clock import Clock
from homeserver.requester import Requester
from schema.errors import BadStatus, ConnectionFailed, ConnectionTimeout, Forbidden, UrlNotSet

SECONDS_TO_ANSWER = 20.0
LONGEST_BODY = 2000
"""So many characters of a wrong answer are shown to who has to find the mistake."""


@frozen
class Ping:
    """Calls a service back that has asked for it."""

    services: Services
    outside: Outside
    clock: Clock

    async def ping(self, requester: Requester, service_id: str, transaction_id: Any) -> int:
        """How many milliseconds the service takes to answer.

        Raises:
            Forbidden: somebody else than the service asks.
            UrlNotSet: it has no address.
            ConnectionFailed, ConnectionTimeout, BadStatus: it did not answer as it should.
        """
        service = next((each for each in self.services if each.id == service_id), None)
        if service is None or requester.application_service != service_id:
            raise Forbidden("Only an application service can ask for a ping, and only of itself")
        if service.url is None:
            raise UrlNotSet("The registration of this application service has no url")
        body = {} if transaction_id is None else {"transaction_id": transaction_id}
        began = self.clock()
        try:
            answer = await self.outside.ask(
                service, "POST", "ping", body=body, timeout=SECONDS_TO_ANSWER
            )
        except EgressTimedOut as error:
            raise ConnectionTimeout(f"The application service does not answer: {error}") from error
        except (EgressFailed, EgressRefused) as error:
            raise ConnectionFailed(f"The application service is not reached: {error}") from error
        if answer.status != 200:
            text = answer.body.decode("utf-8", "replace")[:LONGEST_BODY]
            raise BadStatus(
                f"The application service answered {answer.status}",
                status=answer.status,
                body=text,
            )
        return max(0, self.clock() - began)
