"""Room versions: what differs between them, as data.

Each version is the one before it and its changes, in the order of the specification ("Room
versions"). The rules themselves stand where they are applied and ask these flags, never the number.
"""

from collections.abc import Mapping
from types import MappingProxyType

from attrs import evolve, frozen

from schema.errors import UnsupportedRoomVersion


@frozen
class Redaction:
    """What the redaction algorithm leaves of an event.

    Content keys are listed by event type; all other types lose their whole content.
    """

    event_keys: frozenset[str]
    content_keys: Mapping[str, frozenset[str]]
    keeps_create_content: bool
    keeps_signed_third_party_invite: bool


@frozen
class RoomVersion:
    """The rules of one room version.

    Attributes:
        event_id_alphabet: the last two characters of the Base64 alphabet of event ids.
        integer_power_levels: power levels are integers; before, also texts that hold an integer.
        knock_rules: join rules under which people may knock.
        restricted_rules: join rules that admit members of other rooms.
        creator_in_content: ``content.creator`` of the create event names the creator; later it is
            the sender.
        redacts_in_content: ``redacts`` stands in the content of a redaction; before, beside it.
        room_id_from_create: the room id is the hash of the create event, which has none itself and
            is not among the auth events.
        creators_privileged: creators, additional ones included, stand above every power level.
    """

    id: str
    redaction: Redaction
    event_id_alphabet: bytes
    integer_power_levels: bool
    knock_rules: frozenset[str]
    restricted_rules: frozenset[str]
    creator_in_content: bool
    redacts_in_content: bool
    room_id_from_create: bool
    creators_privileged: bool


_EVENT_KEYS = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)
_POWER_LEVEL_KEYS = frozenset(
    {
        "ban",
        "events",
        "events_default",
        "kick",
        "redact",
        "state_default",
        "users",
        "users_default",
    }
)
_CONTENT_KEYS = MappingProxyType(
    {
        "m.room.member": frozenset({"membership", "join_authorised_via_users_server"}),
        "m.room.create": frozenset({"creator"}),
        "m.room.join_rules": frozenset({"join_rule", "allow"}),
        "m.room.power_levels": _POWER_LEVEL_KEYS,
        "m.room.history_visibility": frozenset({"history_visibility"}),
    }
)

_V10 = RoomVersion(
    id="10",
    redaction=Redaction(
        event_keys=_EVENT_KEYS | {"origin", "membership", "prev_state"},
        content_keys=_CONTENT_KEYS,
        keeps_create_content=False,
        keeps_signed_third_party_invite=False,
    ),
    event_id_alphabet=b"-_",
    integer_power_levels=True,
    knock_rules=frozenset({"knock", "knock_restricted"}),
    restricted_rules=frozenset({"restricted", "knock_restricted"}),
    creator_in_content=True,
    redacts_in_content=False,
    room_id_from_create=False,
    creators_privileged=False,
)
_V11 = evolve(
    _V10,
    id="11",
    redaction=Redaction(
        event_keys=_EVENT_KEYS,
        content_keys=MappingProxyType(
            {
                **_CONTENT_KEYS,
                "m.room.power_levels": _POWER_LEVEL_KEYS | {"invite"},
                "m.room.redaction": frozenset({"redacts"}),
            }
        ),
        keeps_create_content=True,
        keeps_signed_third_party_invite=True,
    ),
    creator_in_content=False,
    redacts_in_content=True,
)
_V12 = evolve(_V11, id="12", room_id_from_create=True, creators_privileged=True)

VERSIONS: Mapping[str, RoomVersion] = MappingProxyType({v.id: v for v in (_V10, _V11, _V12)})
"""Every room version that this server speaks, by its id."""


def get_version(version_id: str) -> RoomVersion:
    """The room version called ``version_id``.

    Raises:
        UnsupportedRoomVersion: this server does not speak it.
    """
    version = VERSIONS.get(version_id)
    if version is None:
        known = ", ".join(VERSIONS)
        raise UnsupportedRoomVersion(f"This server makes rooms of the versions {known} only")
    return version
