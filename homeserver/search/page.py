"""A page of results, read from the database in one go, with everything that is shown of it."""

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from homeserver.rooms.visibility import Sight
from homeserver.search.batch import Batch, Group
from homeserver.search.wish import Surroundings, Wish
from homeserver.sync.timeline import limit_of
from storage import events, search
from storage.events import Event
from storage.search import Extent, Hit, Place, Query
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
    """How many there are on all pages, or about how many."""
    next_batch: Batch | None = None
    more_of: Mapping[Group, Batch] = {}
    """What comes next in those groups that have more, or may have."""


def read(
    txn: Transaction, query: Query, wish: Wish, batch: Batch | None, sights: Mapping[str, Sight]
) -> Page:
    """The first page, or what comes next after it."""
    limit = max(1, min(limit_of(wish.wanted), MAX_PAGE))
    if batch is None:
        hits, extent = search.find(txn, query, recent=wish.recent, limit=limit + 1)
    else:
        extent = batch.extent
        hits = search.find_after(
            txn, query, batch.place, extent, recent=wish.recent, limit=limit + 1
        )
    shown = hits[:limit]
    results = _with_events(txn, shown, wish.surroundings, sights)
    count = estimate(extent, query.upto)
    if len(hits) <= limit:
        return Page(results, count)
    place = Place(shown[-1].length, shown[-1].position)
    more_of = {}
    if wish.group_by:
        # Of a frequent word, whoever has a hit on this page is taken to have more of them.
        behind = (
            [(hit.room_id, hit.sender) for hit in shown]
            if extent.first
            else search.find_groups(txn, query, place, recent=wish.recent)
        )
        for room_id, sender in behind:
            for each in (Group("room_id", room_id), Group("sender", sender)):
                more_of[each] = Batch(query.upto, extent, place, each)
    group = None if batch is None else batch.group
    return Page(results, count, Batch(query.upto, extent, place, group), more_of)


def estimate(extent: Extent, upto: int) -> int:
    """How many hits there are, if what was not counted is as frequent as what was."""
    if extent.first == 0:
        return extent.count
    return extent.count * upto // max(1, upto - extent.first)


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
    return _with_profiles(txn, results, sights) if wanted.with_profiles else results


def _shown(
    found: Mapping[tuple[str, int], Event], sight: Sight, room_id: str, seqs: Sequence[int]
) -> list[Event]:
    events = [found[room_id, seq] for seq in seqs]
    return [event for event in events if not sight.hides(event)]


def _with_profiles(
    txn: Transaction, results: Sequence[Result], sights: Mapping[str, Sight]
) -> list[Result]:
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
                sender: sights[room_id].seen(event)
                for (room_id, sender, seq), event in found.items()
                if room_id == result.hit.room_id and seq == result.events[-1].seq
            },
        )
        for result in results
    ]
