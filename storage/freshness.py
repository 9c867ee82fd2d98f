"""Which keys changed after a position? Answered from memory, so the live edge makes no query."""

from collections.abc import Hashable


class Freshness:
    """The newest position at which each key changed, since this process started.

    Holds one number per key that changed, so its keys must be things whose number is bounded:
    people, devices, rooms.
    """

    def __init__(self, floor: int = 0) -> None:
        """``floor`` is where the stream was when this started to follow it."""
        self._floor = self.newest = floor
        """The newest position of all: nothing has changed after it."""
        self._positions: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def touch(self, key: Hashable, position: int) -> None:
        """``key`` changed at ``position``."""
        self._positions[key] = self.newest = position

    def may_have_changed(self, key: Hashable, since: int) -> bool:
        """False is certain. True may be a false alarm: ask the database."""
        return self._positions.get(key, self._floor) > since
