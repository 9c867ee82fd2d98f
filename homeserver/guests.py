"""Who is a guest, and what guests may do in rooms (client-server API, "Guest Access").

Which requests a guest may send at all stands on the routes. In memory: one entry per guest.
"""

from collections.abc import Sequence

from attrs import frozen

from homeserver.devices import announce_account
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.room import Room
from schema.errors import Forbidden, GuestAccessForbidden
from storage import accounts, guests
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction

_MEMBER = "m.room.member"


@frozen(kw_only=True)
class GuestChanged(Change):
    """``user_id`` is a guest now, or no longer. Nobody's /sync shows it."""

    user_id: str
    is_guest: bool


class Guests:
    """The guests whose accounts are open. Follows the stream."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guests: set[str] = set()

    def load(self) -> None:
        """Fill the memory; once, before the reactor runs."""
        self._guests = set(self._store.load(guests.everybody))

    def __len__(self) -> int:
        return len(self._guests)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, GuestChanged):
                if change.is_guest:
                    self._guests.add(change.user_id)
                else:
                    self._guests.discard(change.user_id)

    def add(
        self, txn: WriteTransaction, user_id: str, password: str | None, is_admin: bool, now: int
    ) -> bool:
        """Inside a transaction: create a guest's account; False when the name is taken."""
        if not accounts.add_account(txn, user_id, password, is_admin, now):
            return False
        guests.mark(txn, user_id)
        self._changed(txn, user_id, is_guest=True)
        return True

    def complete(
        self, txn: WriteTransaction, user_id: str, password: str | None, is_admin: bool, now: int
    ) -> bool:
        """Inside a transaction: make it a full account, with all that it has.

        Raises:
            Forbidden: it is no guest's any more.
        """
        if not guests.complete(txn, user_id, password, is_admin):
            raise Forbidden("This is not a guest any more: the account is closed, or a full one")
        self._changed(txn, user_id, is_guest=False)
        announce_account(txn, user_id)
        return True

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: the account ends."""
        if self._is_guest(txn, user_id):
            self._changed(txn, user_id, is_guest=False)

    def check_event(self, txn: WriteTransaction, room: Room, draft: Draft) -> None:
        """Refuse an event that its sender may not send as a guest.

        Raises:
            GuestAccessForbidden: it is about who is in the room, and more than that a guest
                leaves, or comes into a room that lets guests in.
        """
        if draft.type != _MEMBER or not self._is_guest(txn, draft.sender):
            return
        membership = draft.content.get("membership")
        if draft.state_key != draft.sender or membership not in ("join", "leave"):
            raise GuestAccessForbidden(
                "A guest can join and leave, but not knock, nor invite or remove anybody;"
                " get an account for that"
            )
        comes_in = membership == "join" and room.state.membership(draft.sender) != "join"
        if comes_in and not lets_guests_in(room):
            raise GuestAccessForbidden("This room does not let guests in; get an account to join")

    def leaving(self, txn: WriteTransaction, before: Room, after: Room) -> list[Draft]:
        """What has to happen at once when a room no longer lets guests in: those there leave."""
        if not lets_guests_in(before) or lets_guests_in(after):
            return []
        return [
            Draft(_MEMBER, user_id, after.room_id, {"membership": "leave"}, user_id)
            for user_id, membership in after.state.memberships().items()
            if membership == "join" and self._is_guest(txn, user_id)
        ]

    def _is_guest(self, txn: WriteTransaction, user_id: str) -> bool:
        return bool(txn.overlay.get(_key(user_id), user_id in self._guests))

    def _changed(self, txn: WriteTransaction, user_id: str, *, is_guest: bool) -> None:
        txn.overlay[_key(user_id)] = is_guest
        change = GuestChanged(position=txn.position(), user_id=user_id, is_guest=is_guest)
        txn.announce(change)


def lets_guests_in(room: Room) -> bool:
    """Whether guests may join, where the join rule lets them (``m.room.guest_access``)."""
    return room.state.text("m.room.guest_access", "guest_access") == "can_join"


def _key(user_id: str) -> tuple[str, str]:
    """Where work that is not public yet says who is a guest."""
    return ("guest", user_id)
