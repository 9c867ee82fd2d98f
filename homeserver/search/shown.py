"""How a page of results is shown to the person who asked."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.rooms.client_events import Viewer
from homeserver.rooms.history import History
from homeserver.rooms.visibility import Sight
from homeserver.search.batch import Group
from homeserver.search.index import texts_in
from homeserver.search.page import Page, Result
from homeserver.search.wish import Wish
from homeserver.search.words import highlights, terms_of
from homeserver.sync.token import room_token
from storage.events import Event


@frozen
class Shown:
    """Puts answers together: events with their bundled aggregations, context, state, groups."""

    history: History

    async def answer(
        self, viewer: Viewer, wish: Wish, page: Page, sights: Mapping[str, Sight]
    ) -> dict[str, Any]:
        """The category ``room_events`` of an answer."""
        events = await self._events(viewer, page, sights)
        term_count = len(terms_of(wish.search_term))
        answer: dict[str, Any] = {
            "count": page.count,
            "highlights": highlights(
                [text for result in page.results for text in _texts(result)], wish.search_term
            ),
            "results": [
                {
                    "rank": term_count / max(result.hit.length, term_count),
                    "result": events[result.event.event_id],
                    **_context(wish, result, events),
                }
                for result in page.results
            ],
        }
        if wish.with_state:
            room_ids = dict.fromkeys(result.hit.room_id for result in page.results)
            answer["state"] = {
                room_id: await self.history.state(viewer, room_id) for room_id in room_ids
            }
        if wish.group_by:
            answer["groups"] = {key: _groups(key, page) for key in wish.group_by}
        if page.next_batch is not None:
            answer["next_batch"] = str(page.next_batch)
        return answer

    async def _events(
        self, viewer: Viewer, page: Page, sights: Mapping[str, Sight]
    ) -> dict[str, Any]:
        """Everything that is shown, by event id."""
        by_room: dict[str, dict[str, Event]] = defaultdict(dict)
        for result in page.results:
            by_room[result.hit.room_id] |= {event.event_id: event for event in result.events}
        shown: dict[str, Any] = {}
        for room_id, events in by_room.items():
            texts = await self.history.show(viewer, events.values(), sights[room_id])
            shown |= zip(events, texts, strict=True)
        return shown


def _texts(result: Result) -> list[str]:
    """What the words were found in."""
    content = result.text.content
    if result.text is not result.event:
        content = content["m.new_content"]
    return texts_in(result.event.type, content)


def _context(wish: Wish, result: Result, events: Mapping[str, Any]) -> dict[str, Any]:
    if wish.surroundings is None:
        return {}
    context: dict[str, Any] = {
        "events_before": [events[event.event_id] for event in result.before],
        "events_after": [events[event.event_id] for event in result.after],
        "start": room_token(result.events[0].seq - 1),
        "end": room_token(result.events[-1].seq),
    }
    if wish.surroundings.with_profiles:
        context["profile_info"] = {
            sender: _profile(event) for sender, event in result.profiles.items()
        }
    return {"context": context}


def _profile(member: Event) -> dict[str, str]:
    content = member.content
    name, avatar = content.get("displayname"), content.get("avatar_url")
    profile = {"displayname": name} if isinstance(name, str) else {}
    if isinstance(avatar, str) and avatar.startswith("mxc://"):
        profile["avatar_url"] = avatar
    return profile


def _groups(key: str, page: Page) -> dict[str, Any]:
    """The results of the page by room or sender; a group with more on later pages says so."""
    groups: dict[str, dict[str, Any]] = {}
    for result in page.results:
        value = result.hit.room_id if key == "room_id" else result.hit.sender
        group = groups.setdefault(value, {"order": len(groups) + 1, "results": []})
        group["results"].append(result.event.event_id)
    for value, group in groups.items():
        batch = page.more_of.get(Group(key, value))
        if batch is not None:
            group["next_batch"] = str(batch)
    return groups
