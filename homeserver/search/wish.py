"""What somebody wants to find, and what they want to see of it."""

from collections.abc import Collection

from attrs import frozen

from homeserver.sync.filters import RoomEventFilter


@frozen
class Surroundings:
    """How many events before and after each result, and whether with the names of that time."""

    before: int
    after: int
    with_profiles: bool


@frozen
class Wish:
    """One search."""

    search_term: str
    keys: Collection[str]
    """Some of ``body``, ``name`` and ``topic``."""
    wanted: RoomEventFilter
    recent: bool
    """The most recent results first; otherwise the most relevant."""
    surroundings: Surroundings | None
    with_state: bool
    group_by: Collection[str]
    """Some of ``room_id`` and ``sender``."""
