"""Rooms and everything that happens in them, put together."""

from typing import Any

from attrs import frozen

from federation_disabled.egress import Egress
from homeserver.account_data import AccountData
from homeserver.assembly.database import Storage
from homeserver.assembly.push import Push, assemble_push
from homeserver.background import Background
from homeserver.bridges.queries import Queries
from homeserver.bridges.services import Services
from homeserver.clock import system_clock
from homeserver.config import Config
from homeserver.directory import Directory
from homeserver.erasures import Erasures
from homeserver.guests import Guests
from homeserver.ignored_people import IgnoredPeople
from homeserver.invite_permission import InvitePermission
from homeserver.media.uses import MediaUses
from homeserver.moderation import Moderation
from homeserver.profiles import Profiles
from homeserver.receipts import Receipts
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
from homeserver.rooms.originals import Originals
from homeserver.rooms.redact import Redact
from homeserver.rooms.redact_related import RedactRelated
from homeserver.rooms.relations import Relations
from homeserver.rooms.send import Send
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.summaries import Summaries
from homeserver.rooms.timestamps import Timestamps
from homeserver.rooms.upgrade import Upgrade
from homeserver.rooms.visibility import Visibility
from homeserver.search.index import SearchIndex
from homeserver.search.search import Search
from homeserver.search.shown import Shown
from homeserver.signing_key import load_signer
from homeserver.suspensions import Suspensions
from homeserver.sync.timeline import Timelines
from storage.accounts import find_account
from storage.transaction import Transaction


@frozen
class Rooms:
    """Rooms and everything that happens in them."""

    cache: RoomCache
    originals: Originals
    suspensions: Suspensions
    ignored: IgnoredPeople
    erasures: Erasures
    invites: InvitePermission
    guests: Guests
    memberships: Memberships
    visibility: Visibility
    timelines: Timelines
    journal: Journal
    send: Send
    redact_related: RedactRelated
    membership: Membership
    create: CreateRoom
    families: FamilyRooms
    hidden: HiddenRooms
    directory: Directory
    relations: Relations
    history: History
    search: Search
    push: Push
    summaries: Summaries
    spaces: Spaces
    upgrade: Upgrade
    timestamps: Timestamps
    hide: Hide
    reports: Reports
    moderation: Moderation
    receipts: Receipts
    account_data: AccountData
    profiles: Profiles


def assemble_rooms(
    config: Config,
    reactor: Any,
    storage: Storage,
    egress: Egress,
    background: Background,
    services: Services,
    queries: Queries,
) -> Rooms:
    store = storage.store
    cache = RoomCache(store)
    suspensions = Suspensions(store)
    suspensions.load()
    guests = Guests(store)
    guests.load()
    memberships = Memberships(store)
    memberships.load(storage.stream.position)
    ignored = IgnoredPeople(store)
    ignored.load()
    invites = InvitePermission(store, ignored)
    invites.load()
    erasures = Erasures(store)
    erasures.load()
    visibility = Visibility(store, memberships, ignored, erasures)
    timelines = Timelines(store, cache)
    push = assemble_push(
        config, reactor, storage, cache, memberships, ignored, invites, egress, background
    )
    account_data = AccountData(store)
    hidden = HiddenRooms(store, ignored)
    hidden.load()
    originals = Originals(store, system_clock, config.rooms.keep_redacted_days)
    journal = Journal(
        cache,
        load_signer(config.data, config.server_name),
        system_clock,
        Kinds(frozenset(config.rooms.require_encryption)),
        push.judge,
        suspensions,
        invites,
        guests,
        Redact(push.judge, suspensions, originals),
        [
            CarryOver(cache, account_data, push.rules.change_in),
            hidden,
            MediaUses(config.server_name, system_clock),
            SearchIndex(),
        ],
    )
    membership = Membership(store, cache, journal, memberships, person_exists, queries)
    create = CreateRoom(store, journal, membership, config.rooms, config.server_name, services)
    summaries = Summaries(cache, memberships)
    relations = Relations(store, cache, visibility, system_clock)
    history = History(store, cache, visibility, timelines, relations, system_clock)
    return Rooms(
        cache=cache,
        originals=originals,
        suspensions=suspensions,
        ignored=ignored,
        erasures=erasures,
        invites=invites,
        guests=guests,
        memberships=memberships,
        visibility=visibility,
        timelines=timelines,
        journal=journal,
        send=Send(store, cache, journal, person_exists, queries),
        redact_related=RedactRelated(store, cache, journal),
        membership=membership,
        create=create,
        families=FamilyRooms(create, membership, journal),
        hidden=hidden,
        directory=Directory(store, cache, journal, services, queries),
        relations=relations,
        history=history,
        search=Search(store, storage.stream, cache, memberships, visibility, Shown(history)),
        push=push,
        summaries=summaries,
        spaces=Spaces(store, cache, summaries),
        upgrade=Upgrade(store, create, membership),
        timestamps=Timestamps(store, cache, visibility),
        hide=Hide(store, cache),
        reports=Reports(store, cache, visibility, person_exists, system_clock),
        moderation=Moderation(store, suspensions),
        receipts=Receipts(store, cache, account_data, system_clock),
        account_data=account_data,
        profiles=Profiles(store, cache, membership, person_exists, suspensions.check, queries),
    )


def person_exists(txn: Transaction, user_id: str) -> bool:
    """Whether somebody has an account that is not closed."""
    account = find_account(txn, user_id)
    return account is not None and account.deactivated_at is None
