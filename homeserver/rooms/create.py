"""Creating a room: its type, its presets, and all of its first events in one transaction."""

from collections.abc import Mapping, Sequence
from secrets import token_urlsafe
from typing import Any

from attrs import evolve, field, frozen

from homeserver.bridges.services import Services
from homeserver.config import Rooms as RoomSettings
from homeserver.events import check_json
from homeserver.requester import Requester
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.journal import Journal
from homeserver.rooms.kinds import ROOM_TYPE, direct_key, self_key
from homeserver.rooms.membership import Membership
from homeserver.rooms.presets import Preset, encryption_event, first_state, power_levels
from homeserver.rooms.room import Room, RoomState
from homeserver.rooms.versions import RoomVersion, get_version
from schema.errors import (
    BadJson,
    Forbidden,
    InvalidParam,
    InvalidRoomState,
    RoomInUse,
)
from storage import rooms
from storage.rooms import RoomRow
from storage.store import Store
from storage.transaction import WriteTransaction


@frozen
class Wish:
    """What somebody wants of a new room; names are those of ``createRoom``."""

    preset: Preset
    kind: str
    version: RoomVersion
    creation_content: Mapping[str, Any]
    invite: Sequence[str] = ()
    alias: str | None = None
    name: str | None = None
    topic: str | None = None
    initial_state: Sequence[Mapping[str, Any]] = ()
    power_levels: Mapping[str, Any] = field(factory=dict)
    is_direct: bool = False
    is_published: bool = False


@frozen
class CreateRoom:
    """Client-server API, "Creation", with the conversation types of this server."""

    store: Store
    journal: Journal
    membership: Membership
    settings: RoomSettings
    server_name: str
    services: Services

    async def create(self, requester: Requester, body: Mapping[str, Any]) -> str:
        """Create a room as ``createRoom`` describes it; its id.

        A direct conversation with somebody, and the notes to oneself, exist once: asking again
        gives the same room.

        Raises:
            Forbidden: a rule of the conversation type is broken.
            InvalidParam, InvalidRoomState, RoomInUse, UnsupportedRoomVersion: the wish cannot be.
            Exclusive: the alias belongs to an application service, or is none of the service's.
        """
        wish = self._understand(requester, body)
        for target in wish.invite:
            await self.membership.queries.user(target)
        return await self.store.write(lambda txn: self.make(txn, requester.user_id, wish))

    def make(self, txn: WriteTransaction, creator: str, wish: Wish) -> str:
        """Inside a transaction: create the room, or find the one that there may be only one of."""
        unique_key = _unique_key(creator, wish)
        if unique_key is not None:
            room_id = rooms.find_unique(txn, unique_key)
            if room_id is not None:
                return self._reenter(txn, room_id, creator, wish)
        room = self._begin(txn, creator, wish, unique_key)
        room = self.membership.put(txn, room, creator, creator, "join", by_server=True)
        if wish.alias is not None and not rooms.add_alias(txn, wish.alias, room.room_id, creator):
            raise RoomInUse(f"The alias {wish.alias} is taken")
        for event_type, state_key, content in self._state(creator, wish):
            draft = Draft(event_type, creator, room.room_id, content, state_key)
            room = self._append(txn, room, draft)
        for target in wish.invite:
            _check_level(room, creator, room.power_levels.invite, "invite somebody")
            room = self.membership.let_invite(txn, room, creator, target, is_direct=wish.is_direct)
        return room.room_id

    def new_room_id(self, version: RoomVersion) -> str:
        """An id for a new room; empty where it will follow from the create event."""
        return "" if version.room_id_from_create else f"!{token_urlsafe(18)}:{self.server_name}"

    def begin(
        self, txn: WriteTransaction, creator: str, row: RoomRow, content: Mapping[str, Any]
    ) -> Room:
        """Inside a transaction: make a room that has its create event and nothing else yet."""
        version = get_version(row.version)
        content = {**content, "room_version": version.id, ROOM_TYPE: row.kind}
        if version.creator_in_content:
            content["creator"] = creator
        room = Room(row.room_id, version, row.kind, RoomState({}))
        draft = Draft("m.room.create", creator, row.room_id or None, content, "")
        _, room = self.journal.begin(txn, room, draft)
        rooms.add(txn, evolve(row, room_id=room.room_id))
        return room

    def self_room(self, txn: WriteTransaction, user_id: str) -> str:
        """Inside a transaction: the person's room for notes to themselves."""
        version = get_version(self.settings.default_version)
        return self.make(
            txn,
            user_id,
            Wish(Preset.PRIVATE, "self", version, {}, name="Notes to self"),
        )

    def _understand(self, requester: Requester, body: Mapping[str, Any]) -> Wish:
        version = get_version(body.get("room_version") or self.settings.default_version)
        check_json(version, dict(body))
        preset = Preset.of(body.get("preset"), body.get("visibility"))
        invite = list(dict.fromkeys(body.get("invite") or []))
        if body.get("invite_3pid"):
            raise Forbidden(
                "This server cannot invite by e-mail or phone: it has no identity server"
            )
        if requester.user_id in invite:
            raise InvalidParam("You need no invite to your own room")
        creation = dict(body.get("creation_content") or {})
        kind = _kind(creation, bool(body.get("is_direct")), invite)
        alias = body.get("room_alias_name")
        is_published = body.get("visibility") == "public"
        if kind in ("direct", "self") and (alias or is_published):
            raise Forbidden(f"A {kind} conversation has no alias and is never listed")
        full_alias = self._alias(alias) if alias else None
        if full_alias is not None:
            self.services.check_alias(full_alias, requester.application_service)
        return Wish(
            preset=preset,
            kind=kind,
            version=version,
            creation_content=creation,
            invite=invite,
            alias=full_alias,
            name=body.get("name"),
            topic=body.get("topic"),
            initial_state=self._with_encryption(requester, kind, preset, is_published, body),
            power_levels=body.get("power_level_content_override") or {},
            is_direct=bool(body.get("is_direct")) or kind == "direct",
            is_published=is_published,
        )

    def _with_encryption(
        self,
        requester: Requester,
        kind: str,
        preset: Preset,
        is_published: bool,
        body: Mapping[str, Any],
    ) -> Sequence[Mapping[str, Any]]:
        """Encryption is on by default, but not where everybody reads, nor for bridges."""
        given = list(body.get("initial_state") or [])
        is_open = preset is Preset.PUBLIC or is_published or any(map(_opens, given))
        asked = any(each.get("type") == "m.room.encryption" for each in given)
        wanted = kind in self.settings.encrypt and not is_open
        if asked or not wanted or requester.application_service is not None:
            return given
        return [encryption_event(), *given]

    def _alias(self, localpart: str) -> str:
        alias = f"#{localpart}:{self.server_name}"
        if any(c.isspace() or c in ":\0" for c in localpart) or len(alias.encode()) > 255:
            raise InvalidParam(
                "room_alias_name is the part of an alias between # and :, without spaces"
            )
        return alias

    def _begin(
        self, txn: WriteTransaction, creator: str, wish: Wish, unique_key: str | None
    ) -> Room:
        version = wish.version
        content = {
            key: value
            for key, value in wish.creation_content.items()
            if key not in ("creator", "room_version")
        }
        if version.creators_privileged and wish.preset is Preset.TRUSTED and wish.invite:
            named = content.get("additional_creators", [])
            content["additional_creators"] = list(dict.fromkeys([*named, *wish.invite]))
        row = RoomRow(
            self.new_room_id(version), version.id, wish.kind, unique_key, int(wish.is_published)
        )
        try:
            return self.begin(txn, creator, row, content)
        except Forbidden as error:
            raise InvalidRoomState(f"m.room.create: {error.error}") from error

    def _state(self, creator: str, wish: Wish) -> list[tuple[str, str, dict[str, Any]]]:
        """Every piece of state after the creator's join, in the order of the specification."""
        levels = power_levels(wish.version, wish.kind, wish.preset, creator, wish.invite)
        state = [("m.room.power_levels", "", {**levels, **wish.power_levels})]
        if wish.alias is not None:
            state.append(("m.room.canonical_alias", "", {"alias": wish.alias}))
        given = [
            (each["type"], each.get("state_key", ""), each["content"])
            for each in wish.initial_state
        ]
        replaced = {(event_type, state_key) for event_type, state_key, _ in given}
        state += [each for each in first_state(wish.preset) if each[:2] not in replaced]
        state += given
        if wish.name:
            state.append(("m.room.name", "", {"name": wish.name}))
        if wish.topic:
            text = {"m.text": [{"body": wish.topic}]}
            state.append(("m.room.topic", "", {"topic": wish.topic, "m.topic": text}))
        return state

    def _append(self, txn: WriteTransaction, room: Room, draft: Draft) -> Room:
        if draft.type != "m.room.member":
            needed = room.power_levels.needed_for(draft.type, is_state=True)
            _check_level(room, draft.sender, needed, f"send {draft.type}")
        try:
            return self.journal.append(txn, room, draft)[1]
        except (Forbidden, BadJson) as error:
            if draft.type in ("m.room.create", "m.room.power_levels", "m.room.member"):
                raise InvalidRoomState(f"{draft.type}: {error.error}") from error
            raise

    def _reenter(self, txn: WriteTransaction, room_id: str, creator: str, wish: Wish) -> str:
        """The only room of its kind: whoever asks is in it again, and so is whom they ask for."""
        room = self.membership.rooms.head(txn, room_id)
        room = self.membership.let_join(txn, room, creator)
        for target in wish.invite:
            if room.state.membership(target) not in ("join", "invite"):
                room = self.membership.let_invite(txn, room, creator, target, is_direct=True)
        return room_id


