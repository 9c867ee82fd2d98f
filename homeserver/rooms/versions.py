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
        event_id_alphabet: the last two characters of the Base64 alphabet of event ids, which are
            hashes; None where an id is made up, names the server and stands in the event. Such
            events name earlier ones together with their hashes.
        canonical_json: events hold whole numbers of 53 bits only; before, any number.
        level_types: what a power level may be written as: an integer, a text that holds one, a
            float, of which the whole part counts.
        notification_levels_guarded: who changes ``notifications`` in the power levels needs the
            level that they set.
        servers_list_aliases: ``m.room.aliases`` is for the server that its state key names.
        servers_own_events: a redaction of another server's event needs the level *redact* to be
            allowed at all.
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
    event_id_alphabet: bytes | None
    canonical_json: bool
    level_types: tuple[type, ...]
    notification_levels_guarded: bool
    servers_list_aliases: bool
    servers_own_events: bool
    knock_rules: frozenset[str]
    restricted_rules: frozenset[str]
    creator_in_content: bool
    redacts_in_content: bool
    room_id_from_create: bool
    creators_privileged: bool

    @property
    def integer_levels_only(self) -> bool:
        """Whether power levels are checked to be integers, every one of them."""
        return self.level_types == (int,)


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
        "prev_state",
        "auth_events",
        "origin",
        "origin_server_ts",
        "membership",
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


def _keeping(
    before: Mapping[str, frozenset[str]], **changed: frozenset[str]
) -> Mapping[str, frozenset[str]]:
    """The content keys of the version before, with those of some types changed."""
    return MappingProxyType(
        {**before, **{f"m.room.{name}": keys for name, keys in changed.items()}}
    )


_V1 = RoomVersion(
    id="1",
    redaction=Redaction(
        event_keys=_EVENT_KEYS,
        content_keys=_keeping(
            {},
            member=frozenset({"membership"}),
            create=frozenset({"creator"}),
            join_rules=frozenset({"join_rule"}),
            power_levels=_POWER_LEVEL_KEYS,
            aliases=frozenset({"aliases"}),
            history_visibility=frozenset({"history_visibility"}),
        ),
        keeps_create_content=False,
        keeps_signed_third_party_invite=False,
    ),
    event_id_alphabet=None,
    canonical_json=False,
    level_types=(int, str, float),
    notification_levels_guarded=False,
    servers_list_aliases=True,
    servers_own_events=True,
    knock_rules=frozenset(),
    restricted_rules=frozenset(),
    creator_in_content=True,
    redacts_in_content=False,
    room_id_from_create=False,
    creators_privileged=False,
)
# Versions 2 and 5 change what only servers that federate do: resolving state, and how long the
# signing keys of others are valid.
_V2 = evolve(_V1, id="2")
_V3 = evolve(_V2, id="3", event_id_alphabet=b"+/", servers_own_events=False)
_V4 = evolve(_V3, id="4", event_id_alphabet=b"-_")
_V5 = evolve(_V4, id="5")
_V6 = evolve(
    _V5,
    id="6",
    redaction=evolve(
        _V5.redaction, content_keys=_keeping(_V5.redaction.content_keys, aliases=frozenset())
    ),
    canonical_json=True,
    level_types=(int, str),
    notification_levels_guarded=True,
    servers_list_aliases=False,
)
_V7 = evolve(_V6, id="7", knock_rules=frozenset({"knock"}))
_V8 = evolve(
    _V7,
    id="8",
    redaction=evolve(
        _V7.redaction,
        content_keys=_keeping(
            _V7.redaction.content_keys, join_rules=frozenset({"join_rule", "allow"})
        ),
    ),
    restricted_rules=frozenset({"restricted"}),
)
_V9 = evolve(
    _V8,
    id="9",
    redaction=evolve(
        _V8.redaction,
        content_keys=_keeping(
            _V8.redaction.content_keys,
            member=frozenset({"membership", "join_authorised_via_users_server"}),
        ),
    ),
)
_V10 = evolve(
    _V9,
    id="10",
    level_types=(int,),
    knock_rules=frozenset({"knock", "knock_restricted"}),
    restricted_rules=frozenset({"restricted", "knock_restricted"}),
)
_V11 = evolve(
    _V10,
    id="11",
    redaction=Redaction(
        event_keys=_EVENT_KEYS - {"origin", "membership", "prev_state"},
        content_keys=_keeping(
            _V10.redaction.content_keys,
            power_levels=_POWER_LEVEL_KEYS | {"invite"},
            redaction=frozenset({"redacts"}),
        ),
        keeps_create_content=True,
        keeps_signed_third_party_invite=True,
    ),
    creator_in_content=False,
    redacts_in_content=True,
)
_V12 = evolve(_V11, id="12", room_id_from_create=True, creators_privileged=True)

VERSIONS: Mapping[str, RoomVersion] = MappingProxyType(
    {v.id: v for v in (_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12)}
)
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
