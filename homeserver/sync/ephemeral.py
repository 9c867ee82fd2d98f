"""The count of what lives in memory only: typing and presence.

It begins at the time of the start, in milliseconds, so a token from before a restart is always
lower than everything after it, and its holder gets what is true now.
"""

from collections.abc import Callable, Collection

from homeserver.clock import Clock

Wake = Callable[[Collection[str]], None]


class Ephemeral:
    """Gives numbers to ephemeral changes and wakes those who see them."""

    def __init__(self, clock: Clock, wake: Wake) -> None:
        self.position = clock()
        self._wake = wake
        self._listeners: list[Wake] = []

    def follow(self, listener: Wake) -> None:
        """Have ``listener`` called with those who see a change, just before others can read it."""
        self._listeners.append(listener)

    def changed(self, users: Collection[str]) -> int:
        """Something changed that ``users`` see; the number of the change."""
        self.position += 1
        self._wake(users)
        for listener in self._listeners:
            listener(users)
        return self.position
