"""Upgrading a room: another one of a newer version takes its place, in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

from homeserver.requester import Requester
from homeserver.rooms import auth_rules
from homeserver.rooms.auth_rules import Draft, creators_of
from homeserver.rooms.create import CreateRoom
from homeserver.rooms.membership import Membership
from homeserver.rooms.power_levels import as_integers
from homeserver.rooms.presets import encryption_event
from homeserver.rooms.room import Room
from homeserver.rooms.summaries import allowed_rooms
from homeserver.rooms.versions import RoomVersion
from schema.canonical import made_canonical
from schema.errors import BadJson, EventTooLarge, Forbidden
from storage import rooms
from storage.rooms import RoomRow
from storage.store import Store
from storage.transaction import WriteTransaction

_CREATE = "m.room.create"
_MEMBER = "m.room.member"
_LEVELS = "m.room.power_levels"
_TOMBSTONE = "m.room.tombstone"
_ALIAS = "m.room.canonical_alias"
_ENCRYPTION = "m.room.encryption"
_JOIN_RULES = "m.room.join_rules"
_LINKS = ("m.space.child", "m.space.parent")
_CARRIED = (
    _ENCRYPTION,
    _JOIN_RULES,
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.server_acl",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    _ALIAS,
)
_OF_ITS_VERSION = ("creator", "room_version", "predecessor", "additional_creators")
ADMINISTRATOR = 100


@frozen
class Upgrade:
    """Client-server API, "Room Upgrades". The conversation type goes on for life."""

    store: Store
    create_room: CreateRoom
    membership: Membership

    async def upgrade(
        self, requester: Requester, room_id: str, version: RoomVersion, creators: Sequence[str]
    ) -> str:
        """Replace a room by one of another version; the id of that one.

        ``creators`` are those besides the person, where the version has several.

        Whoever repeats their request gets the same room. Members follow by joining; the other
        person of a direct conversation is invited, and a family moves as a whole.

        Raises:
            Forbidden: the person may not replace the room, or its type does not allow it.
            NotFound: there is no such room.
        """
        user_id = requester.user_id

        def work(txn: WriteTransaction) -> str:
            old = self.membership.rooms.head(txn, room_id)
            self._check(old, user_id, version, creators)
            successor = self._successor(txn, old)
            if successor is not None:
                return _same_again(old, successor, user_id, version)
            return self._replace(txn, old, user_id, version, creators)

        return await self.store.write(work)

    def _check(
        self, old: Room, user_id: str, version: RoomVersion, creators: Collection[str]
    ) -> None:
        tombstone = Draft(_TOMBSTONE, user_id, old.room_id, {}, "")
        auth_rules.check(old.version, tombstone, old.state)
        if old.kind in ("direct", "self") and not set(creators) <= set(old.state.memberships()):
            raise Forbidden(f"Nobody from outside can be a creator of a {old.kind} conversation")
        if old.kind != "family":
            return
        if old.power_levels.level_of(user_id) < ADMINISTRATOR:
            raise Forbidden("Only a guardian of the family can upgrade its conversation")
        if version.creators_privileged:
            raise Forbidden(
                f"In room version {version.id} a creator stands above all others for ever; roles"
                " in a family conversation follow the family's roster, so choose another version"
            )

    def _successor(self, txn: WriteTransaction, old: Room) -> Room | None:
        """The room that has taken the old one's place already."""
        new_id = _room_id(old.state.content(_TOMBSTONE).get("replacement_room"))
        if new_id is None or rooms.find(txn, new_id) is None:
            return None
        new = self.membership.rooms.head(txn, new_id)
        return new if predecessor_of(new) == old.room_id else None

    def _replace(
        self,
        txn: WriteTransaction,
        old: Room,
        user_id: str,
        version: RoomVersion,
        creators: Sequence[str],
    ) -> str:
        room_id = self.create_room.new_room_id(version)
        # The create event names the last event of the old room, which is the tombstone wherever
        # the new id is known before.
        if room_id:
            old = self._bury(txn, old, user_id, room_id)
        new = self._begin(txn, old, user_id, room_id, version, creators)
        if not room_id:
            old = self._bury(txn, old, user_id, new.room_id)
        new = self.membership.put(txn, new, user_id, user_id, "join", by_server=True)
        # Until the power levels are set, whoever made the room may do everything in it.
        for event_type, state_key, content in _carried_state(old, version):
            new = self._set(txn, new, user_id, event_type, state_key, content)
        new = self._move_people(txn, old, new, user_id)
        levels = _new_levels(old, new)
        if levels:
            new = self._set(txn, new, user_id, _LEVELS, "", levels)
        rooms.move_aliases(txn, old.room_id, new.room_id)
        rooms.publish(txn, old.room_id, False)
        self._relink(txn, user_id, old.room_id, new.room_id)
        self._close(txn, old, user_id)
        return new.room_id

    def _begin(
        self,
        txn: WriteTransaction,
        old: Room,
        user_id: str,
        room_id: str,
        version: RoomVersion,
        creators: Sequence[str],
    ) -> Room:
        row = rooms.find(txn, old.room_id)
        assert row is not None
        rooms.release_unique(txn, old.room_id)
        content = {
            key: value
            for key, value in old.state.content(_CREATE).items()
            if key not in _OF_ITS_VERSION
        }
        content["predecessor"] = {"room_id": old.room_id, "event_id": old.last_event_id}
        if creators:
            content["additional_creators"] = [
                each for each in dict.fromkeys(creators) if each != user_id
            ]
        new_row = RoomRow(room_id, version.id, old.kind, row.unique_key, row.is_published)
        return self.create_room.begin(txn, user_id, new_row, _numbers(content, version))

    def _bury(self, txn: WriteTransaction, old: Room, user_id: str, new_id: str) -> Room:
        content = {"body": "This room has been replaced", "replacement_room": new_id}
        return self._set(txn, old, user_id, _TOMBSTONE, "", content)

    def _move_people(self, txn: WriteTransaction, old: Room, new: Room, user_id: str) -> Room:
        put = self.membership.put
        for other, membership in old.state.memberships().items():
            if other == user_id:
                continue
            if membership == "ban":
                reason = _text(old.state.content(_MEMBER, other).get("reason"))
                new = put(txn, new, user_id, other, "ban", reason)
            elif old.kind == "direct" and self.membership.person_exists(txn, other):
                new = self.membership.let_invite(txn, new, user_id, other, is_direct=True)
            elif old.kind == "family" and membership == "join":
                new = put(txn, new, user_id, other, "invite", by_server=True)
                new = put(txn, new, other, other, "join", by_server=True)
        return new

    def _relink(self, txn: WriteTransaction, user_id: str, old_id: str, new_id: str) -> None:
        """The spaces of the room, the rooms of the space, and those that admit its members, as far
        as the person may do it."""
        for room_id in self.membership.memberships.rooms_of(user_id):
            if room_id == old_id:
                continue
            room = self.membership.rooms.head(txn, room_id)
            for event_type in _LINKS:
                link = room.state.content(event_type, old_id)
                if link.get("via"):
                    room = self._try(txn, room, user_id, event_type, new_id, link)
                    room = self._try(txn, room, user_id, event_type, old_id, {})
            rules = _admitting(room, old_id, new_id)
            if rules is not None:
                self._try(txn, room, user_id, _JOIN_RULES, "", rules)

    def _close(self, txn: WriteTransaction, old: Room, user_id: str) -> None:
        """Nobody is to go on in the old room by mistake, nor to find it by its alias."""
        if old.state.content(_ALIAS):
            old = self._try(txn, old, user_id, _ALIAS, "", {})
        content, levels = old.state.content(_LEVELS), old.power_levels
        if content:
            least = max(50, levels.users_default + 1)
            raised = {
                "events_default": max(least, levels.events_default),
                "invite": max(least, levels.invite),
            }
            self._try(txn, old, user_id, _LEVELS, "", {**content, **raised})

    def _try(
        self,
        txn: WriteTransaction,
        room: Room,
        user_id: str,
        event_type: str,
        state_key: str,
        content: Mapping[str, Any],
    ) -> Room:
        """Set state if the person may; what they may not or cannot change stays as it is."""
        try:
            return self._set(txn, room, user_id, event_type, state_key, content)
        except (Forbidden, BadJson, EventTooLarge):
            return room

    def _set(
        self,
        txn: WriteTransaction,
        room: Room,
        user_id: str,
        event_type: str,
        state_key: str,
        content: Mapping[str, Any],
    ) -> Room:
        draft = Draft(event_type, user_id, room.room_id, content, state_key)
        return self.create_room.journal.append(txn, room, draft)[1]


