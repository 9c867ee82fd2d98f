"""Authorisation rules: may this event follow upon this state of the room?

Server-server API, "Authorisation rules", and the page of each room version; the numbers in the
comments are those of room version 11. A room here is a straight line of events, so the state before
the event is the only one to check against. Which person may redact whose events is not part of
them: ``check_redaction`` holds that.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import frozen
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.events import room_id_of
from homeserver.rooms import power_levels
from homeserver.rooms.power_levels import PowerLevels
from homeserver.rooms.versions import RoomVersion
from schema.canonical import encode
from schema.errors import Forbidden

_CREATE = "m.room.create"
_MEMBER = "m.room.member"
_JOIN_RULES = "m.room.join_rules"
_POWER_LEVELS = "m.room.power_levels"
_THIRD_PARTY_INVITE = "m.room.third_party_invite"
_ALIASES = "m.room.aliases"
_REDACTION = "m.room.redaction"

# Each pair costs a signature check, and both lists are as long as their senders like.
_MAX_KEY_TRIALS = 50


class StateEvent(Protocol):
    """What the rules read of an event in the state of the room."""

    @property
    def sender(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def content(self) -> Mapping[str, Any]: ...


class StateView(Protocol):
    """The state of a room before the event in question."""

    def get(self, type: str, state_key: str = "") -> StateEvent | None: ...


@frozen
class Draft:
    """An event that somebody wants to send.

    ``room_id`` is None for a create event whose hash becomes the room id; ``state_key`` is None for
    what is not a state event; ``ts`` is the time that it is to have, None for now.
    """

    type: str
    sender: str
    room_id: str | None
    content: Mapping[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    ts: int | None = None

    @property
    def target(self) -> Any:
        """What a redaction is about: ``redacts`` may come beside the content or in it."""
        return self.content.get("redacts") if self.redacts is None else self.redacts


def check(version: RoomVersion, event: Draft, state: StateView) -> None:
    """Refuse ``event`` unless the rules of the room version allow it after ``state``.

    ``content.join_authorised_via_users_server`` is believed when it names a joined member of this
    server who may invite: whoever accepts a membership from a client must not let it set the key.

    Raises:
        Forbidden: says which rule was broken.
    """
    if event.type == _CREATE:
        return _check_create(version, event, state)
    room = _Room.of(version, state)
    if version.room_id_from_create and event.room_id != room_id_of(room.create.event_id):
        raise Forbidden("The room id is not the hash of the event that made the room")
    if room.create.content.get("m.federate") is False and (
        _server_of(event.sender) != _server_of(room.create.sender)
    ):
        raise Forbidden("This room is closed to people of other servers")
    if event.type == _ALIASES and version.servers_list_aliases:
        return _check_aliases(event)
    if event.type == _MEMBER:
        return _check_member(room, event)
    if room.membership(event.sender) != "join":
        raise Forbidden("You are not a member of this room")
    own = room.levels.level_of(event.sender)
    if event.type == _THIRD_PARTY_INVITE:
        return _check_level(own, room.levels.invite, "invite people")
    needed = room.levels.needed_for(event.type, is_state=event.state_key is not None)
    _check_level(own, needed, f"send {event.type}")
    if (event.state_key or "").startswith("@") and event.state_key != event.sender:
        raise Forbidden("State under the user id of somebody else is theirs to change")
    if event.type == _POWER_LEVELS:
        power_levels.check_content(event.content, version, room.creators)
        if state.get(_POWER_LEVELS) is not None:
            power_levels.check_change(room.levels, event.content, event.sender)
    if event.type == _REDACTION and version.servers_own_events:
        # Both event ids name the server that made them.
        is_own = _server_of(str(event.target)) == _server_of(event.sender)
        if not is_own:
            _check_level(own, room.levels.redact, "redact what other servers have sent")


def check_redaction(
    version: RoomVersion, sender: str, redacted_sender: str, state: StateView
) -> None:
    """Refuse that ``sender`` redacts an event of ``redacted_sender`` (client-server API,
    "m.room.power_levels"). That ``sender`` may send a redaction at all is for ``check`` to say.

    Raises:
        Forbidden: the event is somebody else's, and the level of ``sender`` is below *redact*.
    """
    if sender != redacted_sender:
        levels = levels_in(version, state)
        _check_level(levels.level_of(sender), levels.redact, "redact messages of others")


def levels_in(version: RoomVersion, state: StateView) -> PowerLevels:
    """The power levels that hold in a room.

    Raises:
        Forbidden: the room has no create event.
    """
    return _Room.of(version, state).levels


def creators_of(version: RoomVersion, create: StateEvent) -> tuple[str, ...]:
    """The creators of a room: one person until version 11, any number since 12."""
    if version.creator_in_content:
        return (create.content["creator"],)
    if version.creators_privileged:
        return (create.sender, *create.content.get("additional_creators", ()))
    return (create.sender,)


def auth_event_keys(version: RoomVersion, event: Draft) -> list[tuple[str, str]]:
    """Type and state key of the state that allows ``event``, where the room has it.

    Server-server API, "Auth events selection". No key appears twice.
    """
    if event.type == _CREATE:
        return []
    keys = [(_POWER_LEVELS, ""), (_MEMBER, event.sender)]
    if not version.room_id_from_create:
        keys.insert(0, (_CREATE, ""))
    if event.type != _MEMBER or event.state_key is None:
        return keys
    keys.append((_MEMBER, event.state_key))
    membership = event.content.get("membership")
    if membership in ("join", "invite", "knock"):
        keys.append((_JOIN_RULES, ""))
    if membership == "invite":
        token = _signed_part(event.content).get("token")
        if isinstance(token, str):
            keys.append((_THIRD_PARTY_INVITE, token))
    if membership == "join" and version.restricted_rules:
        authoriser = event.content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str):
            keys.append((_MEMBER, authoriser))
    return list(dict.fromkeys(keys))


@frozen
class _Room:
    """The state of a room, as the rules ask for it."""

    version: RoomVersion
    state: StateView
    create: StateEvent
    creators: tuple[str, ...]
    levels: PowerLevels

    @classmethod
    def of(cls, version: RoomVersion, state: StateView) -> "_Room":
        create = state.get(_CREATE)
        if create is None:
            raise Forbidden("This room was never created")
        creators = creators_of(version, create)
        current = state.get(_POWER_LEVELS)
        levels = PowerLevels.of(current.content if current else None, version, creators)
        return cls(version, state, create, creators, levels)

    def membership(self, user_id: str) -> str:
        """``leave`` for whoever never was in the room, too."""
        member = self.state.get(_MEMBER, user_id)
        return member.content["membership"] if member else "leave"

    def join_rule(self) -> Any:
        event = self.state.get(_JOIN_RULES)
        rule = event.content.get("join_rule", "invite") if event else "invite"
        return rule if isinstance(rule, str) else None


def _check_create(version: RoomVersion, event: Draft, state: StateView) -> None:  # rule 1
    if state.get(_CREATE) is not None:
        raise Forbidden("This room exists already: a room is created once")
    if version.room_id_from_create:
        if event.room_id is not None:
            raise Forbidden("In this room version the room id follows from the create event")
    elif event.room_id is None or _server_of(event.room_id) != _server_of(event.sender):
        raise Forbidden("A room id must name the server of the person who creates the room")
    # Stricter than "a recognised version": a room must not claim other rules than it is made with.
    if event.content.get("room_version", "1") != version.id:
        raise Forbidden(f"The create event of this room must say room_version '{version.id}'")
    if version.creator_in_content and not isinstance(event.content.get("creator"), str):
        raise Forbidden("In this room version the create event must name the creator")
    if version.creators_privileged:
        additional = event.content.get("additional_creators", [])
        if not isinstance(additional, list) or not all(map(power_levels.is_user_id, additional)):
            raise Forbidden("additional_creators must be a list of user ids")


def _check_aliases(event: Draft) -> None:  # rule 4 of versions 1 to 5
    if event.state_key is None or event.state_key != _server_of(event.sender):
        raise Forbidden("In this room version m.room.aliases belongs to the server it is named for")


def _check_member(room: _Room, event: Draft) -> None:  # rule 4
    membership = event.content.get("membership")
    if event.state_key is None or not isinstance(membership, str):
        raise Forbidden("A membership needs a state_key and a membership in its content")
    if room.version.restricted_rules and "join_authorised_via_users_server" in event.content:
        # This server signs for its own people only, and with the event for its sender.
        authoriser = event.content["join_authorised_via_users_server"]
        if not power_levels.is_user_id(authoriser) or (
            _server_of(authoriser) != _server_of(event.sender)
        ):
            raise Forbidden("The join is not signed by the server of the person who allows it")
    transition = _TRANSITIONS.get(membership)
    if transition is None:
        raise Forbidden("The membership must be one of " + ", ".join(_TRANSITIONS))
    transition(room, event, event.state_key)


def _check_join(room: _Room, event: Draft, target: str) -> None:  # rule 4.3
    if event.sender != target:
        raise Forbidden("Nobody can join a room for somebody else: send an invite")
    # Nobody but a creator can send the first event after the creation, and memberships never
    # vanish: a creator without one stands right after the create event.
    if target == room.creators[0] and room.state.get(_MEMBER, target) is None:
        return
    membership, rule = room.membership(target), room.join_rule()
    if membership == "ban":
        raise Forbidden("You are banned from this room")
    if rule == "public":
        return
    by_invite = rule == "invite" or rule in room.version.knock_rules
    restricted = rule in room.version.restricted_rules
    if not by_invite and not restricted:
        raise Forbidden("The join rule of this room lets nobody in")
    if membership in ("invite", "join"):
        return
    if not restricted:
        raise Forbidden("You are not invited to this room")
    authoriser = event.content.get("join_authorised_via_users_server")
    if authoriser is None:
        raise Forbidden("You are not invited to this room, nor in a room whose members may join it")
    if room.membership(authoriser) != "join":
        raise Forbidden("The person who allows the join is not a member of this room")
    if room.levels.level_of(authoriser) < room.levels.invite:
        raise Forbidden("The person who allows the join may not invite people to this room")


def _check_invite(room: _Room, event: Draft, target: str) -> None:  # rule 4.4
    if "third_party_invite" in event.content:
        return _check_third_party_invite(room, event, target)
    _check_joined(room, event.sender)
    membership = room.membership(target)
    if membership == "join":
        raise Forbidden(f"{target} is a member of this room already")
    if membership == "ban":
        raise Forbidden(f"{target} is banned from this room: lift the ban first")
    _check_level(room.levels.level_of(event.sender), room.levels.invite, "invite people")


def _check_third_party_invite(room: _Room, event: Draft, target: str) -> None:  # rule 4.4.1
    if room.membership(target) == "ban":
        raise Forbidden(f"{target} is banned from this room: lift the ban first")
    signed = _signed_part(event.content)
    token = signed.get("token")
    if signed.get("mxid") != target or not isinstance(token, str):
        raise Forbidden(
            "The third-party invite does not hold a signed token for the invited person"
        )
    invite = room.state.get(_THIRD_PARTY_INVITE, token)
    if invite is None:
        raise Forbidden("This room has no third-party invite with that token")
    if invite.sender != event.sender:
        raise Forbidden("The third-party invite was sent by somebody else")
    if not _is_signed_by_key_of(invite.content, signed):
        raise Forbidden("The third-party invite is not signed with one of its keys")


def _check_leave(room: _Room, event: Draft, target: str) -> None:  # rule 4.5
    membership = room.membership(target)
    if event.sender == target:
        if membership not in ("invite", "join", "knock"):
            raise Forbidden("You are not in this room")
        return
    _check_joined(room, event.sender)
    own = room.levels.level_of(event.sender)
    if membership == "ban":
        _check_level(own, room.levels.ban, "lift a ban")
    _check_level(own, room.levels.kick, "remove people")
    _check_above(room, event.sender, target)


def _check_ban(room: _Room, event: Draft, target: str) -> None:  # rule 4.6
    _check_joined(room, event.sender)
    _check_level(room.levels.level_of(event.sender), room.levels.ban, "ban people")
    _check_above(room, event.sender, target)


def _check_knock(room: _Room, event: Draft, target: str) -> None:  # rule 4.7
    if room.join_rule() not in room.version.knock_rules:
        raise Forbidden("This room does not accept knocks")
    if event.sender != target:
        raise Forbidden("Nobody can knock for somebody else")
    membership = room.membership(target)
    if membership == "ban":
        raise Forbidden("You are banned from this room")
    if membership in ("invite", "join"):
        raise Forbidden("You are invited to this room or in it already: there is no need to knock")


_TRANSITIONS: Mapping[str, Callable[[_Room, Draft, str], None]] = {
    "join": _check_join,
    "invite": _check_invite,
    "leave": _check_leave,
    "ban": _check_ban,
    "knock": _check_knock,
}


def _check_joined(room: _Room, user_id: str) -> None:
    if room.membership(user_id) != "join":
        raise Forbidden("You are not a member of this room")


def _check_level(own: float, needed: int, action: str) -> None:
    if own < needed:
        raise Forbidden(f"You need power level {needed} in this room to {action}: yours is {own}")


def _check_above(room: _Room, sender: str, target: str) -> None:
    if room.levels.level_of(target) >= room.levels.level_of(sender):
        raise Forbidden(f"{target} has a power level as high as yours or higher in this room")


def _server_of(matrix_id: str) -> str:
    return matrix_id.partition(":")[2]


def _signed_part(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """``third_party_invite.signed`` of a membership, empty unless both are objects."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    return signed if isinstance(signed, dict) else {}


def _is_signed_by_key_of(invite: Mapping[str, Any], signed: Mapping[str, Any]) -> bool:
    listed = invite.get("public_keys")
    entries = [invite, *(listed if isinstance(listed, list) else [])]
    keys = [entry.get("public_key") for entry in entries if isinstance(entry, Mapping)]
    by_server = signed.get("signatures")
    by_key = list(by_server.values()) if isinstance(by_server, dict) else []
    signatures = [text for texts in by_key if isinstance(texts, dict) for text in texts.values()]
    if len(keys) * len(signatures) > _MAX_KEY_TRIALS:
        return False
    message = {k: v for k, v in signed.items() if k not in ("signatures", "unsigned")}
    return any(_verifies(key, message, text) for key in keys for text in signatures)


def _verifies(key: Any, message: Mapping[str, Any], signature: Any) -> bool:
    if not isinstance(key, str) or not isinstance(signature, str):
        return False
    try:
        VerifyKey(decode_base64(key)).verify(encode(message), decode_base64(signature))
    except (CryptoError, ValueError, TypeError):  # no Base64, no key, no match
        return False
    return True
