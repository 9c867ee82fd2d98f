"""What a client asks first: versions, capabilities, where the server is."""

from collections.abc import Sequence
from typing import Any

from homeserver.config import Config
from rest.routing import Access, Call, Route
from schema.errors import NotFound, Unrecognized

VERSIONS = [f"v1.{minor}" for minor in range(1, 20)]


class DiscoveryApi:
    """Client-server API, "API Versions", "Server discovery", "Capabilities negotiation"."""

    def __init__(self, config: Config, room_versions: Sequence[str]) -> None:
        self._config = config
        self._room_versions = room_versions

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [
            Route("GET", "/_matrix/client/versions", self.versions, Access.PUBLIC),
            Route("GET", "/.well-known/matrix/client", self.well_known, Access.PUBLIC),
            Route("GET", "/.well-known/matrix/support", self.no_support_page, Access.PUBLIC),
            Route("GET", "/_matrix/client/v3/capabilities", self.capabilities),
            Route("GET", "/_matrix/client/v1/auth_metadata", self.no_oauth, Access.PUBLIC),
        ]

    async def versions(self, call: Call) -> dict[str, Any]:
        """Versions and unstable features that are whole."""
        return {
            "versions": VERSIONS,
            "unstable_features": {
                "org.matrix.msc3391": True,
                "org.matrix.msc3881": True,
                "org.matrix.msc3912": True,
                "org.matrix.msc4222": True,
                # Redactions by /send, in 1.18.
                "com.beeper.msc4169": True,
                "org.matrix.msc4380.stable": True,
                "org.matrix.msc4445.initial_sync_timeline_topological_ordering": True,
                "uk.timedout.msc4323.stable": True,
                "uk.half-shot.msc2666.query_mutual_rooms": True,
                "uk.half-shot.msc2666.query_mutual_rooms.stable": True,
                "io.element.e2ee_forced.public": False,
                "io.element.e2ee_forced.private": self._forced("group"),
                # Clients use this preset for direct conversations.
                "io.element.e2ee_forced.trusted_private": self._forced("direct"),
            },
        }

    def _forced(self, kind: str) -> bool:
        return kind in self._config.rooms.require_encryption

    async def well_known(self, call: Call) -> dict[str, Any]:
        """Where this server is, and its policy on encryption.

        ``default`` speaks of every room that a client makes. Where only some types are encrypted
        it is false: then clients leave it to this server, which encrypts those.
        """
        encrypted = {*self._config.rooms.encrypt, *self._config.rooms.require_encryption}
        return {
            "m.homeserver": {"base_url": self._config.public_url.rstrip("/")},
            "io.element.e2ee": {
                "default": encrypted >= {"direct", "group"},
                "force_disable": False,
            },
            # COMPAT(Element iOS 1.11): it looks here whether there are dehydrated devices.
            "org.matrix.msc3814": True,
        }

    async def no_support_page(self, call: Call) -> dict[str, Any]:
        """The organizer is a neighbour; there is no page."""
        raise NotFound("This server has no support page; ask your organizer")

    async def no_oauth(self, call: Call) -> dict[str, Any]:
        """Log in by password."""
        raise Unrecognized("This server does not offer the OAuth 2.0 API")

    async def capabilities(self, call: Call) -> dict[str, Any]:
        """What this server can do, and who may."""
        moderation = {"m.account_moderation": {"lock": True, "suspend": True}}
        return {
            "capabilities": {
                **(moderation if call.requester.is_admin else {}),
                "m.change_password": {"enabled": True},
                "m.set_displayname": {"enabled": True},
                "m.set_avatar_url": {"enabled": True},
                "m.profile_fields": {"enabled": True},
                "m.3pid_changes": {"enabled": self._config.email.host is not None},
                "m.get_login_token": {"enabled": True},
                "m.forget_forced_upon_leave": {"enabled": False},
                "org.hearth.encryption": {
                    "default": self._config.rooms.encrypt,
                    "required": self._config.rooms.require_encryption,
                },
                "m.room_versions": {
                    "default": self._config.rooms.default_version,
                    "available": dict.fromkeys(self._room_versions, "stable"),
                },
            }
        }
