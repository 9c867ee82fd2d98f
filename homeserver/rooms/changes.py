"""What happens in rooms, as changes on the stream."""

from attrs import frozen

from homeserver.rooms.room import Room
from storage.events import Event
from storage.stream import Change


@frozen(kw_only=True)
class EventAdded(Change):
    """A new event, and the room after it."""

    event: Event
    room: Room


@frozen(kw_only=True)
class EventRedacted(Change):
    """An earlier event has lost its content, or quotes one that has; ``event`` is what is left,
    ``room`` the room now."""

    event: Event
    room: Room
