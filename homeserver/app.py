"""The composition root: every object is built here, in layers, and handed to those who use it.

configuration -> storage -> encryption and domain -> HTTP. Dull on purpose.
"""

from collections.abc import Awaitable, Callable, Sequence, Sized
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

from attrs import define, frozen
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.web.server import Site

import rest.access
from e2e.cross_signing import CrossSigning
from e2e.dehydrated import DehydratedDevices
from e2e.device_lists import Announcer, DeviceLists
from e2e.devices import Devices as KeyDevices
from e2e.identity_log import IdentityLog
from e2e.key_backup import KeyBackups
from e2e.key_queries import KeyQueries
from e2e.one_time_keys import KeyCountsPart, OneTimeKeys
from e2e.to_device import ToDevice, ToDevicePart
from federation_disabled.ours import Ours
from homeserver import __version__
from homeserver.account_data import AccountData, AccountDataPart, RoomAccountDataPart
from homeserver.accounts import AccountHooks, Accounts
from homeserver.background import Background
from homeserver.clock import random_token, system_clock
from homeserver.config import Config
from homeserver.device_expiry import DeviceExpiry
from homeserver.devices import DeviceHooks, Devices
from homeserver.directory import Directory
from homeserver.last_seen import LastSeen
from homeserver.limits import Limits
from homeserver.login_tokens import LoginTokens
from homeserver.media import Media
from homeserver.media_files import MediaFiles
from homeserver.metrics import Metrics
from homeserver.moderation import Moderation
from homeserver.openid import OpenId
from homeserver.passwords import Passwords
from homeserver.presence import Presence
from homeserver.profiles import Profiles
from homeserver.push.counts import PushCountsPart
from homeserver.push.judge import Judge
from homeserver.push.notifications import Notifications
from homeserver.push.personal_rules import PersonalRules, PushRulesPart
from homeserver.push.pushers import Pushers
from homeserver.push.sealing import load_seal
from homeserver.push.spans import Spans
from homeserver.push.variants import Variants
from homeserver.receipts import Receipts, ReceiptsPart
from homeserver.registration_tokens import RegistrationTokens
from homeserver.reports import Reports
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.carry_over import CarryOver
from homeserver.rooms.create import CreateRoom
from homeserver.rooms.family import FamilyRooms
from homeserver.rooms.hide import HiddenRooms, Hide
from homeserver.rooms.history import History
from homeserver.rooms.journal import Journal
from homeserver.rooms.kinds import Kinds
from homeserver.rooms.membership import Membership
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.relations import Relations
from homeserver.rooms.send import Send
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.summaries import Summaries
from homeserver.rooms.timestamps import Timestamps
from homeserver.rooms.upgrade import Upgrade
from homeserver.rooms.versions import VERSIONS
from homeserver.rooms.visibility import Visibility
from homeserver.sessions import Sessions
from homeserver.shared_secret import SharedSecret
from homeserver.sign_up import SignUp
from homeserver.signing_key import load_signer
from homeserver.suspensions import Suspensions
from homeserver.sync.ephemeral import Ephemeral
from homeserver.sync.joined import RoomView
from homeserver.sync.lazy import LazyMembers
from homeserver.sync.old_sync import OldSync
from homeserver.sync.saved_filters import SavedFilters
from homeserver.sync.sync import Parts, Sync
from homeserver.sync.timeline import Timelines
from homeserver.sync.token import SyncToken
from homeserver.sync.waiting import Waiters
from homeserver.thumbnails import Thumbnails
from homeserver.typing_notices import TypingNotices
from homeserver.uia import Uia, dummy_stage
from homeserver.user_directory import UserDirectory
from rest.account_data import AccountDataApi
from rest.accounts import AccountsApi
from rest.admin_register import AdminRegisterApi
from rest.auth_fallback import AuthFallbackApi
from rest.dehydrated import DehydratedApi
from rest.devices import DevicesApi
from rest.discovery import DiscoveryApi
from rest.hide import HideApi
from rest.history import HistoryApi
from rest.html import Pages
from rest.identity_log import IdentityLogApi
from rest.key_backup import KeyBackupApi
from rest.keys import KeysApi
from rest.login_fallback import LoginFallbackApi
from rest.media import MediaApi
from rest.moderation import ModerationApi
from rest.mutual_rooms import MutualRoomsApi
from rest.not_offered import NotOfferedApi
from rest.old_sync import OldSyncApi
from rest.openid import OpenIdApi
from rest.presence import PresenceApi
from rest.profiles import ProfilesApi
from rest.push import PushApi
from rest.receipts import ReceiptsApi
from rest.registration import RegistrationApi
from rest.relations import RelationsApi
from rest.reports import ReportsApi
from rest.rooms import RoomsApi
from rest.routing import Route, Router
from rest.send import SendApi
from rest.server import Api, HearthSite
from rest.sessions import SessionsApi
from rest.spaces import SpacesApi
from rest.summaries import SummariesApi
from rest.sync import SyncApi
from rest.third_party_ids import ThirdPartyIdsApi
from rest.timestamps import TimestampsApi
from rest.to_device import ToDeviceApi
from rest.upgrade import UpgradeApi
from schema.body import Schemas
from schema.errors import InvalidParam
from storage.accounts import find_account
from storage.engine import Engine
from storage.postgres import PostgresEngine
from storage.sqlite import SqliteEngine
from storage.store import Store
from storage.stream import Stream
from storage.transaction import Transaction, WriteTransaction

