"""The composition root: every layer is put together here and handed to the next.

configuration -> storage -> rooms -> encryption -> people -> /sync -> HTTP. Dull on purpose; what
a layer consists of stands in its own ``assembly``.
"""

from collections.abc import Awaitable, Callable, Sequence, Sized
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

from attrs import define
from twisted.internet.base import DelayedCall
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from e2e.assembly import Encryption, assemble_encryption
from e2e.one_time_keys import counted
from federation_disabled.egress import Egress
from homeserver.accounts import AccountHooks
from homeserver.assembly.bridges import Bridges, assemble_bridges, assemble_contact
from homeserver.assembly.database import Storage, open_database
from homeserver.assembly.media import ContentRepository, assemble_media
from homeserver.assembly.people import People, assemble_people
from homeserver.assembly.rooms import Rooms, assemble_rooms
from homeserver.assembly.syncing import Syncing, assemble_syncing
from homeserver.background import Background
from homeserver.bridges.devices import EncryptionHooks
from homeserver.clock import random_token, system_clock
from homeserver.config import Config
from homeserver.devices import DeviceHooks
from homeserver.limits import Limits
from homeserver.login_tokens import LoginTokens
from homeserver.metrics import Metrics
from homeserver.open_files import room_for_connections
from homeserver.search.backlog import SearchBacklog
from homeserver.sync.token import SyncToken
from homeserver.terms import Terms
from homeserver.third_party_ids import ThirdPartyIds
from rest.access import Access
from rest.assembly import routes
from rest.connection import Site
from rest.outbox import Outbox
from rest.routing import Router
from rest.server import Api
from schema.body import Schemas
from schema.errors import InvalidParam
from storage.stream import Stream
from storage.transaction import WriteTransaction

T = TypeVar("T")
HOUSEKEEPING_SECONDS = 60


@define
class App:
    """A whole server: built, then started, then stopped."""

    config: Config
    reactor: Any
    metrics: Metrics
    storage: Storage
    people: People
    rooms: Rooms
    encryption: Encryption
    syncing: Syncing
    repository: ContentRepository
    bridges: Bridges
    egress: Egress
    search_backlog: SearchBacklog
    background: Background
    workers: ThreadPool
    schemas: Schemas
    site: Site
    first_token: str | None = None
    _housekeeping: LoopingCall | None = None
    _preparing: DelayedCall | None = None

    async def start(self) -> None:
        """Everything that needs the reactor. Afterwards requests can be answered."""
        self.workers.start()
        # Soon, but not while the first client waits for its first answer.
        self._preparing = self.reactor.callLater(1, self.workers.callInThread, self.schemas.prepare)
        self.syncing.presence.start()
        await self.bridges.create_users()
        self.rooms.push.delivery.start()
        self.background("Looking for files without a row", self.repository.orphans.sweep())
        self.first_token = await self.people.sign_up.first_token()
        self.background("Indexing what was sent earlier", self.search_backlog.run())
        self._housekeeping = LoopingCall(self._keep_house)
        self._housekeeping.clock = self.reactor
        self._housekeeping.start(HOUSEKEEPING_SECONDS, now=False)

    async def opened(self) -> None:
        """The doors are open: begin what makes others call in."""
        await self.bridges.start()

    async def stop(self) -> None:
        """The reverse. What was acknowledged is safe already; this ends what is under way."""
        if self._housekeeping is not None:
            self._housekeeping.stop()
        if self._preparing is not None and self._preparing.active():
            self._preparing.cancel()
        self.search_backlog.stop()
        await self.bridges.stop()
        self.syncing.presence.stop()
        self.syncing.typing.stop_all()
        if self.people.email is not None:
            self.people.email.mailer.stop()
        self.repository.stop()
        # In the background, so that a database that is away keeps nobody from stopping.
        self.background("Noting when devices were seen", self.people.last_seen.flush())
        self.background("Noting what was pushed", self.rooms.push.delivery.stop())
        await self.background.finish()
        await self.egress.close()
        await self.people.passwords.stop()
        self.workers.stop()
        self.storage.store.close()

    def _keep_house(self) -> None:
        self.background("Noting when devices were seen", self._look_after_devices())
        self.background("Noting what was pushed", self.rooms.push.delivery.note())
        self.background("Forgetting old to-device requests", self._forget_old_requests())
        self.background("Forgetting what redacted events said", self._forget_originals())
        self.background("Forgetting old media", self.repository.look_after())

    async def _look_after_devices(self) -> None:
        await self.people.last_seen.flush()
        await self.people.expiry.run()
        await self.people.guest_accounts.close_idle()

    async def _forget_originals(self) -> None:
        await self.rooms.originals.run()

    async def _forget_old_requests(self) -> None:
        await self.encryption.to_device.forget_old_transactions()


