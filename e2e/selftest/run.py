"""The order of the steps, and what comes of a whole run."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_hex, token_urlsafe
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError

from e2e.selftest.client import Client, undisturbed
from e2e.selftest.faults import Fault
from e2e.selftest.group import Group, Progress
from e2e.selftest.identities import add_device, verify_each_other
from e2e.selftest.keys import claim_keys, publish_keys, query_keys, sync_first, use_up_keys
from e2e.selftest.ledger import Ledger
from e2e.selftest.rooms import make_room, rotate_room_key, say_something, share_room_key
from e2e.selftest.sign_up import Registration, clean_up, sign_up

PATIENCE_SECONDS = 20.0
SPARE_CONNECTIONS = 16

Step = Callable[[Group], Awaitable[None]]

STEPS: list[tuple[str, Step]] = [
    ("Publish keys", publish_keys),
    ("Make a room, all join", make_room),
    ("First sync", sync_first),
    ("Query and verify keys", query_keys),
    ("Two verify each other", verify_each_other),
    ("Claim a key of each", claim_keys),
    ("Share the room key", share_room_key),
    ("Write and read", say_something),
    ("One leaves, new key", rotate_room_key),
    ("Add a device", add_device),
    ("Use up all keys", use_up_keys),
]


@frozen
class Outcome:
    """What came of a run."""

    ledger: Ledger
    faults: list[str]
    """What was wrong, each with the step in which it showed; empty if all was well."""


async def run(
    reactor: Any,
    url: str,
    registration: Registration,
    progress: Progress,
    *,
    members: int,
    patience: float = PATIENCE_SECONDS,
) -> Outcome:
    """Run the whole self-test against the server at ``url``.

    There must be at least three ``members``: one who writes, one who reads, one who leaves.

    The first fault ends it, and so does being cancelled; the accounts are closed in any case.
    ``progress`` hears what is going on. Whatever takes longer than ``patience`` seconds to arrive
    counts as lost.
    """
    ledger = Ledger()
    client = Client(reactor, url, ledger, members + SPARE_CONNECTIONS)
    group = Group(
        client=client,
        ledger=ledger,
        progress=progress,
        size=members,
        name=f"selftest-{token_hex(3)}",
        password=token_urlsafe(24),
        patience=patience,
    )
    steps: list[tuple[str, Step]] = [
        (f"Sign up {members} people", lambda group: sign_up(group, registration)),
        *STEPS,
    ]
    last: tuple[str, Step] = ("Leave, close accounts", clean_up)
    faults: list[str] = []

    async def take(title: str, step: Step, number: int) -> None:
        progress.begins(title, number, len(steps) + 1)
        try:
            with ledger.step(title):
                await step(group)
        except Fault as fault:
            faults.append(f"{title}: {fault}")
        except CancelledError:
            faults.append(f"{title}: interrupted")

    try:
        for number, (title, step) in enumerate(steps, 1):
            await take(title, step, number)
            if faults:
                break
    finally:
        if group.members:
            with suppress(CancelledError):
                await undisturbed(take(*last, len(steps) + 1))
        await client.close()
    return Outcome(ledger, faults)