T = TypeVar("T")

HOUSEKEEPING_SECONDS = 60


@frozen
class Storage:
    """The database and what follows it."""

    stream: Stream
    store: Store


@frozen
class People:
    """Accounts, devices and sessions."""

    passwords: Passwords
    last_seen: LastSeen
    devices: Devices
    expiry: DeviceExpiry
    sessions: Sessions
    accounts: Accounts
    uia: Uia
    sign_up: SignUp
    tokens: RegistrationTokens
    login_tokens: LoginTokens


@frozen
class Encryption:
    """What encryption needs from a server."""

    announcer: Announcer
    lists: DeviceLists
    counts: KeyCountsPart
    one_time_keys: OneTimeKeys
    queries: KeyQueries
    log: IdentityLog
    devices: KeyDevices
    dehydrated: DehydratedDevices
    cross_signing: CrossSigning
    backups: KeyBackups
    to_device: ToDevice
    to_device_part: ToDevicePart


@frozen
class Push:
    """Push rules, and what they make of events."""

    spans: Spans
    judge: Judge
    rules: PersonalRules
    rules_part: PushRulesPart
    counts: PushCountsPart
    notifications: Notifications
    pushers: Pushers


@frozen
class RoomsOf:
    """Rooms and everything that happens in them."""

    cache: RoomCache
    suspensions: Suspensions
    memberships: Memberships
    visibility: Visibility
    timelines: Timelines
    journal: Journal
    send: Send
    membership: Membership
    create: CreateRoom
    families: FamilyRooms
    hidden: HiddenRooms
    directory: Directory
    relations: Relations
    history: History
    push: Push
    account_data: AccountData
    profiles: Profiles


@define
class App:
    """A whole server: built, then started, then stopped."""

    config: Config
    reactor: Any
    metrics: Metrics
    storage: Storage
    people: People
    rooms: RoomsOf
    encryption: Encryption
    presence: Presence
    typing: TypingNotices
    thumbnails: Thumbnails
    background: Background
    workers: ThreadPool
    site: Site
    first_token: str | None = None
    _housekeeping: LoopingCall | None = None

    async def start(self) -> None:
        """Everything that needs the reactor. Afterwards requests can be answered."""
        self.people.passwords.start()
        self.workers.start()
        self.presence.start()
        self.first_token = await self.people.sign_up.first_token()
        self._housekeeping = LoopingCall(self._keep_house)
        self._housekeeping.clock = self.reactor
        self._housekeeping.start(HOUSEKEEPING_SECONDS, now=False)

    async def stop(self) -> None:
        """The reverse. What was acknowledged is safe already; this ends what is under way."""
        if self._housekeeping is not None:
            self._housekeeping.stop()
        self.presence.stop()
        self.typing.stop_all()
        # In the background, so that a database that is away keeps nobody from stopping.
        self.background("Noting when devices were seen", self.people.last_seen.flush())
        await self.background.finish()
        self.thumbnails.stop()
        self.people.passwords.stop()
        self.workers.stop()
        self.storage.store.close()

    def _keep_house(self) -> None:
        self.background("Noting when devices were seen", self._look_after_devices())
        self.background("Forgetting old to-device requests", self._forget_old_requests())

    async def _look_after_devices(self) -> None:
        await self.people.last_seen.flush()
        await self.people.expiry.run()

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
    storage = _storage(config, reactor, metrics)
    try:
        return _assemble(config, reactor, metrics, storage)
    except BaseException:
        storage.store.close()
        raise


