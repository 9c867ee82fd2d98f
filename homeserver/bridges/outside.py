"""HTTP to the services (Application Service API, "Homeserver -> Application Service API")."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from attrs import frozen

from federation_disabled.egress import Answer, Egress
from homeserver.bridges.registration import Registration

LONGEST_ANSWER = 1024 * 1024
NOT_THERE = (404, 405, 501)
_V1 = "/_matrix/app/v1"


@frozen
class Outside:
    """Asks services, with the token by which they recognise this server.

    Requests go to the addresses of the configuration and nowhere else: what people name is only
    ever one segment of the path, or in the query.
    """

    egress: Egress

    async def ask(
        self,
        service: Registration,
        method: str,
        *path: str,
        timeout: float,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Answer:
        """One request, to the older endpoint too if the newer one is not there ("Legacy routes").

        Raises:
            EgressFailed, EgressRefused: the service could not be asked.
        """
        newer, *older = _paths(path)
        answer = await self._ask(service, method, newer, timeout, query, body)
        if answer.status in NOT_THERE and older:
            second = await self._ask(service, method, older[0], timeout, query, body)
            if second.status == 200:
                return second
        return answer

    async def _ask(
        self,
        service: Registration,
        method: str,
        path: str,
        timeout: float,
        query: Mapping[str, str] | None,
        body: Any,
    ) -> Answer:
        assert service.url is not None
        return await self.egress.request(
            method,
            service.url + path + (f"?{urlencode(query)}" if query else ""),
            headers={"Authorization": f"Bearer {service.hs_token}"},
            body=body,
            limit=LONGEST_ANSWER,
            timeout=timeout,
        )


def _paths(parts: tuple[str, ...]) -> list[str]:
    """The path of an endpoint, and what it was called before it had a version."""
    path = "".join("/" + quote(part, safe="") for part in parts)
    if parts[0] in ("transactions", "users", "rooms"):
        return [_V1 + path, path]
    if parts[0] == "thirdparty":
        return [_V1 + path, f"/_matrix/app/unstable{path}"]
    return [_V1 + path]
