"""Who is suspended, and what that means (client-server API, "Account suspension").

Somebody who is suspended reads on, and may go and take their own words back. In memory: one entry
per suspended account.
"""

from collections.abc import Sequence

from attrs import frozen

from homeserver.rooms.auth_rules import Draft
from schema.errors import UserSuspended
from storage import suspensions
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction


@frozen(kw_only=True)
class SuspensionChanged(Change):
    """``user_id`` has been suspended, or is no longer. Nobody's /sync shows it."""

    user_id: str
    suspended: bool


class Suspensions:
    """The suspended accounts. Follows the stream."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._suspended: set[str] = set()

    def load(self) -> None:
        """Fill the memory; once, before the reactor runs."""
        self._suspended = set(self._store.load(suspensions.suspended_accounts))

    def __len__(self) -> int:
        return len(self._suspended)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, SuspensionChanged):
                if change.suspended:
                    self._suspended.add(change.user_id)
                else:
                    self._suspended.discard(change.user_id)

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._suspended

    def set(self, txn: WriteTransaction, user_id: str, suspended: bool) -> None:
        """Inside a transaction: suspend an account, or lift that."""
        suspensions.set_suspended(txn, user_id, suspended)
        txn.announce(
            SuspensionChanged(position=txn.position(), user_id=user_id, suspended=suspended)
        )

    def check(self, user_id: str) -> None:
        """Refuse to do something in the name of somebody who is suspended.

        Raises:
            UserSuspended: they are.
        """
        if user_id in self._suspended:
            raise UserSuspended()

    def check_event(self, draft: Draft) -> None:
        """The same for an event; ``check_redaction`` tells whose words are taken back.

        Raises:
            UserSuspended: its sender is.
        """
        leaves = draft.type == "m.room.member" and draft.content.get("membership") == "leave"
        if leaves and draft.state_key == draft.sender:
            return
        if draft.type != "m.room.redaction":
            self.check(draft.sender)

    def check_redaction(self, sender: str, redacted_sender: str) -> None:
        """Refuse to redact what somebody else has sent.

        Raises:
            UserSuspended: ``sender`` is.
        """
        if sender != redacted_sender:
            self.check(sender)