def _assemble(config: Config, reactor: Any, metrics: Metrics, storage: Storage) -> App:
    background = Background()
    ours = Ours(config.server_name)
    limits = _limits(config)
    workers = ThreadPool(0, 4, name="hearth-files")

    def run_in_thread(work: Callable[..., T], *args: Any) -> Awaitable[T]:
        return deferToThreadPool(reactor, workers, work, *args)

    files = MediaFiles(config.data / "media", run_in_thread, random_token)
    files.open()
    thumbnails = Thumbnails(files, run_in_thread, config.media.max_image_pixels)
    media = Media(reactor, storage.store, files, thumbnails, ours, system_clock, random_token)

    rooms = _rooms(config, storage, background)
    encryption = _encryption(storage, rooms, metrics, background)
    people = _people(config, reactor, storage, encryption, rooms, limits)

    waiters = Waiters(reactor, rooms.memberships.joined)
    ephemeral = Ephemeral(system_clock, waiters.wake)
    presence = Presence(reactor, system_clock, ephemeral, rooms.memberships.sharing)
    typing = TypingNotices(reactor, ephemeral, rooms.cache, rooms.memberships.joined)
    receipts = Receipts(storage.store, rooms.cache, rooms.account_data, system_clock)
    parts = _parts(storage, rooms, encryption, presence, typing)
    lazy = LazyMembers()
    view = RoomView(rooms.timelines, rooms.visibility, rooms.relations, lazy, system_clock)
    sync = Sync(
        storage.stream,
        ephemeral,
        waiters,
        rooms.cache,
        rooms.memberships,
        rooms.hidden,
        view,
        parts.all,
        system_clock,
    )
    _follow(storage, people, rooms, encryption, parts, waiters)

    summaries = Summaries(rooms.cache, rooms.memberships)
    reports = Reports(storage.store, rooms.cache, rooms.visibility, _person_exists, system_clock)
    pages = Pages()
    apis: list[Any] = [
        DiscoveryApi(config, list(VERSIONS)),
        SessionsApi(
            people.accounts, people.sessions, people.devices, people.login_tokens, people.uia
        ),
        LoginFallbackApi(pages, config.server_name),
        ModerationApi(Moderation(storage.store, rooms.suspensions), ours),
        AccountsApi(people.accounts, people.devices, people.uia),
        RegistrationApi(people.sign_up),
        AdminRegisterApi(people.sign_up, config.server_name),
        AuthFallbackApi(people.uia, pages, config.server_name),
        DevicesApi(people.devices, people.uia),
        ThirdPartyIdsApi(),
        OpenIdApi(OpenId(system_clock, random_token), config.server_name, __version__),
        RoomsApi(rooms.create, rooms.membership, rooms.memberships, rooms.directory, ours),
        SendApi(rooms.send, ours),
        HideApi(Hide(storage.store, rooms.cache), rooms.hidden, ours),
        HistoryApi(rooms.history, ours),
        RelationsApi(rooms.relations, ours),
        UpgradeApi(Upgrade(storage.store, rooms.create, rooms.membership), ours),
        SummariesApi(summaries, rooms.directory, ours),
        SpacesApi(Spaces(storage.store, rooms.cache, summaries), ours),
        TimestampsApi(Timestamps(storage.store, rooms.cache, rooms.visibility), ours),
        MutualRoomsApi(rooms.memberships),
        ReportsApi(reports),
        SyncApi(sync, SavedFilters(storage.store), presence),
        OldSyncApi(OldSync(sync, rooms.history, system_clock), ours),
        ReceiptsApi(receipts, ours),
        PresenceApi(typing, presence, ours),
        ProfilesApi(rooms.profiles, UserDirectory(storage.store), ours),
        AccountDataApi(rooms.account_data, ours),
        PushApi(rooms.push.rules, rooms.push.notifications, rooms.push.pushers),
        KeysApi(
            encryption.devices,
            encryption.one_time_keys,
            encryption.queries,
            encryption.lists,
            encryption.cross_signing,
            people.uia,
            partial(_position_in, storage.stream),
        ),
        DehydratedApi(encryption.dehydrated),
        IdentityLogApi(encryption.log),
        KeyBackupApi(encryption.backups),
        ToDeviceApi(encryption.to_device),
        NotOfferedApi(),
        MediaApi(media, config.media.max_upload_bytes),
    ]
    routes: list[Route] = [route for api in apis for route in api.routes()]
    router = Router(routes)
    access = rest.access.Access(people.sessions)
    api = Api(router, access, Schemas(), limits, metrics, lambda: token_hex(8))
    _gauges(metrics, storage, people, rooms, encryption, waiters, lazy, presence, limits)
    return App(
        config=config,
        reactor=reactor,
        metrics=metrics,
        storage=storage,
        people=people,
        rooms=rooms,
        encryption=encryption,
        presence=presence,
        typing=typing,
        thumbnails=thumbnails,
        background=background,
        workers=workers,
        site=HearthSite(api, router, reactor),
    )