def build(config: Config, reactor: Any) -> App:
    """Build the server that ``config`` describes. Opens the database and fills the memory.

    Raises:
        SchemaTooNew: the database belongs to a newer version.
        whatever the database says when it cannot be reached.
    """
    metrics = Metrics()
    config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    storage = open_database(config, reactor, metrics)
    try:
        return _assemble(config, reactor, metrics, storage)
    except BaseException:
        storage.store.close()
        raise


def _assemble(config: Config, reactor: Any, metrics: Metrics, storage: Storage) -> App:
    store, background, limits = storage.store, Background(), _limits(config)
    workers = ThreadPool(0, 4, name="hearth-files")

    def run_in_thread(work: Callable[..., T], *args: Any) -> Awaitable[T]:
        return deferToThreadPool(reactor, workers, work, *args)

    egress = Egress(reactor, config.allow_private_addresses)
    repository = assemble_media(config, reactor, store, egress, run_in_thread)
    contact = assemble_contact(config, reactor, store)
    rooms = assemble_rooms(
        config, reactor, storage, egress, background, contact.services, contact.queries
    )
    conflicts = metrics.counter(
        "one_time_key_conflicts",
        "Uploads of another one-time key under an id that is taken",
        ["user_id", "device_id"],
    )
    encryption = assemble_encryption(
        store,
        rooms.memberships,
        conflicts,
        system_clock,
        background,
    )
    login_tokens = LoginTokens(store, system_clock, random_token)
    third_party_ids = ThirdPartyIds(store, system_clock)
    terms = Terms(config.registration.terms, system_clock)
    device_hooks = _device_hooks(rooms, encryption, login_tokens)
    account_hooks = _account_hooks(config, rooms, encryption, third_party_ids, terms)
    people = assemble_people(
        config,
        reactor,
        store,
        limits,
        contact.services,
        rooms.guests,
        login_tokens,
        third_party_ids,
        terms,
        device_hooks,
        account_hooks,
    )
    outbox = Outbox()
    syncing = assemble_syncing(
        reactor,
        storage,
        rooms,
        encryption.lists,
        encryption.counts,
        encryption.to_device_part,
        outbox.together,
    )
    hooks = EncryptionHooks(
        encryption.lists.changes, counted, encryption.to_device_part.handed_over
    )
    bridges = assemble_bridges(reactor, storage, metrics, contact, people, rooms, syncing, hooks)
    _follow(storage.stream, people, rooms, encryption, syncing, bridges)
    _gauges(metrics, storage, people, rooms, encryption, syncing, bridges, limits)

    position_in = partial(_position_in, storage.stream)
    router = Router(
        routes(config, rooms, people, encryption, syncing, repository, bridges, limits, position_in)
    )
    access = Access(people.sessions, bridges.masquerade)
    schemas = Schemas()
    api = Api(router, access, schemas, limits, metrics, lambda: token_hex(8))
    return App(
        config=config,
        reactor=reactor,
        metrics=metrics,
        storage=storage,
        people=people,
        rooms=rooms,
        encryption=encryption,
        syncing=syncing,
        repository=repository,
        bridges=bridges,
        egress=egress,
        search_backlog=SearchBacklog(reactor, store),
        background=background,
        workers=workers,
        schemas=schemas,
        site=Site(api, reactor, room_for_connections(), outbox),
    )


def _limits(config: Config) -> Limits:
    settings = config.rate_limits
    if not settings.enabled:
        return Limits(system_clock, {})
    names = [name for name in type(settings).__annotations__ if name != "enabled"]
    return Limits(system_clock, {name: tuple(getattr(settings, name)) for name in names})


def _device_hooks(rooms: Rooms, encryption: Encryption, login_tokens: LoginTokens) -> DeviceHooks:
    """What other features do, in the same transaction, when a device comes, changes or goes."""

    def removed(
        txn: WriteTransaction, user_id: str, device_ids: Sequence[str], expired: bool
    ) -> None:
        encryption.devices.forget(txn, user_id, device_ids)
        encryption.log.devices_removed(txn, user_id, device_ids, expired=expired)
        rooms.push.pushers.forget(txn, user_id, device_ids)
        login_tokens.forget(txn, user_id, device_ids)

    return DeviceHooks(
        added=encryption.log.device_added,
        removed=removed,
        renamed=encryption.devices.announce,
        is_reserved=encryption.devices.is_reserved,
    )


