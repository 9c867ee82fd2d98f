"""Which keys changed after a position? Answered from memory, so the live edge makes no query."""

from collections.abc import Hashable


class Freshness:
    """The newest position at which each key changed, since this process started.

    Holds one number per key that changed, so its keys must be things whose number is bounded:
    people, devices, rooms.
    """

    def __init__(self, floor: int = 0) -> None:
        """``floor`` is where the stream was when this started to follow it."""
        self._floor = floor
        self._newest: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def touch(self, key: Hashable, position: int) -> None:
        """``key`` changed at ``position``."""
        self._newest[key] = position

    def may_have_changed(self, key: Hashable, since: int) -> bool:
        """False is certain. True may be a false alarm: ask the database."""
        return self._newest.get(key, self._floor) > since