def engine_for(config: Config) -> Engine:
    """The database that the configuration names."""
    kind, _, rest_ = config.database.partition(":")
    if kind == "sqlite":
        return SqliteEngine(config.data / rest_)
    return PostgresEngine(config.database)


def _storage(config: Config, reactor: Any, metrics: Metrics) -> Storage:
    stream = Stream()
    store = Store(reactor, engine_for(config), stream, metrics)
    store.open()
    return Storage(stream, store)


def _limits(config: Config) -> Limits:
    settings = config.rate_limits
    if not settings.enabled:
        return Limits(system_clock, {})
    names = [name for name in type(settings).__annotations__ if name != "enabled"]
    return Limits(system_clock, {name: tuple(getattr(settings, name)) for name in names})


def _rooms(config: Config, storage: Storage, background: Background) -> RoomsOf:
    store = storage.store
    cache = RoomCache(store)
    suspensions = Suspensions(store)
    suspensions.load()
    memberships = Memberships(store)
    memberships.load(storage.stream.position)
    visibility = Visibility(store)
    timelines = Timelines(store, cache)
    push = _push(config, storage, cache)
    account_data = AccountData(store)
    hidden = HiddenRooms(store)
    hidden.load()
    journal = Journal(
        cache,
        load_signer(config.data, config.server_name),
        system_clock,
        Kinds(frozenset(config.rooms.require_encryption)),
        push.judge,
        suspensions,
        [CarryOver(cache, account_data, push.rules.change_in), hidden],
    )
    membership = Membership(store, cache, journal, memberships, _person_exists)
    create = CreateRoom(store, journal, membership, config.rooms, config.server_name)
    relations = Relations(store, cache, visibility, system_clock)
    return RoomsOf(
        cache=cache,
        suspensions=suspensions,
        memberships=memberships,
        visibility=visibility,
        timelines=timelines,
        journal=journal,
        send=Send(store, cache, journal),
        membership=membership,
        create=create,
        families=FamilyRooms(create, membership, journal),
        hidden=hidden,
        directory=Directory(store, cache, journal),
        relations=relations,
        history=History(store, cache, visibility, timelines, relations, system_clock),
        push=push,
        account_data=account_data,
        profiles=Profiles(store, cache, membership, _person_exists, suspensions.check),
    )


