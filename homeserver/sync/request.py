"""One request to /sync, understood."""

from attrs import field, frozen

from homeserver.rooms.client_events import Viewer
from homeserver.sync.filters import Filter
from homeserver.sync.token import SyncToken


@frozen
class SyncRequest:
    """Who asks for what since when."""

    viewer: Viewer
    since: SyncToken | None
    filter: Filter
    full_state: bool = False
    state_after: str | None = None
    """The name under which the state at the end of timelines is wanted, if it is."""
    is_lost: bool = False
    """There was a token, of a time that this server does not know."""

    user_id: str = field(init=False)
    """Who asks."""

    @user_id.default
    def _of_viewer(self) -> str:
        return self.viewer.user_id
