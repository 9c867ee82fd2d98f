"""A page of results, read from the database in one go, with everything that is shown of it."""

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from homeserver.rooms.visibility import Sight
from homeserver.search.batch import Batch, Group
from homeserver.search.wish import Surroundings, Wish
from homeserver.sync.timeline import limit_of
from storage import events, search
from storage.events import Event
from storage.search import Hit, Place, Query
from storage.transaction import Transaction

MAX_PAGE = 50


@frozen
class Result:
    """A hit and what surrounds it, oldest first."""

    hit: Hit
    event: Event
    text: Event
    """The event that holds the words: the newest edit, or the same."""
    before: Sequence[Event] = ()
    after: Sequence[Event] = ()
    profiles: Mapping[str, Event] = {}
    """The membership events of those who sent all this, as they were then."""

    @property
    def events(self) -> list[Event]:
        """The event and what surrounds it."""
        return [*self.before, self.event, *self.after]


@frozen
class Page:
    """Some results, and what there is beside them."""

    results: Sequence[Result] = ()
    count: int = 0
    """How many there are on all pages."""
    next_batch: Batch | None = None
    more_of: Mapping[Group, Batch] = {}
    """What comes next in those groups that have more."""


def read(
    txn: Transaction, query: Query, wish: Wish, batch: Batch | None, sights: Mapping[str, Sight]
) -> Page:
    """The first page, or what comes next after it."""
    place, group = (None, None) if batch is None else (batch.place, batch.group)
    limit = max(1, min(limit_of(wish.wanted), MAX_PAGE))
    hits, count = search.find(txn, query, recent=wish.recent, after=place, limit=limit + 1)
    results = _with_events(txn, hits[:limit], wish.surroundings, sights)
    if len(hits) <= limit:
        return Page(results, count)
    last = Place(hits[limit - 1].length, hits[limit - 1].position)
    more_of = {}
    if wish.group_by:
        for room_id, sender in search.find_groups(txn, query, recent=wish.recent, after=last):
            for each in (Group("room_id", room_id), Group("sender", sender)):
                more_of[each] = Batch(query.upto, last, each)
    return Page(results, count, Batch(query.upto, last, group), more_of)


def around(sight: Sight, seq: int, before: int, after: int) -> tuple[list[int], list[int]]:
    """The numbers of the nearest events on either side that may be seen, in order."""
    older: list[int] = []
    for first, last in reversed(sight.stretches):
        top = min(last, seq - 1)
        older += range(top, max(first, top - (before - len(older)) + 1) - 1, -1)
    newer: list[int] = []
    for first, last in sight.stretches:
        bottom = max(first, seq + 1)
        newer += range(bottom, min(last, bottom + (after - len(newer)) - 1) + 1)
    return older[::-1], newer


def _with_events(
    txn: Transaction,
    hits: Sequence[Hit],
    surroundings: Surroundings | None,
    sights: Mapping[str, Sight],
) -> list[Result]:
    wanted = surroundings or Surroundings(0, 0, with_profiles=False)
    near = {
        hit.position: around(sights[hit.room_id], hit.seq, wanted.before, wanted.after)
        for hit in hits
    }
    found = events.at_places(
        txn,
        {
            (hit.room_id, seq)
            for hit in hits
            for seq in (hit.seq, hit.text_seq, *near[hit.position][0], *near[hit.position][1])
        },
    )
    results = []
    for hit in hits:
        older, newer = near[hit.position]
        results.append(
            Result(
                hit,
                found[hit.room_id, hit.seq],
                found[hit.room_id, hit.text_seq],
                _shown(found, sights[hit.room_id], hit.room_id, older),
                _shown(found, sights[hit.room_id], hit.room_id, newer),
            )
        )
    return _with_profiles(txn, results) if wanted.with_profiles else results


def _shown(
    found: Mapping[tuple[str, int], Event], sight: Sight, room_id: str, seqs: Sequence[int]
) -> list[Event]:
    events = [found[room_id, seq] for seq in seqs]
    return [event for event in events if not sight.hides(event)]


def _with_profiles(txn: Transaction, results: Sequence[Result]) -> list[Result]:
    """As people were called when the last event that is shown with a result came."""
    wanted = {
        (result.hit.room_id, event.sender, result.events[-1].seq)
        for result in results
        for event in result.events
    }
    found = events.members_at(txn, wanted)
    return [
        evolve(
            result,
            profiles={
                sender: event
                for (room_id, sender, seq), event in found.items()
                if room_id == result.hit.room_id and seq == result.events[-1].seq
            },
        )
        for result in results
    ]