def _push(config: Config, storage: Storage, cache: RoomCache) -> Push:
    store = storage.store
    variants = Variants()
    spans = Spans(store, variants)
    spans.load()
    return Push(
        spans=spans,
        judge=Judge(variants, spans),
        rules=PersonalRules(store, spans),
        rules_part=PushRulesPart(store),
        counts=PushCountsPart(store, spans),
        notifications=Notifications(store, cache, spans, system_clock),
        pushers=Pushers(store, load_seal(config.data)),
    )


def _encryption(
    storage: Storage, rooms: RoomsOf, metrics: Metrics, background: Background
) -> Encryption:
    store = storage.store
    announcer = Announcer(rooms.memberships.rooms_of)
    conflicts = metrics.counter(
        "one_time_key_conflicts", "Uploads of another one-time key under an id that is taken"
    )
    keys = OneTimeKeys(store, _everybody, conflicts)
    log = IdentityLog(store, system_clock)
    return Encryption(
        announcer=announcer,
        lists=DeviceLists(store, rooms.memberships),
        counts=KeyCountsPart(store),
        one_time_keys=keys,
        queries=KeyQueries(store, _everybody),
        log=log,
        devices=KeyDevices(store, announcer, keys, log),
        dehydrated=DehydratedDevices(store, announcer, keys, log, system_clock),
        cross_signing=CrossSigning(store, announcer, log),
        backups=KeyBackups(store),
        to_device=ToDevice(store, system_clock),
        to_device_part=ToDevicePart(store, background),
    )


def _people(
    config: Config,
    reactor: Any,
    storage: Storage,
    encryption: Encryption,
    rooms: RoomsOf,
    limits: Limits,
) -> People:
    store = storage.store
    passwords = Passwords(reactor)
    last_seen = LastSeen(store, system_clock)
    login_tokens = LoginTokens(store, system_clock, random_token)

    def removed(
        txn: WriteTransaction, user_id: str, device_ids: Sequence[str], expired: bool
    ) -> None:
        encryption.devices.forget(txn, user_id, device_ids)
        encryption.log.devices_removed(txn, user_id, device_ids, expired=expired)
        rooms.push.pushers.forget(txn, user_id, device_ids)
        login_tokens.forget(txn, user_id, device_ids)

    hooks = DeviceHooks(
        added=encryption.log.device_added,
        removed=removed,
        renamed=encryption.devices.announce,
        is_reserved=encryption.devices.is_reserved,
    )
    devices = Devices(store, system_clock, last_seen, hooks)
    sessions = Sessions(store, system_clock, random_token, devices, last_seen)

    def make_self_room(txn: WriteTransaction, user_id: str) -> None:
        rooms.create.self_room(txn, user_id)

    created = [make_self_room] if config.rooms.self_room else []
    accounts = Accounts(
        store,
        config.server_name,
        system_clock,
        passwords,
        devices,
        sessions,
        AccountHooks(
            created=created,
            deactivated=[
                rooms.membership.leave_all,
                rooms.push.rules.forget,
                rooms.account_data.forget,
                rooms.profiles.forget,
                encryption.cross_signing.forget,
                encryption.dehydrated.forget,
                encryption.log.forget,
                encryption.backups.forget,
            ],
        ),
    )
    tokens = RegistrationTokens(store, system_clock, random_token)
    stages = {
        "m.login.password": accounts.password_stage,
        "m.login.registration_token": tokens.stage,
        "m.login.dummy": dummy_stage,
    }
    uia = Uia(system_clock, random_token, limits, stages)
    secret = SharedSecret(config.registration.shared_secret, system_clock, random_token)
    sign_up = SignUp(
        config.server_name,
        config.registration.mode,
        random_token,
        accounts,
        uia,
        tokens,
        secret,
        lambda user_id: False,
    )
    return People(
        passwords,
        last_seen,
        devices,
        DeviceExpiry(store, system_clock, devices, config.devices.expire_after_days),
        sessions,
        accounts,
        uia,
        sign_up,
        tokens,
        login_tokens,
    )


