"""Every endpoint of the server, with the objects that answer it."""

from collections.abc import Callable
from typing import Any

from e2e.assembly import Encryption
from federation_disabled.ours import Ours
from homeserver import __version__
from homeserver.assembly.bridges import Bridges
from homeserver.assembly.media import ContentRepository
from homeserver.assembly.people import People
from homeserver.assembly.rooms import Rooms
from homeserver.assembly.syncing import Syncing
from homeserver.clock import random_token
from homeserver.config import Config
from homeserver.limits import Limits
from homeserver.rooms.versions import VERSIONS
from rest.account_data import AccountDataApi
from rest.accounts import AccountsApi
from rest.admin_register import AdminRegisterApi
from rest.auth_fallback import AuthFallbackApi
from rest.bridges import BridgesApi
from rest.dehydrated import DehydratedApi
from rest.devices import DevicesApi
from rest.discovery import DiscoveryApi
from rest.email_confirmation import EmailConfirmationApi
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
from rest.previews import PreviewsApi
from rest.profiles import ProfilesApi
from rest.push import PushApi
from rest.receipts import ReceiptsApi
from rest.registration import RegistrationApi
from rest.relations import RelationsApi
from rest.reports import ReportsApi
from rest.rooms import RoomsApi
from rest.routing import Route
from rest.search import SearchApi
from rest.send import SendApi
from rest.sessions import SessionsApi
from rest.spaces import SpacesApi
from rest.summaries import SummariesApi
from rest.sync import SyncApi
from rest.third_party_ids import ThirdPartyIdsApi
from rest.timestamps import TimestampsApi
from rest.to_device import ToDeviceApi
from rest.turn import TurnApi
from rest.upgrade import UpgradeApi


def routes(
    config: Config,
    rooms: Rooms,
    people: People,
    encryption: Encryption,
    syncing: Syncing,
    repository: ContentRepository,
    bridges: Bridges,
    limits: Limits,
    position_in: Callable[[str], int],
) -> list[Route]:
    """Every route of the server. ``position_in`` reads the position out of a token of /sync."""
    ours = Ours(config.server_name)
    pages = Pages()
    validations = None if people.email is None else people.email.validations
    apis: list[Any] = [
        DiscoveryApi(config, list(VERSIONS)),
        SessionsApi(
            people.accounts,
            people.sessions,
            people.devices,
            people.login_tokens,
            people.uia,
            bridges.masquerade,
            has_services=len(bridges.services) > 0,
        ),
        LoginFallbackApi(pages, config.server_name),
        ModerationApi(rooms.moderation, ours),
        AccountsApi(people.accounts, people.devices, people.uia, people.email_proofs),
        RegistrationApi(people.sign_up, limits),
        AdminRegisterApi(people.sign_up, config.server_name),
        AuthFallbackApi(
            people.uia,
            people.terms,
            validations,
            limits,
            random_token,
            pages,
            config.server_name,
        ),
        DevicesApi(people.devices, people.uia),
        ThirdPartyIdsApi(
            people.third_party_ids, validations, people.email_proofs, people.sign_up, people.uia
        ),
        EmailConfirmationApi(validations, pages, config.server_name),
        OpenIdApi(people.openid, config.server_name, __version__),
        RoomsApi(rooms.create, rooms.membership, rooms.memberships, rooms.directory, ours),
        SendApi(rooms.send, rooms.redact_related, ours),
        HideApi(rooms.hide, rooms.hidden, ours),
        HistoryApi(rooms.history, ours),
        RelationsApi(rooms.relations, ours),
        SearchApi(rooms.search),
        UpgradeApi(rooms.upgrade, ours),
        SummariesApi(rooms.summaries, rooms.directory, ours),
        SpacesApi(rooms.spaces, ours),
        TimestampsApi(rooms.timestamps, ours),
        MutualRoomsApi(rooms.memberships),
        ReportsApi(rooms.reports),
        SyncApi(syncing.sync, syncing.saved_filters, syncing.presence),
        OldSyncApi(syncing.old_sync, ours),
        ReceiptsApi(rooms.receipts, ours),
        PresenceApi(syncing.typing, syncing.presence, ours),
        ProfilesApi(rooms.profiles, people.directory, ours),
        AccountDataApi(rooms.account_data, rooms.push.rules, ours),
        PushApi(rooms.push.rules, rooms.push.notifications, rooms.push.pushers),
        KeysApi(
            encryption.devices,
            encryption.one_time_keys,
            encryption.queries,
            encryption.lists,
            encryption.cross_signing,
            people.uia,
            position_in,
        ),
        DehydratedApi(encryption.dehydrated),
        IdentityLogApi(encryption.log),
        KeyBackupApi(encryption.backups),
        ToDeviceApi(encryption.to_device),
        BridgesApi(bridges.ping, rooms.directory, bridges.third_party, ours),
        TurnApi(people.turn),
        NotOfferedApi(),
        MediaApi(repository.media, config.media.max_upload_bytes),
        PreviewsApi(repository.previews),
    ]
    return [route for api in apis for route in api.routes()]