def _kind(creation: Mapping[str, Any], is_direct: bool, invite: Sequence[str]) -> str:
    named = creation.get(ROOM_TYPE)
    if creation.get("type") == "m.space":
        if named not in (None, "space"):
            raise InvalidParam("A room of type m.space is a space")
        return "space"
    if named is None:
        return "direct" if is_direct and len(invite) == 1 else "group"
    if named == "family":
        raise Forbidden("Family conversations are made with the family, not by createRoom")
    if named == "space":
        raise InvalidParam("A space is made with creation_content.type m.space")
    if named == "direct" and len(invite) != 1:
        raise Forbidden("A direct conversation is between exactly two people: invite one")
    if named == "self" and invite:
        raise Forbidden("Nobody can be invited to somebody's notes to themselves")
    if named not in ("direct", "self", "group"):
        raise InvalidParam(f"{named!r} is not a conversation type of this server")
    return str(named)


def _check_level(room: Room, creator: str, needed: int, what: str) -> None:
    """A wish that takes from its creator the power for the rest of it contradicts itself."""
    if room.power_levels.level_of(creator) < needed:
        raise InvalidRoomState(f"With these power levels you may not {what}: it takes {needed}")


def _unique_key(creator: str, wish: Wish) -> str | None:
    if wish.kind == "direct":
        return direct_key(creator, wish.invite[0])
    return self_key(creator) if wish.kind == "self" else None


def _opens(event: Mapping[str, Any]) -> bool:
    content = event.get("content")
    return (
        event.get("type") == "m.room.join_rules"
        and isinstance(content, dict)
        and content.get("join_rule") == "public"
    )
