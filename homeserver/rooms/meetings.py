"""Who has met whom in some rooms, and who has parted: told by their membership events."""

from collections.abc import Callable, Collection, Iterable

import orjson

from storage.members import Step

Joined = Callable[[str], Collection[str]]


def meetings(user_id: str, steps: Iterable[Step], joined: Joined) -> tuple[set[str], set[str]]:
    """Those who came together with ``user_id`` in a room during ``steps``, and those who parted.

    ``steps`` are in order; ``joined`` tells who is in a room after the last of them. Somebody may
    be among both.
    """
    present: dict[str, set[str]] = {}
    met: set[str] = set()
    parted: set[str] = set()
    for step in reversed(list(steps)):
        people = present.setdefault(step.room_id, set(joined(step.room_id)))
        was_in, is_in = (membership == "join" for membership in memberships_of(step))
        if was_in == is_in:
            continue
        people.discard(step.user_id)
        others = people if step.user_id == user_id else {step.user_id}
        if step.user_id == user_id or user_id in people:
            (met if is_in else parted).update(others)
        if was_in:
            people.add(step.user_id)
    return met - {user_id}, parted - {user_id}


def memberships_of(step: Step) -> tuple[str, str]:
    """The membership before a step, and after it."""
    unsigned = orjson.loads(f"{{{step.unsigned}}}")
    before = unsigned.get("prev_content", {}).get("membership", "leave")
    return before, orjson.loads(step.json)["content"].get("membership", "leave")