def _admitting(room: Room, old_id: str, new_id: str) -> dict[str, Any] | None:
    """The join rules of a room that admits the members of another one, with those of the room that
    replaces it. Who has not moved on there yet is admitted as before."""
    named = allowed_rooms(room)
    if old_id not in named or new_id in named:
        return None
    rules = room.state.content(_JOIN_RULES)
    condition = {"type": "m.room_membership", "room_id": new_id}
    return {**rules, "allow": [*rules["allow"], condition]}


def predecessor_of(room: Room) -> str | None:
    """The room that this one says it has replaced."""
    predecessor = room.state.content(_CREATE).get("predecessor")
    return _room_id(predecessor.get("room_id")) if isinstance(predecessor, dict) else None


def _room_id(value: Any) -> str | None:
    """What an event calls a room, if it can be one: anybody writes there what they like."""
    return value if isinstance(value, str) and value.startswith("!") and "\0" not in value else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _same_again(old: Room, successor: Room, user_id: str, version: RoomVersion) -> str:
    """The answer to a repeated request."""
    tombstone = old.state.get(_TOMBSTONE)
    assert tombstone is not None
    if tombstone.sender != user_id or successor.version != version:
        raise Forbidden(
            f"This room has been replaced by {successor.room_id} already: upgrade that one"
        )
    return successor.room_id


