"""The stream: one sequence of positions for everything durable that /sync shows.

A change is announced inside the transaction that stores it and becomes public only after the
commit, on the reactor thread and in the order of positions. Caches follow the stream first, sync
waiters last, so whoever wakes finds every cache up to date.
"""

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen


@frozen(kw_only=True)
class Change:
    """Something durable happened at ``position``; it may show in the /sync of those it names.

    ``users`` see it themselves, ``rooms`` means everyone who is joined there. Each feature has its
    own subclass that says what happened.
    """

    position: int
    users: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()


Follower = Callable[[Sequence[Change]], None]


class Stream:
    """Where the stream is, and who follows it. Lives on the reactor thread."""

    def __init__(self) -> None:
        self.position = 0
        self._gaps: tuple[tuple[int, int], ...] = ()
        self._followers: list[Follower] = []

    def follow(self, follower: Follower) -> None:
        """Have ``follower`` called with every batch of changes, after those who came before it."""
        self._followers.append(follower)

    def start_at(self, position: int, gaps: Iterable[tuple[int, int]] = ()) -> None:
        """Take up the stream where the database says that it ended.

        ``gaps`` are the first and last positions of what was left out after a restoration.
        """
        self.position = position
        self._gaps = tuple(gaps)

    def has_been_at(self, position: int) -> bool:
        """Whether a token may lie there: not one of a time that the database does not know."""
        return position <= self.position and not any(
            first <= position <= last for first, last in self._gaps
        )

    def publish(self, position: int, changes: Sequence[Change]) -> None:
        """Make committed changes public. ``position`` is the last one that the commit used."""
        self.position = position
        if changes:
            for follower in self._followers:
                follower(changes)
