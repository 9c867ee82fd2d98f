"""Application services, put together."""

from attrs import frozen

from homeserver.assembly.people import People
from homeserver.bridges.masquerade import Masquerade
from homeserver.bridges.registration import load_registrations
from homeserver.bridges.services import Services
from homeserver.config import Config
from storage.store import Store


@frozen
class Bridges:
    """Application services."""

    services: Services
    masquerade: Masquerade

    async def start(self) -> None:
        """What needs the reactor."""
        await self.masquerade.create_senders()


def read_services(config: Config) -> Services:
    """The services that the configuration names.

    Raises:
        ConfigError: a registration cannot be used.
    """
    return Services(load_registrations(config))


def assemble_bridges(store: Store, services: Services, people: People) -> Bridges:
    masquerade = Masquerade(store, services, people.accounts, people.last_seen, lambda _: None)
    return Bridges(services, masquerade)
