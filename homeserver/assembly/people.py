"""Accounts, devices and sessions, put together."""

from typing import Any

from attrs import frozen

from homeserver.accounts import AccountHooks, Accounts
from homeserver.clock import random_token, system_clock
from homeserver.config import Config
from homeserver.device_expiry import DeviceExpiry
from homeserver.devices import DeviceHooks, Devices
from homeserver.last_seen import LastSeen
from homeserver.limits import Limits
from homeserver.login_tokens import LoginTokens
from homeserver.openid import OpenId
from homeserver.passwords import Passwords
from homeserver.registration_tokens import RegistrationTokens
from homeserver.sessions import Sessions
from homeserver.shared_secret import SharedSecret
from homeserver.sign_up import SignUp
from homeserver.uia import Uia, dummy_stage
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
    uia: Uia
    sign_up: SignUp
    tokens: RegistrationTokens
    login_tokens: LoginTokens
    openid: OpenId
    directory: UserDirectory


def assemble_people(
    config: Config,
    reactor: Any,
    store: Store,
    limits: Limits,
    login_tokens: LoginTokens,
    device_hooks: DeviceHooks,
    account_hooks: AccountHooks,
) -> People:
    """``device_hooks`` and ``account_hooks`` are what other features do when these change."""
    passwords = Passwords(reactor)
    last_seen = LastSeen(store, system_clock)
    devices = Devices(store, system_clock, last_seen, device_hooks)
    sessions = Sessions(store, system_clock, random_token, devices, last_seen)
    accounts = Accounts(
        store, config.server_name, system_clock, passwords, devices, sessions, account_hooks
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
        _nobody,
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
        OpenId(system_clock, random_token),
        UserDirectory(store),
    )


def _nobody(user_id: str) -> bool:
    """No application service has reserved any name."""
    return False
