"""Whose invites reach people (client-server API, "Ignoring Users")."""

from attrs import frozen

from homeserver.ignored_people import IgnoredPeople


@frozen
class InvitePermission:
    """Says which invites are shown."""

    ignored: IgnoredPeople

    def shows(self, user_id: str, inviter: str) -> bool:
        """Whether somebody sees an invite that ``inviter`` has sent them."""
        return inviter not in self.ignored.of(user_id)
