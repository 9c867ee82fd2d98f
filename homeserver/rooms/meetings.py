"""Who came into somebody's view in some rooms, and who went: told by their membership events.

Whoever has joined a room has in view who has joined it too, and who is invited: their clients may
send to both (client-server API, "Tracking the device list for a user").
"""

from collections.abc import Callable, Collection, Iterable

import orjson

from storage.members import Step

IN_VIEW = ("join", "invite")

People = Callable[[str], Collection[str]]


def meetings(user_id: str, steps: Iterable[Step], in_view: People) -> tuple[set[str], set[str]]:
    """Those who came into the view of ``user_id`` in a room during ``steps``, and those who went.

    Whoever is invited and then joins came twice. ``steps`` are in order; ``in_view`` tells who is
    in a room or invited after the last of them, and of ``user_id`` only whether they have joined.
    Somebody may be among both.
    """
    present: dict[str, set[str]] = {}
    met: set[str] = set()
    parted: set[str] = set()
    for step in reversed(list(steps)):
        people = present.setdefault(step.room_id, set(in_view(step.room_id)))
        before, after = memberships_of(step)
        if before == after:
            continue
        if step.user_id == user_id:
            people.discard(user_id)
            if after == "join":
                met |= people
            if before == "join":
                parted |= people
                people.add(user_id)
            continue
        if user_id in people:
            if after in IN_VIEW:
                met.add(step.user_id)
            elif before in IN_VIEW:
                parted.add(step.user_id)
        if before in IN_VIEW:
            people.add(step.user_id)
        else:
            people.discard(step.user_id)
    return met - {user_id}, parted - {user_id}


def memberships_of(step: Step) -> tuple[str, str]:
    """The membership before a step, and after it. Redaction leaves both."""
    return "leave" if step.before is None else _membership(step.before), _membership(step.json)


def _membership(json: str) -> str:
    membership: str = orjson.loads(json)["content"].get("membership", "leave")
    return membership
