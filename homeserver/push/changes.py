"""What push rules say and judge, as changes on the stream."""

from collections.abc import Mapping

from attrs import frozen

from homeserver.push.variants import Span
from storage.stream import Change


@frozen(kw_only=True)
class RulesChanged(Change):
    """Somebody has other push rules."""


@frozen(kw_only=True)
class PushersChanged(Change):
    """Somebody has other pushers. Nothing of it shows in /sync."""

    user_id: str


@frozen(kw_only=True)
class SpansBegun(Change):
    """From here on, other variants judge for a person: by room."""

    user_id: str
    spans: Mapping[str, Span]


@frozen(kw_only=True)
class Judged(Change):
    """An event notifies somebody; or did so, and has now been redacted.

    Verdicts are numbers: 0 nothing, 1 notify, 3 notify and highlight.
    """

    room_id: str
    seq: int
    judged_at: int
    """The position of the event. Its redaction comes at a later ``position``."""
    sender: str
    thread_id: str
    usual: int
    by_variant: Mapping[int, int]
    by_person: Mapping[str, int]
    is_redacted: bool = False

    def verdict(self, user_id: str, variant: int) -> int:
        """What the event means to a member whose rules come to ``variant``."""
        verdict = self.by_person.get(user_id)
        return self.by_variant.get(variant, self.usual) if verdict is None else verdict
