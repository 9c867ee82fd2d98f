"""Accounts, devices and sessions, put together."""

from typing import Any

from attrs import frozen

from homeserver.accounts import AccountHooks, Accounts
from homeserver.assembly.email import Email, assemble_email
from homeserver.assembly.turn import assemble_turn
from homeserver.bridges.services import Services
from homeserver.clock import random_token, system_clock
from homeserver.config import Config
from homeserver.device_expiry import DeviceExpiry
from homeserver.devices import DeviceHooks, Devices
from homeserver.email_proofs import EmailProofs
from homeserver.guest_accounts import GuestAccounts
from homeserver.guests import Guests
from homeserver.last_seen import LastSeen
from homeserver.limits import Limits
from homeserver.login_tokens import LoginTokens
from homeserver.openid import OpenId
from homeserver.passwords import Passwords
from homeserver.registration_tokens import RegistrationTokens
from homeserver.sessions import Sessions
from homeserver.shared_secret import SharedSecret
from homeserver.sign_up import SignUp, sign_up_flows
from homeserver.terms import Terms
from homeserver.third_party_ids import ThirdPartyIds
from homeserver.turn import Turn
from homeserver.uia import (
    DUMMY,
    EMAIL,
    PASSWORD,
    REGISTRATION_TOKEN,
    TERMS,
    Stage,
    Uia,
    dummy_stage,
)
from homeserver.user_directory import UserDirectory
from storage.store import Store


@frozen
class People:
    """Accounts, devices and sessions."""

    passwords: Passwords
    last_seen: LastSeen
    devices: Devices
    expiry: DeviceExpiry
    sessions: Sessions
    accounts: Accounts
    guest_accounts: GuestAccounts
    uia: Uia
    sign_up: SignUp
    tokens: RegistrationTokens
    login_tokens: LoginTokens
    openid: OpenId
    turn: Turn | None
    third_party_ids: ThirdPartyIds
    email: Email | None
    email_proofs: EmailProofs | None
    terms: Terms
    directory: UserDirectory


def assemble_people(
    config: Config,
    reactor: Any,
    store: Store,
    limits: Limits,
    services: Services,
    guests: Guests,
    login_tokens: LoginTokens,
    third_party_ids: ThirdPartyIds,
    terms: Terms,
    device_hooks: DeviceHooks,
    account_hooks: AccountHooks,
) -> People:
    """``device_hooks`` and ``account_hooks`` are what other features do when these change."""
    passwords = Passwords(reactor)
    last_seen = LastSeen(store, system_clock)
    devices = Devices(store, system_clock, last_seen, device_hooks)
    sessions = Sessions(store, system_clock, random_token, devices, last_seen)
    accounts = Accounts(
        store,
        config.server_name,
        system_clock,
        passwords,
        devices,
        sessions,
        account_hooks,
        third_party_ids,
    )
    guest_accounts = GuestAccounts(
        store,
        config.server_name,
        system_clock,
        random_token,
        guests,
        accounts,
        sessions,
        are_welcome=config.registration.guests,
    )
    tokens = RegistrationTokens(store, system_clock, random_token)
    email = assemble_email(config, reactor, store, limits)
    stages: dict[str, Stage] = {
        PASSWORD: accounts.password_stage,
        REGISTRATION_TOKEN: tokens.stage,
        DUMMY: dummy_stage,
    }
    if terms.policies:
        stages[TERMS] = terms.stage
    if email is not None:
        stages[EMAIL] = email.validations.stage
    params = {TERMS: terms.params()}
    uia = Uia(system_clock, random_token, limits, stages, params)
    proofs = (
        None
        if email is None
        else EmailProofs(store, email.validations, third_party_ids, accounts, uia)
    )
    secret = SharedSecret(config.registration.shared_secret, system_clock, random_token)
    sign_up = SignUp(
        config.server_name,
        config.registration.mode,
        sign_up_flows(
            config.registration.mode,
            "never" if email is None else config.registration.email,
            has_terms=bool(terms.policies),
        ),
        random_token,
        accounts,
        uia,
        tokens,
        secret,
        proofs,
        terms,
        services,
        guest_accounts,
    )
    return People(
        passwords,
        last_seen,
        devices,
        DeviceExpiry(store, system_clock, devices, config.devices.expire_after_days),
        sessions,
        accounts,
        guest_accounts,
        uia,
        sign_up,
        tokens,
        login_tokens,
        OpenId(system_clock, random_token),
        assemble_turn(config),
        third_party_ids,
        email,
        proofs,
        terms,
        UserDirectory(store),
    )