def _account_hooks(
    config: Config,
    rooms: Rooms,
    encryption: Encryption,
    third_party_ids: ThirdPartyIds,
    terms: Terms,
) -> AccountHooks:
    """What other features do, in the same transaction, when an account begins or ends."""

    def make_self_room(txn: WriteTransaction, user_id: str) -> None:
        rooms.create.self_room(txn, user_id)

    return AccountHooks(
        created=[rooms.profiles.begin, *([make_self_room] if config.rooms.self_room else [])],
        deactivated=[
            rooms.membership.leave_all,
            rooms.erasures.closed,
            rooms.push.rules.forget,
            rooms.account_data.forget,
            rooms.profiles.forget,
            encryption.cross_signing.forget,
            encryption.dehydrated.forget,
            encryption.log.forget,
            encryption.backups.forget,
            third_party_ids.forget,
            terms.forget,
            rooms.guests.forget,
        ],
    )


def _follow(
    stream: Stream,
    people: People,
    rooms: Rooms,
    encryption: Encryption,
    syncing: Syncing,
    bridges: Bridges,
) -> None:
    """Who follows the stream, from where, and in which order: caches first, waiters last."""
    position = stream.position
    rooms.cache.start_at(position)
    rooms.push.rules_part.start_at(position)
    rooms.push.counts.start_at(position)
    rooms.push.delivery.start_at(position)
    encryption.lists.load()
    encryption.counts.load(position)
    encryption.queries.load(position)
    syncing.start_at(position)
    for follower in (
        rooms.cache.follow,
        rooms.suspensions.follow,
        rooms.ignored.follow,
        rooms.erasures.follow,
        rooms.invites.follow,
        rooms.guests.follow,
        rooms.memberships.follow,
        rooms.hidden.follow,
        rooms.push.spans.follow,
        rooms.push.judge.follow,
        rooms.push.rules_part.follow,
        rooms.push.counts.follow,
        people.sessions.follow,
        encryption.lists.follow,
        encryption.counts.follow,
        encryption.queries.follow,
        encryption.to_device_part.follow,
        rooms.push.delivery.follow,
        bridges.follow,
        *syncing.followers,
    ):
        stream.follow(follower)


def _gauges(
    metrics: Metrics,
    storage: Storage,
    people: People,
    rooms: Rooms,
    encryption: Encryption,
    syncing: Syncing,
    bridges: Bridges,
    limits: Limits,
) -> None:
    """Sizes that an operator wants to see: of every cache and of every queue."""
    sizes: dict[str, Sized] = {
        "rooms": rooms.cache,
        "suspensions": rooms.suspensions,
        "ignored_people": rooms.ignored,
        "erased_people": rooms.erasures,
        "blocked_invites": rooms.invites,
        "guests": rooms.guests,
        "memberships": rooms.memberships,
        "hidden_rooms": rooms.hidden,
        "visibility": rooms.visibility,
        "push_spans": rooms.push.spans,
        "push_hearers": rooms.push.judge,
        "push_counts": rooms.push.counts,
        "sessions": people.sessions,
        "masquerade": bridges.masquerade,
        "interactive_auth": people.uia,
        "device_lists": encryption.lists,
        "key_counts": encryption.counts,
        "key_queries": encryption.queries,
        "to_device": encryption.to_device_part,
        "lazy_members": syncing.lazy,
        "presence": syncing.presence,
        "rate_limits": limits,
    }
    for name, sized in sizes.items():
        metrics.gauge(f"cache_{name}_entries", f"Entries in memory: {name}", sized.__len__)
    metrics.gauge("pushes_waiting", "Notices to push gateways", rooms.push.delivery.__len__)
    if people.email is not None:
        mailer = people.email.mailer
        metrics.gauge("emails_waiting", "E-mails that wait to be sent", mailer.__len__)
    metrics.gauge("sync_waiters", "Requests that wait in /sync", syncing.waiters.__len__)
    metrics.gauge(
        "writes_waiting", "Writes that wait for the committer", lambda: storage.store.waiting
    )
    metrics.gauge(
        "reads_waiting", "Reads that wait or are under way", lambda: storage.store.reading
    )
    metrics.gauge("stream_position", "Where the stream is", lambda: storage.stream.position)


def _position_in(stream: Stream, token: str) -> int:
    """The position of a token; of one from a time that was lost, the beginning."""
    parsed = SyncToken.parse(token)
    if parsed is None:
        raise InvalidParam("This is not a token of /sync")
    return parsed.position if stream.has_been_at(parsed.position) else 0
