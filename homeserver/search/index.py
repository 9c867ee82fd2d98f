"""What can be found of an event, written down in the event's own transaction."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.rooms.room import Room
from homeserver.search.words import words_of
from storage import events, search
from storage.events import Event
from storage.search import Text
from storage.transaction import WriteTransaction

KEYS = {"m.room.message": "body", "m.room.name": "name", "m.room.topic": "topic"}
"""By type of event the key of the content that is searched ("Search Categories")."""


@frozen
class SearchIndex:
    """Client-server API, "Server Side Search": what is indexed.

    A message that is edited is found by its newest text, as it is shown, and not by what it said
    before. An edit that does not hold is a message like any other. Rooms with encryption are left
    out, as the specification has it, so nothing of them is written down.
    """

    def stored(self, txn: WriteTransaction, before: Room, after: Room, event: Event) -> None:
        """As a watcher of the journal."""
        if event.type == "m.room.redaction":
            # Where clients see it, in every room version.
            search.remove(txn, event.content["redacts"])
        elif event.type in KEYS and not after.is_encrypted:
            edited_id = _edited_id(event)
            edited = None if edited_id is None else events.find(txn, event.room_id, edited_id)
            text = text_of(event, edited)
            if text is not None:
                search.add(txn, [text])


def catch_up(txn: WriteTransaction, after: int, upto: int) -> None:
    """Index what was sent between two positions of the stream, before there was an index."""
    found = events.readable(txn, KEYS, after, upto)
    edited = events.find_many(txn, [each for each in map(_edited_id, found) if each is not None])
    texts = (text_of(event, edited.get(_edited_id(event) or "")) for event in found)
    search.add(txn, [text for text in texts if text is not None])


def text_of(event: Event, edited: Event | None) -> Text | None:
    """What there is to find, or None. ``edited`` is the message that the event wants to change.

    An edit may leave no word: it counts all the same, for it takes away those that were there.
    """
    content = event.content
    if not _is_edit_of(event, content, edited):
        edited = None
    shown = content if edited is None else content["m.new_content"]
    words = words_of("\n".join(texts_in(event.type, shown)))
    if (edited is None and not words) or (event.state_key or "") != "":
        return None
    return Text(
        position=event.position,
        room_id=event.room_id,
        seq=event.seq,
        edit_of=None if edited is None else edited.position,
        edit_of_seq=None if edited is None else edited.seq,
        key=KEYS[event.type],
        sender=event.sender,
        has_url=int("url" in (content if edited is None else edited.content)),
        words=words,
    )


def texts_in(event_type: str, content: Mapping[str, Any]) -> list[str]:
    """The texts of a content that are searched; of an edit's, those of its new content."""
    key = KEYS[event_type]
    texts = [content.get(key)]
    block = content.get("m.topic") if key == "topic" else None
    representations = block.get("m.text") if isinstance(block, dict) else None
    for each in representations if isinstance(representations, list) else ():
        if isinstance(each, dict) and each.get("mimetype", "text/plain") == "text/plain":
            texts.append(each.get("body"))
    return [text for text in texts if isinstance(text, str)]


def _edited_id(event: Event) -> str | None:
    is_edit = event.rel_type == "m.replace" and event.state_key is None
    return event.relates_to if is_edit else None


def _is_edit_of(event: Event, content: Mapping[str, Any], edited: Event | None) -> bool:
    """Client-server API, "Validity of replacement events"."""
    return (
        edited is not None
        and isinstance(content.get("m.new_content"), dict)
        and edited.room_id == event.room_id
        and edited.sender == event.sender
        and edited.type == event.type
        and edited.state_key is None
        and edited.rel_type != "m.replace"
        and not edited.is_redacted
    )
