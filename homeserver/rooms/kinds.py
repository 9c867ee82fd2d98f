"""Conversation types: direct, self, group, family, space. Every room has one for life.

The type stands in ``content.org.hearth.room_type`` of the create event, so it cannot change and
every client can read it. The journal asks ``check`` about each event before it is stored, so a rule
holds on every path by which an event can come.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from attrs import frozen

from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.room import Room
from schema.errors import Forbidden

ROOM_TYPE = "org.hearth.room_type"
KINDS = ("direct", "self", "group", "family", "space")

_PRIVATE = ("direct", "self", "family")
_COMES_IN = ("invite", "join", "knock")
_PLAINTEXT = ("m.room.message", "m.sticker", "m.poll.start", "org.matrix.msc3381.poll.start")


def direct_key(one: str, other: str) -> str:
    """What the only direct room of two people is known by."""
    return sha256("\n".join(sorted((one, other))).encode()).hexdigest()


def self_key(user_id: str) -> str:
    """What the only self room of a person is known by."""
    return f"self {user_id}"


@frozen
class Kinds:
    """The rules of the conversation types, with what the configuration adds to them."""

    require_encryption: frozenset[str]

    def check(self, room: Room, draft: Draft, *, by_server: bool) -> None:
        """Refuse an event that would break a rule of the room's type.

        ``by_server`` marks what a service of this server does in somebody's name: the families
        service keeps a family room in step with the roster.

        Raises:
            Forbidden: says which rule.
        """
        rule = _RULES.get((room.kind, draft.type))
        if rule is not None:
            rule(room, draft, by_server)
        if room.kind in _PRIVATE:
            rule = _PRIVATE_RULES.get(draft.type)
            if rule is not None:
                rule(room, draft, by_server)
        if room.kind in self.require_encryption:
            self._check_encrypted(room, draft)

    def _check_encrypted(self, room: Room, draft: Draft) -> None:
        # Devices verify each other by a message that has to be readable.
        verifies = draft.content.get("msgtype") == "m.key.verification.request"
        if draft.state_key is None and draft.type in _PLAINTEXT and not verifies:
            raise Forbidden(
                f"Messages in a {room.kind} conversation must be encrypted on this server"
            )
        if draft.type == "m.room.encryption" and room.is_encrypted:
            current = room.state.content("m.room.encryption").get("algorithm")
            if draft.content.get("algorithm") != current:
                raise Forbidden(
                    f"The encryption of a {room.kind} conversation cannot be changed or removed"
                )


def _check_direct_member(room: Room, draft: Draft, by_server: bool) -> None:
    if draft.content.get("membership") not in _COMES_IN:
        return
    people = set(room.state.memberships()) | {str(draft.state_key)}
    if len(people) > 2:
        raise Forbidden("This is a direct conversation: it is between its two people for ever")


def _check_self_member(room: Room, draft: Draft, by_server: bool) -> None:
    owner = room.state.get("m.room.create")
    if owner is not None and draft.state_key != owner.sender:
        raise Forbidden("These are somebody's notes to themselves: nobody else can be here")


def _check_family_member(room: Room, draft: Draft, by_server: bool) -> None:
    if by_server:
        return
    target = str(draft.state_key)
    changes_profile = (
        draft.content.get("membership") == "join" and room.state.membership(target) == "join"
    )
    if not changes_profile:
        raise Forbidden(
            "Who is in a family conversation follows the family's roster:"
            " ask a guardian of the family to change it"
        )


def _check_family_levels(room: Room, draft: Draft, by_server: bool) -> None:
    current: Mapping[str, Any] = room.state.content("m.room.power_levels")
    if by_server or not current:
        return
    if any(draft.content.get(key) != current.get(key) for key in ("users", "users_default")):
        raise Forbidden("Roles in a family conversation follow the family's roster")


def _check_join_rules(room: Room, draft: Draft, by_server: bool) -> None:
    if draft.content.get("join_rule", "invite") not in ("invite", "private"):
        raise Forbidden(f"A {room.kind} conversation can never be opened to others")


def _check_visibility(room: Room, draft: Draft, by_server: bool) -> None:
    if draft.content.get("history_visibility") == "world_readable":
        raise Forbidden(f"A {room.kind} conversation can never be shown to the world")


def _check_alias(room: Room, draft: Draft, by_server: bool) -> None:
    if any(draft.content.get(key) for key in ("alias", "alt_aliases", "aliases")):
        raise Forbidden(f"A {room.kind} conversation has no alias")


_Rule = Callable[[Room, Draft, bool], None]

_RULES: Mapping[tuple[str, str], _Rule] = {
    ("direct", "m.room.member"): _check_direct_member,
    ("self", "m.room.member"): _check_self_member,
    ("family", "m.room.member"): _check_family_member,
    ("family", "m.room.power_levels"): _check_family_levels,
}
_PRIVATE_RULES: Mapping[str, _Rule] = {
    "m.room.join_rules": _check_join_rules,
    "m.room.history_visibility": _check_visibility,
    "m.room.canonical_alias": _check_alias,
    "m.room.aliases": _check_alias,
}


def check_may_be_found(room: Room) -> None:
    """Refuse an alias or a place in the directory to a room whose type forbids it.

    Raises:
        Forbidden: says which type it is.
    """
    if room.kind in _PRIVATE:
        raise Forbidden(f"A {room.kind} conversation has no alias and is never listed")
