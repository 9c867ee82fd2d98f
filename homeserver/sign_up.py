"""Signing up: who may get an account, and under which name.

Client-server API, "Account registration".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from homeserver.accounts import Accounts
from homeserver.bridges.registration import Registration
from homeserver.bridges.services import Services
from homeserver.clock import TokenSource
from homeserver.email_proofs import EmailProofs
from homeserver.guest_accounts import GuestAccounts
from homeserver.passwords import check_new_password
from homeserver.registration_tokens import RegistrationTokens
from homeserver.sessions import Login, NewDevice, random_letters
from homeserver.shared_secret import SharedSecret
from homeserver.terms import Terms
from homeserver.uia import DUMMY, EMAIL, REGISTRATION_TOKEN, TERMS, Flow, Uia
from schema.errors import (
    Forbidden,
    InvalidUsername,
    MissingParam,
    ThreepidDenied,
    UserInUse,
)
from schema.ids import LONGEST_ID, check_new_localpart
from storage.accounts import add_account
from storage.transaction import WriteTransaction

Mode = Literal["token", "open", "closed"]
EmailWish = Literal["never", "optional", "required"]


REQUEST = "register"
"""What a session of authentication for signing up is bound to: not to name and password."""


def sign_up_flows(mode: Mode, email: EmailWish, *, has_terms: bool) -> list[Flow]:
    """What whoever signs up has to prove.

    An address comes first, so that no flow begins with another one: then nobody is through before
    they could prove theirs.
    """
    steps = [REGISTRATION_TOKEN] if mode == "token" else []
    steps += [TERMS] if has_terms else []
    plain, with_address = steps or [DUMMY], [EMAIL, *steps]
    if email == "never":
        return [plain]
    return [with_address] if email == "required" else [plain, with_address]


class SignUp:
    """Opens accounts for those who may have one."""

    def __init__(
        self,
        server_name: str,
        mode: Mode,
        flows: Sequence[Flow],
        random_token: TokenSource,
        accounts: Accounts,
        uia: Uia,
        tokens: RegistrationTokens,
        shared_secret: SharedSecret,
        proofs: EmailProofs | None,
        terms: Terms,
        services: Services,
        guest_accounts: GuestAccounts,
    ) -> None:
        self._server_name = server_name
        self._mode = mode
        self._flows = flows
        self._random_token = random_token
        self._accounts = accounts
        self._uia = uia
        self._tokens = tokens
        self._shared_secret = shared_secret
        self._proofs = proofs
        self._terms = terms
        self._services = services
        self._guest_accounts = guest_accounts

    async def first_token(self) -> str | None:
        """The registration token for the first administrator; None unless it is still needed.

        Asked at each start. What it returned before is void from then on.
        """
        return await self._tokens.create_first() if self._mode == "token" else None

    async def check_available(self, username: str) -> str:
        """The user id that goes with the name.

        Raises:
            Forbidden: registration is closed.
            InvalidUsername, UserInUse, Exclusive: nobody can get this name.
        """
        self._check_open()
        return await self._check_name(username)

    async def is_token_valid(self, token: str) -> bool:
        """Whether somebody could sign up with this registration token now.

        Raises:
            Forbidden: no token helps: registration is closed.
        """
        self._check_open()
        return await self._tokens.is_valid(token)

    def check_address_helps(self) -> None:
        """Refuse whoever would prove an e-mail address in vain.

        Raises:
            ThreepidDenied: nobody signs up, or nobody by an address.
        """
        if self._mode == "closed" or not any(EMAIL in flow for flow in self._flows):
            raise ThreepidDenied("Nobody signs up here with an e-mail address")

    async def register(
        self,
        username: str | None,
        password: str | None,
        auth: Mapping[str, Any] | None,
        device: NewDevice | None,
        *,
        guest: str | None = None,
    ) -> tuple[str, Login | None]:
        """Create an account for whoever completes the authentication, and log in ``device``.

        A ``guest`` keeps their name and what they have: the account becomes a full one.

        The session of the authentication is not bound to name and password: clients ask with an
        empty body which steps there are, before they ask the person for a name.

        Raises:
            Forbidden: registration is closed, or the registration token is no longer good.
            ThreepidAuthFailed, ThreepidInUse: the e-mail address is no longer theirs to take.
            InvalidUsername, UserInUse, Exclusive: nobody can get this name.
            WeakPassword, InvalidParam, MissingParam: so the account cannot be made.
            InteractiveAuth: more authentication is needed.
        """
        self._check_open()
        if guest is not None:
            user_id = guest
        elif username:
            user_id = await self._check_name(username)
        else:
            user_id = f"@{random_letters(self._random_token, 12)}:{self._server_name}"
        if password is not None:
            check_new_password(password)
        elif auth:
            # Who only asks which steps there are has none yet.
            raise MissingParam("The new account needs a `password`")
        if device is not None:
            device.check()
        proof = await self._uia.complete(None, REQUEST, auth, self._flows)
        token_hash, sid = proof.get(REGISTRATION_TOKEN), proof.get(EMAIL)

        def admit(txn: WriteTransaction) -> bool:
            if self._proofs is not None and sid is not None:
                self._proofs.sign_up(txn, user_id, sid)
            self._terms.accept(txn, user_id, proof.get(TERMS, {}))
            return token_hash is not None and self._tokens.use(txn, token_hash)

        enter = add_account if guest is None else self._guest_accounts.guests.complete
        return user_id, await self._accounts.create(user_id, password, device, admit, enter=enter)

    async def guest(self, token: str, username: str | None, address: str) -> str:
        """The guest who signs up for a full account, with their access token.

        Raises:
            Forbidden: registration is closed, or this is not a guest's token.
            MissingParam, InvalidParam: ``username`` is not the guest's.
        """
        self._check_open()
        return await self._guest_accounts.owner(token, username, address)

    async def register_guest(self, device_name: str | None, address: str) -> Login:
        """Let somebody in as a guest, whoever else may sign up.

        Raises:
            GuestAccessForbidden: there are no guests here.
            InvalidParam: the name of the device cannot be stored.
        """
        return await self._guest_accounts.open(device_name, address)

    def check_guests_welcome(self) -> None:
        """Refuse whoever comes as a guest where there are none.

        Raises:
            GuestAccessForbidden: there are none here.
        """
        self._guest_accounts.check_welcome()

    async def register_with_secret(
        self,
        username: str,
        password: str,
        device: NewDevice | None,
        *,
        nonce: str,
        is_admin: bool,
        user_type: str | None,
        mac: str,
    ) -> tuple[str, Login | None]:
        """Create an account for a tool that knows the shared secret.

        Raises:
            Forbidden: it does not know it, or there is none.
            InvalidUsername, UserInUse, Exclusive, WeakPassword, InvalidParam: see ``register``.
        """
        self._shared_secret.check(
            nonce=nonce,
            username=username,
            password=password,
            is_admin=is_admin,
            user_type=user_type,
            mac=mac,
        )
        user_id = await self._check_name(username)
        login = await self._accounts.create(user_id, password, device, lambda txn: is_admin)
        return user_id, login

    async def register_bridged(
        self, service: Registration, username: str | None, device: NewDevice | None
    ) -> tuple[str, Login | None]:
        """Create one of a service's users, without a password, whoever else may sign up.

        Raises:
            Exclusive: the name is outside the service's namespaces.
            MissingParam, InvalidUsername, UserInUse: the name cannot be.
        """
        if not username:
            raise MissingParam("The new user needs a `username`")
        user_id = await self._check_name(username, service)
        return user_id, await self._accounts.create(user_id, None, device, is_person=False)

    def nonce(self) -> str:
        """A nonce for ``register_with_secret``.

        Raises:
            Forbidden: there is no shared secret.
        """
        return self._shared_secret.nonce()

    def _check_open(self) -> None:
        if self._mode == "closed":
            raise Forbidden("Nobody can sign up here; ask the organizer of this server")

    async def _check_name(self, username: str, service: Registration | None = None) -> str:
        localpart = username.lower()
        check_new_localpart(localpart)
        user_id = f"@{localpart}:{self._server_name}"
        if len(user_id) > LONGEST_ID:
            raise InvalidUsername("This user name is too long")
        self._services.check_user(user_id, service)
        if await self._accounts.find(user_id) is not None:
            raise UserInUse("This user name is taken; choose another")
        return user_id