def _carried_state(old: Room, version: RoomVersion) -> list[tuple[str, str, dict[str, Any]]]:
    """What moves to the new room, in the terms of its version."""
    state = [(event_type, "", old.state.content(event_type)) for event_type in _CARRIED]
    for event in old.state:
        # Without ``via`` a room has been taken out of the space.
        if event.type in _LINKS and event.content.get("via"):
            state.append((event.type, event.state_key or "", event.content))
    if old.is_encrypted and not old.state.text(_ENCRYPTION, "algorithm"):
        # Redacting the event that switches encryption on does not switch it off.
        state.append((_ENCRYPTION, "", dict(encryption_event()["content"])))
    if old.state.text(_JOIN_RULES, "join_rule") not in _known_rules(version):
        # Under a rule that its version does not know, nobody could be invited to the new room.
        state = [each for each in state if each[0] != _JOIN_RULES]
        state.append((_JOIN_RULES, "", {"join_rule": "invite"}))
    return [(kind, key, _numbers(content, version)) for kind, key, content in state if content]


def _known_rules(version: RoomVersion) -> frozenset[str]:
    return version.knock_rules | version.restricted_rules | {"public", "invite", "private"}


def _numbers(content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """Versions differ in the numbers that an event can hold."""
    return dict(made_canonical(content)) if version.canonical_json else content


def _new_levels(old: Room, new: Room) -> dict[str, Any]:
    """The power levels as they were, in the terms of the new version."""
    levels = _numbers(as_integers(old.state.content(_LEVELS), old.version), new.version)
    events = dict(levels.get("events", {}))
    users = dict(levels.get("users", {}))
    if old.version.creators_privileged:
        # Creators stood above every level without having one.
        highest = max(ADMINISTRATOR, *events.values())
        users |= dict.fromkeys(creators_of(old.version, _create_event(old)), highest)
    if new.version.creators_privileged:
        for creator in creators_of(new.version, _create_event(new)):
            users.pop(creator, None)
        # createRoom: it "MUST explicitly be higher than state_default".
        lowest = levels.get("state_default", 50) + 1
        if events.get(_TOMBSTONE, 0) < lowest:
            events[_TOMBSTONE] = max(150, lowest)
    if users or "users" in levels:
        levels["users"] = users
    if events or "events" in levels:
        levels["events"] = events
    return levels


def _create_event(room: Room) -> Any:
    return room.state.get(_CREATE)
