"""A service's token becomes one of its users (Application Service API, "Identity assertion")."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from homeserver.accounts import Accounts
from homeserver.bridges.registration import Registration
from homeserver.bridges.services import Services
from homeserver.devices import AccountChanged
from homeserver.last_seen import LastSeen
from homeserver.requester import Requester
from schema.errors import Exclusive, Forbidden, UnknownDevice, UserDeactivated, UserLocked
from storage.accounts import find_account
from storage.devices import find_device
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction

MAX_KNOWN = 10_000
NO_DEVICE = ""


class Masquerade:
    """Says as whom a service acts, mostly from memory. Follows the stream to forget in time."""

    def __init__(
        self,
        store: Store,
        services: Services,
        accounts: Accounts,
        last_seen: LastSeen,
        called: Callable[[str], None],
    ) -> None:
        """``called`` hears the id of each service that sends a request."""
        self._store = store
        self._services = services
        self._accounts = accounts
        self._last_seen = last_seen
        self._called = called
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._known)

    def follow(self, changes: Sequence[Change]) -> None:
        """Follower of the stream: forget accounts that changed."""
        changed = {each.user_id for each in changes if isinstance(each, AccountChanged)}
        if changed:
            self._forgotten += 1
            for key in [key for key in self._known if key[0] in changed]:
                del self._known[key]

    async def create_senders(self) -> None:
        """Give every service its own user, if it has none yet."""
        for service in self._services:
            if await self._accounts.find(service.sender) is None:
                await self._accounts.create(service.sender, None, is_person=False)

    def service(self, token: str) -> Registration | None:
        """The service whose token this is."""
        service = self._services.find(token)
        if service is not None:
            self._called(service.id)
        return service

    async def requester(
        self,
        service: Registration,
        user_id: str | None,
        device_id: str | None,
        address: str,
        *,
        even_locked: bool = False,
    ) -> Requester:
        """As whom the service acts: as its own user unless it names one, perhaps on a device.

        Never as an administrator, whatever the user is: a service's token opens no more than its
        namespaces.

        Raises:
            Forbidden: the user is not one of the service's, or does not exist.
            UnknownDevice: the user has no such device.
            UserLocked, UserDeactivated: the account cannot be used.
        """
        acts_as = user_id or service.sender
        if not service.covers_user(acts_as):
            raise Forbidden("The application service cannot act as this user: it is none of its")
        device = device_id or NO_DEVICE
        if (acts_as, device) in self._known:
            self._known.move_to_end((acts_as, device))
        else:
            await self._check(acts_as, device, even_locked)
        if device:
            self._last_seen.note(acts_as, device, address)
        return Requester(
            acts_as,
            device,
            application_service=service.id,
            is_person=not service.reserves_user(acts_as),
            is_rate_limited=service.is_rate_limited and acts_as != service.sender,
        )

    async def user_to_log_in(self, service: Registration, name: str) -> str:
        """The user id of a name that the service wants to log in as.

        Raises:
            Exclusive: it is outside the service's namespaces.
            Forbidden, UserLocked, UserDeactivated: the account cannot be used.
        """
        user_id = self._accounts.user_id_of(name)
        if user_id is None or not service.covers_user(user_id):
            raise Exclusive("This user is outside the namespaces of the application service")
        await self._check(user_id, NO_DEVICE, even_locked=False)
        return user_id

    async def _check(self, user_id: str, device_id: str, even_locked: bool) -> None:
        forgotten = self._forgotten

        def work(txn: Transaction) -> bool:
            account = find_account(txn, user_id)
            if account is None:
                raise Forbidden("The application service has not registered this user")
            if account.deactivated_at is not None:
                raise UserDeactivated("This account has been closed")
            if account.locked and not even_locked:
                raise UserLocked()
            if device_id and find_device(txn, user_id, device_id) is None:
                raise UnknownDevice("The user has no such device")
            return not account.locked

        # What was read before somebody was forgotten may be what had to be forgotten.
        if await self._store.read(work) and forgotten == self._forgotten:
            self._known[user_id, device_id] = None
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