@frozen
class _AllParts:
    """The parts of /sync, and those of them that follow the stream."""

    all: Parts
    account_data: AccountDataPart
    room_account_data: RoomAccountDataPart
    receipts: ReceiptsPart


def _parts(
    storage: Storage,
    rooms: RoomsOf,
    encryption: Encryption,
    presence: Presence,
    typing: TypingNotices,
) -> _AllParts:
    account_data = AccountDataPart(storage.store)
    room_account_data = RoomAccountDataPart(storage.store)
    receipts = ReceiptsPart(storage.store)
    return _AllParts(
        all=Parts(
            durable=[encryption.lists, encryption.counts, account_data, rooms.push.rules_part],
            device_lists=encryption.lists,
            ephemeral=[presence],
            in_rooms=[room_account_data, receipts],
            ephemeral_in_rooms=[typing],
            to_device=encryption.to_device_part,
            counts=rooms.push.counts,
        ),
        account_data=account_data,
        room_account_data=room_account_data,
        receipts=receipts,
    )


def _follow(
    storage: Storage,
    people: People,
    rooms: RoomsOf,
    encryption: Encryption,
    parts: _AllParts,
    waiters: Waiters,
) -> None:
    """Who follows the stream, from where, and in which order: caches first, waiters last."""
    position = storage.stream.position
    rooms.cache.start_at(position)
    rooms.push.rules_part.start_at(position)
    rooms.push.counts.start_at(position)
    encryption.lists.load()
    encryption.counts.load(position)
    encryption.queries.load(position)
    parts.account_data.start_at(position)
    parts.room_account_data.start_at(position)
    parts.receipts.start_at(position)
    for follower in (
        rooms.cache.follow,
        rooms.suspensions.follow,
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
        parts.account_data.follow,
        parts.room_account_data.follow,
        parts.receipts.follow,
        waiters.follow,
    ):
        storage.stream.follow(follower)


def _gauges(
    metrics: Metrics,
    storage: Storage,
    people: People,
    rooms: RoomsOf,
    encryption: Encryption,
    waiters: Waiters,
    lazy: LazyMembers,
    presence: Presence,
    limits: Limits,
) -> None:
    """Sizes that an operator wants to see: of every cache and of every queue."""
    sizes: dict[str, Sized] = {
        "rooms": rooms.cache,
        "suspensions": rooms.suspensions,
        "memberships": rooms.memberships,
        "hidden_rooms": rooms.hidden,
        "visibility": rooms.visibility,
        "push_spans": rooms.push.spans,
        "push_hearers": rooms.push.judge,
        "push_counts": rooms.push.counts,
        "sessions": people.sessions,
        "interactive_auth": people.uia,
        "device_lists": encryption.lists,
        "key_counts": encryption.counts,
        "key_queries": encryption.queries,
        "to_device": encryption.to_device_part,
        "lazy_members": lazy,
        "presence": presence,
        "rate_limits": limits,
    }
    for name, sized in sizes.items():
        metrics.gauge(f"cache_{name}_entries", f"Entries in memory: {name}", sized.__len__)
    metrics.gauge("sync_waiters", "Requests that wait in /sync", waiters.__len__)
    metrics.gauge(
        "writes_waiting", "Writes that wait for the committer", lambda: storage.store.waiting
    )
    metrics.gauge("stream_position", "Where the stream is", lambda: storage.stream.position)


def _person_exists(txn: Transaction, user_id: str) -> bool:
    account = find_account(txn, user_id)
    return account is not None and account.deactivated_at is None


def _everybody(asker: str, user_id: str) -> bool:
    """Neighbours may know of each other."""
    return True


def _position_in(stream: Stream, token: str) -> int:
    """The position of a token; of one from a time that was lost, the beginning."""
    parsed = SyncToken.parse(token)
    if parsed is None:
        raise InvalidParam("This is not a token of /sync")
    return parsed.position if stream.has_been_at(parsed.position) else 0
