"""Sessions: access tokens, what they allow, and how they are renewed and end.

Tokens are random; the database has only their SHA-256. A session's tokens come in generations: a
login makes one, each refresh makes the next. The next one counts from the moment that its client
is seen to have it; then everything older ends (client-server API, "Refreshing access tokens").
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256

from attrs import frozen

from homeserver.clock import Clock, TokenSource
from homeserver.devices import AccountChanged, Devices, announce_account, check_device_name
from homeserver.last_seen import LastSeen
from homeserver.requester import Requester
from schema.errors import UnknownToken, UserDeactivated, UserLocked
from schema.ids import device_id as checked_device_id
from storage.accounts import find_account
from storage.devices import advance_generation
from storage.sessions import (
    AccessToken,
    RefreshToken,
    add_access_token,
    add_refresh_token,
    expire_access_tokens,
    find_access_token,
    find_refresh_token,
    remove_access_tokens,
    remove_older_access_tokens,
    remove_older_refresh_tokens,
    remove_refresh_tokens,
)
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction

ACCESS_PREFIX, REFRESH_PREFIX = "hs_", "hr_"
ACCESS_TOKEN_MS = 24 * 3600 * 1000
SPENT_KEPT = 10
"""How many generations of spent refresh tokens are remembered, to notice a thief."""
MAX_CACHED, MAX_UNKNOWN = 10_000, 2_000


@frozen
class NewDevice:
    """What a client says about the device that it logs in with."""

    device_id: str | None
    """None asks for a new one. Logging in on a known device ends its old tokens."""
    display_name: str | None
    address: str
    refreshes: bool = False
    """The client can refresh its access token, so it gets one that expires."""

    def check(self) -> None:
        """Refuse what cannot be stored.

        Raises:
            InvalidParam: the id or the name is too long, or holds U+0000.
        """
        if self.device_id is not None:
            checked_device_id(self.device_id)
        check_device_name(self.display_name)


@frozen
class Tokens:
    """What a client gets, once; from then on only hashes are known."""

    access_token: str
    refresh_token: str | None = None
    expires_in_ms: int | None = None


@frozen
class Login:
    """A session that has begun."""

    user_id: str
    device_id: str
    tokens: Tokens


@frozen
class _Known:
    requester: Requester
    expires_at: int | None
    locked: bool


class Sessions:
    """Says whose a token is, mostly from memory. Follows the stream to forget in time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random_token: TokenSource,
        devices: Devices,
        last_seen: LastSeen,
        *,
        access_token_ms: int = ACCESS_TOKEN_MS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random_token = random_token
        self._devices = devices
        self._last_seen = last_seen
        self._access_token_ms = access_token_ms
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._keys: dict[str, set[str]] = {}
        self._unknown: OrderedDict[str, None] = OrderedDict()
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._known)

    def follow(self, changes: Sequence[Change]) -> None:
        """Follower of the stream: forget accounts that changed."""
        for change in changes:
            if isinstance(change, AccountChanged):
                self._forgotten += 1
                for key in self._keys.pop(change.user_id, ()):
                    del self._known[key]

    async def requester(self, token: str, address: str, *, even_locked: bool = False) -> Requester:
        """Whose the access token is. From memory, unless it is new here.

        ``even_locked`` is for logging out, the only thing that a locked account can do.

        Raises:
            UnknownToken: nobody's, or not any more; with ``soft_logout`` when it has expired.
            UserLocked: the account is locked.
        """
        if not token.startswith(ACCESS_PREFIX):
            raise _unknown_token()
        key = _hash(token)
        known = self._known.get(key)
        if known is None:
            known = await self._load(key)
        else:
            self._known.move_to_end(key)
        if known.expires_at is not None and known.expires_at <= self._clock():
            raise UnknownToken("The access token has expired; refresh it", soft_logout=True)
        if known.locked and not even_locked:
            raise UserLocked()
        requester = known.requester
        self._last_seen.note(requester.user_id, requester.device_id, address)
        return requester

    async def log_in(self, user_id: str, device: NewDevice) -> Login:
        """Begin a session for somebody who has proved who they are.

        Raises:
            UserDeactivated, UserLocked: the account cannot be used.
            InvalidParam: the device id or its name cannot be stored.
            Forbidden: the device id belongs to a cross-signing key.
        """
        device.check()

        def work(txn: WriteTransaction) -> Login:
            account = find_account(txn, user_id)
            if account is None or account.deactivated_at is not None:
                raise UserDeactivated("This account has been closed")
            if account.locked:
                raise UserLocked()
            return self.begin(txn, user_id, device)

        return await self._store.write(work)

    def begin(self, txn: WriteTransaction, user_id: str, device: NewDevice) -> Login:
        """Make the device, if it is new, and its tokens; the device's older tokens end."""
        device_id = device.device_id or random_letters(self._random_token, 10).upper()
        generation = self._devices.add(txn, user_id, device_id, device.display_name, device.address)
        if device.device_id is not None:
            self._end_tokens(txn, user_id, device_id)
        tokens = self._issue(txn, user_id, device_id, generation, device.refreshes)
        return Login(user_id, device_id, tokens)

    async def refresh(self, refresh_token: str) -> Tokens:
        """The next access and refresh token for the holder of a refresh token.

        The old ones work until a new one is used, so a lost answer does no harm. A refresh token
        that comes back after that has been stolen or copied: the session ends, for its owner, too,
        who logs in again and keeps the device with its keys.

        Raises:
            UnknownToken: not a refresh token, or spent; with ``soft_logout`` when its device
                still exists, so that a new login keeps the keys.
            UserLocked: the account is locked.
        """
        key = _hash(refresh_token)

        def work(txn: WriteTransaction) -> Tokens | None:
            found = find_refresh_token(txn, key)
            if found is None:
                raise UnknownToken("The refresh token is not known here; log in again")
            if found.locked:
                raise UserLocked()
            user_id, device_id = found.user_id, found.device_id
            if found.generation < found.confirmed:
                self._spend_tokens(txn, found)
                return None
            self._confirm(txn, found)
            return self._issue(txn, user_id, device_id, found.generation + 1, True)

        tokens = await self._store.write(work)
        if tokens is None:
            raise UnknownToken(
                "The refresh token had been used already, so the session has ended; log in again",
                soft_logout=True,
            )
        return tokens

    async def _load(self, key: str) -> _Known:
        if key in self._unknown:
            raise _unknown_token()
        forgotten = self._forgotten
        token = await self._store.read(lambda txn: find_access_token(txn, key))
        if token is None:
            self._unknown[key] = None
            if len(self._unknown) > MAX_UNKNOWN:
                self._unknown.popitem(last=False)
            raise _unknown_token()
        if token.generation > token.confirmed:
            await self._store.write(lambda txn: self._confirm(txn, token))
        known = _Known(
            Requester(
                token.user_id,
                token.device_id,
                is_admin=token.is_admin,
                is_guest=token.is_guest,
            ),
            token.expires_at,
            token.locked,
        )
        # What was read before somebody was forgotten may be what had to be forgotten.
        if forgotten == self._forgotten:
            self._remember(key, known)
        return known

    def _remember(self, key: str, known: _Known) -> None:
        self._known[key] = known
        self._keys.setdefault(known.requester.user_id, set()).add(key)
        if len(self._known) > MAX_CACHED:
            oldest, forgotten = self._known.popitem(last=False)
            user_id = forgotten.requester.user_id
            self._keys[user_id].discard(oldest)
            if not self._keys[user_id]:
                del self._keys[user_id]

    # From here on: inside a transaction.

    def _issue(
        self,
        txn: WriteTransaction,
        user_id: str,
        device_id: str,
        generation: int,
        refreshes: bool,
    ) -> Tokens:
        access = ACCESS_PREFIX + self._random_token()
        lifetime = self._access_token_ms if refreshes else None
        expires_at = None if lifetime is None else self._clock() + lifetime
        add_access_token(txn, _hash(access), user_id, device_id, generation, expires_at)
        if not refreshes:
            return Tokens(access)
        refresh = REFRESH_PREFIX + self._random_token()
        add_refresh_token(txn, _hash(refresh), user_id, device_id, generation)
        return Tokens(access, refresh, lifetime)

    def _confirm(self, txn: WriteTransaction, token: AccessToken | RefreshToken) -> None:
        """The client has the token, so what is older than its generation ends."""
        device = (token.user_id, token.device_id)
        if advance_generation(txn, *device, token.generation):
            remove_older_access_tokens(txn, *device, token.generation)
            remove_older_refresh_tokens(txn, *device, token.generation - SPENT_KEPT)
            announce_account(txn, token.user_id)

    def _spend_tokens(self, txn: WriteTransaction, token: RefreshToken) -> None:
        """No token of the device is good any more, but each is remembered as one that was.

        To one that was the answer is ``soft_logout``; without it clients throw their keys away.
        """
        device = (token.user_id, token.device_id)
        expire_access_tokens(txn, *device, self._clock())
        # One generation may have been handed out that nobody has been seen to have.
        advance_generation(txn, *device, token.confirmed + 2)
        announce_account(txn, token.user_id)

    def _end_tokens(self, txn: WriteTransaction, user_id: str, device_id: str) -> None:
        remove_access_tokens(txn, user_id, [device_id])
        remove_refresh_tokens(txn, user_id, [device_id])
        announce_account(txn, user_id)


def random_letters(random_token: TokenSource, count: int) -> str:
    """A name that nobody has yet, up to 32 letters a-z. No secret."""
    digest = sha256(random_token().encode()).digest()
    return "".join(chr(97 + byte % 26) for byte in digest[:count])


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _unknown_token() -> UnknownToken:
    return UnknownToken("The access token is not known here; log in again")
