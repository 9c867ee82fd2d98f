"""Which thread an event is in (client-server API, "Threaded read receipts")."""

from storage import push
from storage.events import Event
from storage.push import MAIN
from storage.transaction import Transaction


def direct_thread(event: Event) -> str | None:
    """The root of the thread that an event belongs to by what it says itself."""
    root = event.relates_to if event.rel_type == "m.thread" else None
    return root if root is not None and root.startswith("$") else None


def indirect_thread(txn: Transaction, event: Event) -> str | None:
    """The root of the thread that an event is in since what it relates to is in it."""
    if event.relates_to is None:
        return None
    return push.find_thread(txn, event.room_id, event.relates_to)


def thread_of(txn: Transaction, event: Event) -> str:
    """The root of the thread that an event is in, or ``main``; roots are in the main timeline."""
    return direct_thread(event) or indirect_thread(txn, event) or MAIN
