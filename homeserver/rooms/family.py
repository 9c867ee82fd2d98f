"""Family conversations: their people and roles are those of the family's roster.

The families service makes them and keeps them in step; members cannot (``kinds``). Everything
happens inside one write transaction, so roster and room change together.
"""

from collections.abc import Mapping

from attrs import frozen

from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.create import CreateRoom, Wish
from homeserver.rooms.journal import Journal
from homeserver.rooms.membership import Membership
from homeserver.rooms.presets import Preset, encryption_event
from homeserver.rooms.room import Room
from homeserver.rooms.versions import RoomVersion, get_version
from schema.errors import Forbidden
from storage.transaction import WriteTransaction

LEVELS = {"guardian": 100, "adult": 50, "child": 0}
Roster = Mapping[str, str]
"""The role of each person: guardian, adult or child."""


@frozen
class FamilyRooms:
    """Makes family conversations and keeps them in step with the roster."""

    create_room: CreateRoom
    membership: Membership
    journal: Journal

    def create(self, txn: WriteTransaction, name: str, roster: Roster) -> str:
        """Make a family's conversation with everybody of the roster in it; its id.

        Raises:
            Forbidden: the family has no guardian.
        """
        guardian = _guardian(roster)
        settings = self.create_room.settings
        encrypted = "family" in settings.encrypt
        wish = Wish(
            preset=Preset.PRIVATE,
            kind="family",
            version=_version(settings.default_version),
            creation_content={},
            name=name,
            initial_state=[encryption_event()] if encrypted else [],
            power_levels={"users": _levels(roster)},
        )
        room_id = self.create_room.make(txn, guardian, wish)
        self.follow(txn, room_id, roster)
        return room_id

    def follow(self, txn: WriteTransaction, room_id: str, roster: Roster) -> None:
        """Bring the room in step with the roster: who is in it, and in which role.

        Raises:
            Forbidden: the family has no guardian.
        """
        _guardian(roster)
        room = self.membership.rooms.head(txn, room_id)
        highest = self._highest(room)
        for user_id in roster:
            if room.state.membership(user_id) != "join":
                room = self._let_in(txn, room, highest, user_id)
        room = self._give_roles(txn, room, highest, roster)
        for user_id, membership in room.state.memberships().items():
            if user_id not in roster and membership in ("join", "invite"):
                room = self.membership.put(txn, room, user_id, user_id, "leave", by_server=True)

    def _highest(self, room: Room) -> str:
        """Who has been a guardian up to now, and so has the power to change the room."""
        levels = room.power_levels
        joined = [user for user, m in room.state.memberships().items() if m == "join"]
        return max(joined, key=levels.level_of)

    def _let_in(self, txn: WriteTransaction, room: Room, guardian: str, user_id: str) -> Room:
        put = self.membership.put
        if room.state.membership(user_id) != "invite":
            room = put(txn, room, guardian, user_id, "invite", by_server=True)
        return put(txn, room, user_id, user_id, "join", by_server=True)

    def _give_roles(self, txn: WriteTransaction, room: Room, highest: str, roster: Roster) -> Room:
        """Nobody can lower a guardian but the guardian: so each of those steps is their own."""
        wanted = _levels(roster)
        now: dict[str, int] = room.state.content("m.room.power_levels").get("users", {})
        stepping_down = {
            user_id: level
            for user_id, level in now.items()
            if level == LEVELS["guardian"] and wanted.get(user_id) != level
        }
        room = self._set_levels(txn, room, highest, {**wanted, **stepping_down})
        for user_id in stepping_down:
            levels: dict[str, int] = room.state.content("m.room.power_levels")["users"]
            lowered = {**levels, user_id: wanted.get(user_id, 0)}
            room = self._set_levels(txn, room, user_id, lowered)
        return room

    def _set_levels(
        self, txn: WriteTransaction, room: Room, sender: str, users: Mapping[str, int]
    ) -> Room:
        content = room.state.content("m.room.power_levels")
        if content.get("users") == users:
            return room
        changed = {**content, "users": dict(users)}
        draft = Draft("m.room.power_levels", sender, room.room_id, changed, "")
        return self.journal.append(txn, room, draft, by_server=True)[1]


def _version(default: str) -> RoomVersion:
    """Where creators stand above every power level, no roster can take their role away."""
    version = get_version(default)
    return get_version("11") if version.creators_privileged else version


def _levels(roster: Roster) -> dict[str, int]:
    return {user_id: LEVELS[role] for user_id, role in roster.items()}


def _guardian(roster: Roster) -> str:
    for user_id, role in roster.items():
        if role == "guardian":
            return user_id
    raise Forbidden("A family needs a guardian")
