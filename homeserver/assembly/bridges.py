"""Application services, put together."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from federation_disabled.egress import Egress
from homeserver.assembly.database import Storage
from homeserver.assembly.people import People
from homeserver.assembly.rooms import Rooms
from homeserver.assembly.syncing import Syncing
from homeserver.bridges.devices import (
    DeviceListsPart,
    EncryptionHooks,
    KeyCountsPart,
    ToDevicePart,
)
from homeserver.bridges.ephemeral import MomentsPart, ReceiptsPart
from homeserver.bridges.interest import EventsPart, Interest
from homeserver.bridges.masquerade import Masquerade
from homeserver.bridges.outside import Outside
from homeserver.bridges.parts import Part
from homeserver.bridges.ping import Ping
from homeserver.bridges.pusher import Exits, Pusher
from homeserver.bridges.queries import Queries
from homeserver.bridges.registration import Registration, host_of, load_registrations
from homeserver.bridges.services import Services
from homeserver.bridges.third_party import ThirdParty
from homeserver.bridges.transactions import Composer
from homeserver.clock import random_token, system_clock
from homeserver.config import Config
from homeserver.metrics import Metrics
from storage import bridges
from storage.store import Store
from storage.stream import Change


@frozen
class Contact:
    """Who the services are, and how they are reached."""

    services: Services
    egress: Egress
    outside: Outside
    queries: Queries


@frozen
class Bridges:
    """Application services."""

    store: Store
    services: Services
    masquerade: Masquerade
    ping: Ping
    third_party: ThirdParty
    egress: Egress
    pushers: Mapping[str, Pusher]

    async def create_users(self) -> None:
        """Give every service its own user."""
        await self.masquerade.create_senders()

    async def start(self) -> None:
        """Go on where each service was. They may call back, so the doors must be open."""
        progress = await self.store.write(partial(bridges.begin, service_ids=self.pushers.keys()))
        for service_id, pusher in self.pushers.items():
            pusher.start(progress[service_id])

    async def stop(self) -> None:
        """End what is under way; it will be taken up again."""
        for pusher in self.pushers.values():
            await pusher.stop()
        await self.egress.close()

    def follow(self, changes: Sequence[Change]) -> None:
        """Follower of the stream."""
        self.masquerade.follow(changes)
        for pusher in self.pushers.values():
            pusher.follow(changes)

    def moment(self, users: Collection[str]) -> None:
        """Listener of what lives in memory: ``users`` see a change of it."""
        for service in self.services:
            pusher = self.pushers.get(service.id)
            if pusher is None or not service.receives_ephemeral:
                continue
            if service.rooms or service.aliases or any(map(service.covers_user, users)):
                pusher.wake()


def assemble_contact(config: Config, reactor: Any, store: Store) -> Contact:
    """The services that the configuration names.

    Raises:
        ConfigError: a registration cannot be used.
    """
    services = Services(load_registrations(config))
    # Nobody but the organizer names an address here, and these hosts are allowed here alone.
    egress = Egress(reactor, sorted(filter(None, map(host_of, services))))
    outside = Outside(egress)
    return Contact(services, egress, outside, Queries(reactor, store, services, outside))


def assemble_bridges(
    reactor: Any,
    storage: Storage,
    metrics: Metrics,
    contact: Contact,
    people: People,
    rooms: Rooms,
    syncing: Syncing,
    encryption: EncryptionHooks,
) -> Bridges:
    """To be called when the stream is where it begins."""
    store, services, outside = storage.store, contact.services, contact.outside
    exits = Exits(store, storage.stream, outside, encryption.handed_over)
    pushers: dict[str, Pusher] = {}
    for service in services:
        if service.url is not None:
            composer = _composer(storage, service, rooms, syncing, encryption)
            pusher = Pusher(reactor, system_clock, service, composer, exits)
            pushers[service.id] = pusher
            _measure(metrics, service.id, pusher)

    def called(service_id: str) -> None:
        if service_id in pushers:
            pushers[service_id].called()

    masquerade = Masquerade(store, services, people.accounts, people.last_seen, called)
    made = Bridges(
        store,
        services,
        masquerade,
        Ping(services, outside, system_clock),
        ThirdParty(services, outside),
        contact.egress,
        pushers,
    )
    syncing.ephemeral.follow(made.moment)
    return made


def _composer(
    storage: Storage,
    service: Registration,
    rooms: Rooms,
    syncing: Syncing,
    encryption: EncryptionHooks,
) -> Composer:
    interest = Interest(service, rooms.memberships, storage.store)
    durable: list[Part] = [EventsPart(interest, system_clock)]
    momentary: list[Part] = []
    if service.receives_ephemeral:
        durable.append(ReceiptsPart(interest))
        momentary.append(MomentsPart(interest, syncing.ephemeral, syncing.typing, syncing.presence))
        momentary.append(ToDevicePart(interest))
    if service.tracks_devices:
        durable.append(DeviceListsPart(interest, encryption, storage.stream.position))
        momentary.append(KeyCountsPart(interest, encryption))
    return Composer(durable, momentary, system_clock, random_token)


def _measure(metrics: Metrics, service_id: str, pusher: Pusher) -> None:
    name = "application_service"
    metrics.gauge(
        f"{name}_behind",
        "Positions of the stream that a service has not got past",
        lambda: pusher.behind,
        service=service_id,
    )
    metrics.gauge(
        f"{name}_waiting_seconds",
        "How long the oldest transaction has been waiting for its acknowledgement",
        lambda: pusher.waiting_seconds,
        service=service_id,
    )
    metrics.gauge(
        f"{name}_failures",
        "Attempts in vain to hand a transaction over, since the start",
        lambda: pusher.failures,
        service=service_id,
    )
