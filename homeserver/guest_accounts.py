"""The accounts of guests: opened for anybody, made full accounts, closed when nobody comes back.

Client-server API, "Guest Access".
"""

from twisted.logger import Logger

from homeserver.accounts import Accounts
from homeserver.clock import Clock, TokenSource
from homeserver.guests import Guests
from homeserver.sessions import Login, NewDevice, Sessions, random_letters
from schema.errors import (
    Forbidden,
    GuestAccessForbidden,
    InvalidParam,
    MissingParam,
    NotFound,
    UnknownToken,
    UserLocked,
)
from storage import guests as stored
from storage.store import Store
from storage.transaction import WriteTransaction

DAY_MS = 24 * 3600 * 1000
IDLE_DAYS = 30
GRACE_MS = 12 * 3600 * 1000
"""After a start nobody is idle for so long: the server may have been switched off."""

PORTION = 10
"""Accounts per run, so that nobody's message waits long behind them."""


class GuestAccounts:
    """Opens and closes them, if the organizer lets guests in."""

    _log = Logger()

    def __init__(
        self,
        store: Store,
        server_name: str,
        clock: Clock,
        random_token: TokenSource,
        guests: Guests,
        accounts: Accounts,
        sessions: Sessions,
        *,
        are_welcome: bool,
    ) -> None:
        """Unless guests ``are_welcome`` there are no new ones; those who are here stay."""
        self._store = store
        self._server_name = server_name
        self._clock = clock
        self._random_token = random_token
        self._accounts = accounts
        self._sessions = sessions
        self._are_welcome = are_welcome
        self._began = clock()
        self.guests = guests

    def check_welcome(self) -> None:
        """Refuse whoever comes as a guest where there are none.

        Raises:
            GuestAccessForbidden: there are none here.
        """
        if not self._are_welcome:
            raise GuestAccessForbidden("There are no guests on this server; ask for an account")

    async def open(self, device_name: str | None, address: str) -> Login:
        """A new account without a password, under a name by chance, with its only device.

        Raises:
            GuestAccessForbidden: there are no guests here.
            InvalidParam: the name of the device cannot be stored.
        """
        self.check_welcome()
        user_id = f"@{random_letters(self._random_token, 12)}:{self._server_name}"
        device = NewDevice(None, device_name, address)
        login = await self._accounts.create(
            user_id, None, device, enter=self.guests.add, is_person=False
        )
        assert login is not None
        return login

    async def owner(self, token: str, username: str | None, address: str) -> str:
        """The guest with this access token, who wants a full account under the same name.

        Raises:
            Forbidden: it is nobody's, or not a guest's.
            MissingParam, InvalidParam: ``username`` is not the guest's.
        """
        try:
            requester = await self._sessions.requester(token, address)
        except (UnknownToken, UserLocked) as error:
            # Not 401: to a client that signs up it means that more authentication is needed.
            raise Forbidden(f"The `guest_access_token` cannot be used: {error}") from None
        if not requester.is_guest:
            raise Forbidden("The `guest_access_token` belongs to a full account already")
        if not username:
            raise MissingParam("The `username` of the guest is missing")
        if f"@{username.lower()}:{self._server_name}" != requester.user_id:
            raise InvalidParam(
                "A guest who gets a full account keeps the name: `username` must be the guest's"
            )
        return requester.user_id

    async def close_idle(self) -> int:
        """Close some of the accounts to which nobody has come back; how many there were.

        To be called from time to time, after what was seen has been written down.
        """
        now = self._clock()
        if now - self._began < GRACE_MS:
            return 0
        before = now - IDLE_DAYS * DAY_MS
        idle = await self._store.read(lambda txn: stored.idle_since(txn, before, PORTION))

        def check_guest(txn: WriteTransaction, user_id: str) -> None:
            if not stored.is_guest(txn, user_id):
                raise NotFound("The account has become a full one")

        for user_id in idle:
            try:
                await self._accounts.deactivate(user_id, erase=False, check=check_guest)
            except NotFound:
                continue
        if idle:
            self._log.info(
                "Closed {count} accounts of guests who had not been here for {days} days",
                count=len(idle),
                days=IDLE_DAYS,
            )
        return len(idle)
