"""When an uploaded file may go: after its uploader took it back, and nobody else shows it.

A person who removes a message with a picture wants the picture gone too. But most files are shown
in encrypted events, which the server cannot read, and a file that somebody still sees must stay.
So the rule has two sides that do not mirror each other:

- Only its **uploader** takes a file back, and only what they showed openly: an event of theirs is
  redacted, by whomever, whose content held its URI in ``url``, ``info.thumbnail_url`` or
  ``avatar_url``. What somebody else showed was never theirs to remove: otherwise any reader of an
  encrypted picture could show its URI in a room of their own, redact that, and destroy it. The
  ``file`` of an encrypted attachment does not count either, even in an event that can be read:
  its other uses are most probably in events that cannot.
- **Any mention** that the server can read keeps a file, whoever made it and in whatever field: an
  event, also an old one that only history shows, a profile, account data of its uploader.

What was never seen being used is never removed, nor what was uploaded before uses were noted. A
file that was taken back goes after the days that the configuration gives it. What this cannot see:
somebody also shows in an encrypted room what they showed openly, and takes the open one back.
"""

import re
from typing import Any

import orjson

from homeserver.clock import Clock
from homeserver.rooms.room import Room
from storage import events, media_uses
from storage.events import Event
from storage.transaction import WriteTransaction


class MediaUses:
    """Notes which events name which files."""

    def __init__(self, server_name: str, clock: Clock) -> None:
        self._clock = clock
        self._prefix = f"mxc://{server_name}/"
        self._mentions = re.compile(re.escape(self._prefix) + r"([A-Za-z0-9_-]+)").findall

    def stored(self, txn: WriteTransaction, before: Room, after: Room, event: Event) -> None:
        """As a watcher of the journal: an event may name files, or redact one that does."""
        if event.type == "m.room.redaction":
            redacted = events.find(txn, event.room_id, _target(event))
            if redacted is not None:
                self.ended(txn, [redacted.position])
        if self._prefix not in event.json:
            return
        shown = self._shown(event.content)
        uploaders = media_uses.uploaders(txn, set(self._mentions(event.json)))
        media_uses.add(
            txn,
            event.position,
            [(each, each in shown and who == event.sender) for each, who in uploaders.items()],
        )

    def ended(self, txn: WriteTransaction, positions: list[int]) -> None:
        """The events at these positions have lost their content."""
        ended = media_uses.end(txn, positions)
        now = self._clock()
        media_uses.take_back(txn, {media_id for media_id, own in ended if own}, now)
        media_uses.put_off(txn, {media_id for media_id, own in ended if not own}, now)

    def _shown(self, content: dict[str, Any]) -> set[str]:
        """The files that an event shows openly."""
        info = content.get("info")
        places = [content.get("url"), content.get("avatar_url")]
        if isinstance(info, dict):
            places.append(info.get("thumbnail_url"))
        return {
            place.removeprefix(self._prefix)
            for place in places
            if isinstance(place, str) and place.startswith(self._prefix)
        }


def _target(redaction: Event) -> str:
    """The event that a redaction is about; where it says so depends on the room version."""
    event = orjson.loads(redaction.json)
    return str(event.get("redacts") or event["content"].get("redacts"))
