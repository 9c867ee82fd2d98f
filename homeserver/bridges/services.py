"""The application services of this server: who they are, and whose a name is."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from hmac import compare_digest

from homeserver.bridges.registration import Registration
from schema.errors import Exclusive


class Services:
    """Every registration that the configuration names. They change with a restart only."""

    def __init__(self, registrations: Sequence[Registration]) -> None:
        self._by_id = {service.id: service for service in registrations}
        self._digests = [(_digest(service.as_token), service) for service in registrations]

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, token: str) -> Registration | None:
        """Whose ``as_token`` this is. Takes as long for one that is nearly right."""
        if not self._digests:
            return None
        given = _digest(token)
        found = None
        for digest, service in self._digests:
            if compare_digest(digest, given):
                found = service
        return found

    def network(self, instance: str) -> tuple[str, str] | None:
        """Service and network that an ``instance_id`` stands for."""
        for service in self:
            prefix = instance_id(service.id, "")
            if instance.startswith(prefix):
                return service.id, instance.removeprefix(prefix)
        return None

    def check_user(self, user_id: str, service: Registration | None) -> None:
        """Refuse a user id to a service, or to a person (None).

        Raises:
            Exclusive: the id belongs to somebody else, or lies outside the service's namespaces.
        """
        if service is not None and not service.covers_user(user_id):
            raise Exclusive("This user name is outside the namespaces of the application service")
        if any(other is not service and other.reserves_user(user_id) for other in self):
            raise Exclusive("This user name belongs to a bridge of this server; choose another")

    def check_alias(self, alias: str, service_id: str | None) -> None:
        """Refuse that a service, or a person (None), makes or removes an alias.

        Raises:
            Exclusive: the alias belongs to somebody else, or lies outside the service's namespaces.
        """
        if service_id is not None and not self._by_id[service_id].aliases.covers(alias):
            raise Exclusive("This alias is outside the namespaces of the application service")
        if any(other.id != service_id and other.aliases.reserves(alias) for other in self):
            raise Exclusive("This alias belongs to a bridge of this server; choose another")


def instance_id(service_id: str, network_id: str) -> str:
    """What a network is known by to clients; unique over all services."""
    return f"{service_id}|{network_id}"


def _digest(token: str) -> bytes:
    """Of one length for all, so that a comparison says nothing about a token."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
