"""Accounts: how the members get theirs, and how all of them are closed in the end."""

import hmac
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote

from attrs import frozen

from e2e.selftest.client import Client, Refused, undisturbed
from e2e.selftest.faults import Fault, check
from e2e.selftest.group import Group
from e2e.selftest.member import Member

DUMMY = "m.login.dummy"
REGISTRATION_TOKEN = "m.login.registration_token"
MOST_STAGES = 5

_ADMIN_REGISTER = "/_synapse/admin/v1/register"

Json = dict[str, Any]


class Registration(Protocol):
    """A way to get accounts."""

    async def register(self, client: Client, localpart: str, password: str) -> Json:
        """Make an account; the login that comes with it."""


@frozen
class Interactive:
    """As people sign up: with a registration token, or freely where the server is open."""

    token: str | None = None

    async def register(self, client: Client, localpart: str, password: str) -> Json:
        """Make an account ("Account registration").

        Raises:
            Refused: the server wants no new people, or proofs that we do not have.
        """
        auth = self._stage(DUMMY if self.token is None else REGISTRATION_TOKEN)
        for _ in range(MOST_STAGES):
            body = {"username": localpart, "password": password, "auth": auth}
            try:
                return await client.ask("POST", "/register", body, has_password=True)
            except Refused as refused:
                if refused.status != 401:
                    raise
                auth = self._next(refused, str(auth["type"]))
        raise Fault("The server asks for one proof after the other before it lets anybody sign up")

    def _next(self, refused: Refused, tried: str) -> Json:
        """The next stage of an authentication that is not complete, or has just begun."""
        question = refused.answer
        flows: list[Sequence[str]] = [flow["stages"] for flow in question.get("flows", [])]
        if "errcode" in question and any(tried in stages for stages in flows):
            raise refused
        mine = {DUMMY} if self.token is None else {DUMMY, REGISTRATION_TOKEN}
        done = question.get("completed", [])
        for stages in flows:
            if set(stages) <= mine and len(stages) > len(done):
                return {**self._stage(stages[len(done)]), "session": question.get("session")}
        wanted = " or ".join(" and ".join(stages) for stages in flows)
        raise Fault(
            f"To sign up, this server wants {wanted}: hand over a registration token, or the"
            " server's configuration"
        )

    def _stage(self, kind: str) -> Json:
        return {"type": kind, "token": self.token} if kind == REGISTRATION_TOKEN else {"type": kind}


@frozen
class SharedSecret:
    """As tools make accounts: with the secret that the configuration holds."""

    secret: str

    async def register(self, client: Client, localpart: str, password: str) -> Json:
        """Make an account.

        Raises:
            Refused: the secret is wrong.
        """
        nonce = str((await client.ask("GET", _ADMIN_REGISTER))["nonce"])
        signed = "\0".join((nonce, localpart, password, "notadmin"))
        mac = hmac.new(self.secret.encode(), signed.encode(), "sha1").hexdigest()
        body = {"nonce": nonce, "username": localpart, "password": password, "mac": mac}
        return await client.ask(
            "POST", _ADMIN_REGISTER, {**body, "admin": False}, has_password=True
        )


async def sign_up(group: Group, registration: Registration) -> None:
    """Make the accounts: as many people, each on one device.

    Who is on the way in when it is interrupted gets in, so that their account can be closed.
    """

    async def get_in(number: int) -> Member:
        name = f"{group.name}-{number}"
        login = await registration.register(group.client, name, group.password)
        member = Member.logged_in(group.client, login)
        group.members.append(member)
        return member

    numbers = range(1, group.size + 1)
    group.members = await group.all(lambda number: undisturbed(get_in(number)), numbers)
    devices = {(member.user_id, member.olm.public.device_id) for member in group.members}
    check(len(devices) == group.size, "Several new accounts have got the same id")


async def clean_up(group: Group) -> None:
    """Everybody leaves, and closes their account. What can be closed is closed in any case.

    Raises:
        Fault: some accounts are still open, or an access token still works.
    """
    failures: list[Fault] = []

    async def depart(member: Member) -> None:
        try:
            if member.is_in_room:
                await member.ask("POST", f"/rooms/{quote(group.room_id)}/leave", {})
            await member.prove("POST", "/account/deactivate", {"erase": True}, group.password)
        except Fault as fault:
            failures.append(fault)

    await group.all(depart, group.members)
    if failures:
        raise Fault(
            f"{len(failures)} of {len(group.members)} accounts could not be closed, their names"
            f" begin with {group.name}: {failures[0]}"
        )
    for member in group.members[:1]:
        path = "/account/whoami"
        status, _ = await group.client.exchange("GET", path, token=member.token)
        check(status == 401, "The access token of a closed account still works")
