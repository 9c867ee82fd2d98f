"""The networks behind the services (client-server API, "Third-party Networks").

What a service says of its network is passed on if it has the form of the specification; a service
that does not answer, or nonsense, is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from federation_disabled.egress import EgressFailed, EgressRefused
from homeserver.bridges.outside import Outside
from homeserver.bridges.registration import Registration
from homeserver.bridges.services import Services, instance_id
from schema.errors import NotFound

SECONDS_TO_ANSWER = 5.0
_PROTOCOL = {"user_fields": list, "location_fields": list, "field_types": dict, "instances": list}
_INSTANCE = {"desc": str, "fields": dict, "network_id": str}
_USER = {"userid": str, "protocol": str, "fields": dict}
_LOCATION = {"alias": str, "protocol": str, "fields": dict}
_KINDS = {"user": _USER, "location": _LOCATION}


@frozen
class ThirdParty:
    """Asks the services that have a protocol."""

    services: Services
    outside: Outside

    async def protocols(self) -> dict[str, Any]:
        """Every protocol that a service describes."""
        found = {}
        for name in dict.fromkeys(name for each in self.services for name in each.protocols):
            described = await self._describe(name)
            if described is not None:
                found[name] = described
        return found

    async def protocol(self, name: str) -> dict[str, Any]:
        """One protocol.

        Raises:
            NotFound: no service describes it.
        """
        described = await self._describe(name)
        if described is None:
            raise NotFound(f"No bridge of this server connects {name}")
        return described

    async def search(self, kind: str, protocol: str, fields: Mapping[str, str]) -> list[Any]:
        """Users or locations (``kind``) of a protocol that have some fields.

        Raises:
            NotFound: there is none.
        """
        having = [each for each in self._reachable() if protocol in each.protocols]
        return await self._batch(having, kind, ("thirdparty", kind, protocol), fields)

    async def lookup_user(self, user_id: str) -> list[Any]:
        """Who a user of this server is on other networks.

        Raises:
            NotFound: on none.
        """
        having = [each for each in self._reachable() if each.covers_user(user_id)]
        return await self._batch(having, "user", ("thirdparty", "user"), {"userid": user_id})

    async def lookup_location(self, alias: str) -> list[Any]:
        """Where an alias of this server leads on other networks.

        Raises:
            NotFound: nowhere.
        """
        having = [each for each in self._reachable() if each.aliases.covers(alias)]
        return await self._batch(having, "location", ("thirdparty", "location"), {"alias": alias})

    def _reachable(self) -> list[Registration]:
        return [service for service in self.services if service.url is not None]

    async def _describe(self, name: str) -> dict[str, Any] | None:
        """The protocol, with the instances of every service that has it."""
        merged: dict[str, Any] | None = None
        for service in self._reachable():
            if name not in service.protocols:
                continue
            given = await self._get(service, ("thirdparty", "protocol", name))
            if not _fits(given, _PROTOCOL):
                continue
            instances = [
                # What names a network to ``publicRooms``; unique over all services.
                {**instance, "instance_id": instance_id(service.id, instance["network_id"])}
                for instance in given["instances"]
                if _fits(instance, _INSTANCE)
            ]
            if merged is None:
                icon = given.get("icon")
                merged = {key: given[key] for key in _PROTOCOL} | {"instances": []}
                merged["icon"] = icon if isinstance(icon, str) else ""
            merged["instances"] += instances
        return merged

    async def _batch(
        self,
        services: Sequence[Registration],
        kind: str,
        path: tuple[str, ...],
        query: Mapping[str, str],
    ) -> list[Any]:
        found: list[Any] = []
        for service in services:
            given = await self._get(service, path, query)
            if isinstance(given, list):
                found += [each for each in given if _fits(each, _KINDS[kind])]
        if not found:
            raise NotFound("No bridge of this server knows of that")
        return found

    async def _get(
        self, service: Registration, path: tuple[str, ...], query: Mapping[str, str] | None = None
    ) -> Any:
        try:
            answer = await self.outside.ask(
                service, "GET", *path, query=query, timeout=SECONDS_TO_ANSWER
            )
            return answer.json() if answer.status == 200 else None
        except (EgressFailed, EgressRefused):
            return None


def _fits(value: Any, shape: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), kind) for key, kind in shape.items()
    )
