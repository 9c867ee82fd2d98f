"""Names that only a service knows (Application Service API, "Querying").

Whoever asks for a user or an alias that is not here, but in a service's namespace, makes this
server ask the service, which may create it before it answers.
"""

from typing import Any

from attrs import field, frozen
from twisted.internet.task import deferLater

from federation_disabled.egress import EgressFailed, EgressRefused
from homeserver.bridges.outside import Outside
from homeserver.bridges.registration import Registration
from homeserver.bridges.services import Services
from homeserver.shared import Shared
from schema.errors import Timeout
from storage import rooms
from storage.accounts import find_account
from storage.store import Store

SECONDS_TO_ANSWER = 10.0
ATTEMPTS = 3
SECONDS_BETWEEN = 0.25


@frozen
class Queries:
    """Gives services the chance to create what somebody asks for."""

    reactor: Any
    store: Store
    services: Services
    outside: Outside
    _asking: Shared[None] = field(factory=Shared, init=False)

    async def user(self, user_id: str) -> None:
        """Somebody asks for this user: have it created if a service wants to.

        Raises:
            Timeout: the service whose namespace it is did not answer.
        """
        services = [each for each in self._reachable() if each.users.covers(user_id)]
        if services and not await self.store.read(
            lambda txn: find_account(txn, user_id) is not None
        ):
            await self._together(services, "users", user_id)

    async def alias(self, alias: str) -> None:
        """Somebody asks for this alias: the same.

        Raises:
            Timeout: the service whose namespace it is did not answer.
        """
        services = [each for each in self._reachable() if each.aliases.covers(alias)]
        if services and await self.store.read(lambda txn: rooms.find_alias(txn, alias)) is None:
            await self._together(services, "rooms", alias)

    def _reachable(self) -> list[Registration]:
        return [service for service in self.services if service.url is not None]

    async def _together(self, services: list[Registration], kind: str, name: str) -> None:
        """Ask once, however many people want to know at the same time."""
        await self._asking.get(f"{kind}/{name}", lambda: self._ask_each(services, kind, name))

    async def _ask_each(self, services: list[Registration], kind: str, name: str) -> None:
        for service in services:
            if await self._ask(service, kind, name):
                return

    async def _ask(self, service: Registration, kind: str, name: str) -> bool:
        """Whether the service says that it has created it."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await deferLater(self.reactor, SECONDS_BETWEEN)
            try:
                answer = await self.outside.ask(
                    service, "GET", kind, name, timeout=SECONDS_TO_ANSWER / ATTEMPTS
                )
            except (EgressFailed, EgressRefused):
                continue
            if answer.status < 500:
                return answer.status == 200
        raise Timeout(f"The bridge that knows {name} does not answer; try again later")
