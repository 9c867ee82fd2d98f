"""Filters: which events a client wants to see, and how (client-server API, "Filtering").

Parsed once; equal filters are equal values and may share what is cached for them. They ask for an
event's type, its sender and the like, so an event can stay the JSON text that it is stored as.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from attrs import field, frozen

from homeserver.push.patterns import property_path
from schema.errors import BadJson, InvalidParam

DEFAULT_TIMELINE_LIMIT: Final = 10
# A larger limit is lowered to this one.
MAX_LIMIT: Final = 1_000
MAX_ENTRIES: Final = 1_000
MAX_TEXT: Final = 255
MAX_WILDCARDS: Final = 100

# Names of properties below names of properties; None where everything is wanted.
_Fields = dict[str, "_Fields | None"]
# Texts with ``*``, cut there.
_Wildcards = tuple[list[str], ...]


def _wildcards(types: frozenset[str] | None) -> _Wildcards:
    return tuple(wanted.split("*") for wanted in types or () if "*" in wanted)


@frozen(cache_hash=True)
class EventFilter:
    """EventFilter of the specification: by type and sender."""

    # None: all of them.
    types: frozenset[str] | None = None
    not_types: frozenset[str] = frozenset()
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()
    limit: int | None = None
    _types: _Wildcards = field(init=False, eq=False, repr=False)
    _not_types: _Wildcards = field(init=False, eq=False, repr=False)

    @_types.default
    def _wanted(self) -> _Wildcards:
        return _wildcards(self.types)

    @_not_types.default
    def _unwanted(self) -> _Wildcards:
        return _wildcards(self.not_types)

    @classmethod
    def parse(cls, value: Any, name: str = "The filter") -> Self:
        """Raises: BadJson: a wrong shape; InvalidParam: a value that cannot be."""
        return cls(**cls._parse_fields(_object(value, name)))

    @classmethod
    def _parse_fields(cls, value: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "types": _types(value, "types"),
            "not_types": _types(value, "not_types") or frozenset(),
            "senders": _ids(value, "senders", "@"),
            "not_senders": _ids(value, "not_senders", "@") or frozenset(),
            "limit": _limit(value),
        }

    @property
    def allows_all(self) -> bool:
        """Whether ``allows`` is true for every event."""
        return (
            self.types is None
            and self.senders is None
            and not self.not_types
            and not self.not_senders
        )

    def allows_type(self, event_type: str) -> bool:
        if self.types is not None and not _among(event_type, self.types, self._types):
            return False
        return not _among(event_type, self.not_types, self._not_types)

    def allows_sender(self, sender: str | None) -> bool:
        """None: what has no sender, such as typing notifications."""
        return _selected(sender, self.senders, self.not_senders)

    def allows(self, event_type: str, sender: str | None = None) -> bool:
        return self.allows_type(event_type) and self.allows_sender(sender)


@frozen(cache_hash=True)
class RoomEventFilter(EventFilter):
    """RoomEventFilter of the specification; also the filter of /messages, /context and /search."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    # None: with or without.
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False

    @classmethod
    def _parse_fields(cls, value: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **EventFilter._parse_fields(value),
            "rooms": _ids(value, "rooms", "!"),
            "not_rooms": _ids(value, "not_rooms", "!") or frozenset(),
            "contains_url": _flag(value, "contains_url", None),
            "lazy_load_members": _flag(value, "lazy_load_members", False),
            "include_redundant_members": _flag(value, "include_redundant_members", False),
            "unread_thread_notifications": _flag(value, "unread_thread_notifications", False),
        }

    @property
    def allows_all(self) -> bool:
        """Whether ``allows_event`` is true for every event."""
        return self.contains_url is None and super().allows_all

    def allows_room(self, room_id: str) -> bool:
        return _selected(room_id, self.rooms, self.not_rooms)

    def allows_event(self, event_type: str, sender: str | None, content: Mapping[str, Any]) -> bool:
        """Like ``allows``, with regard to ``contains_url``."""
        if self.contains_url is not None and ("url" in content) != self.contains_url:
            return False
        return self.allows(event_type, sender)


@frozen(cache_hash=True)
class RoomFilter:
    """RoomFilter of the specification: the rooms that /sync shows, and what of them."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    ephemeral: RoomEventFilter = RoomEventFilter()
    state: RoomEventFilter = RoomEventFilter()
    timeline: RoomEventFilter = RoomEventFilter()
    account_data: RoomEventFilter = RoomEventFilter()

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises: BadJson, InvalidParam."""
        value = _object(value, "room")
        return cls(
            _ids(value, "rooms", "!"),
            _ids(value, "not_rooms", "!") or frozenset(),
            _flag(value, "include_leave", False),
            *(
                RoomEventFilter.parse(value.get(section, {}), f"room.{section}")
                for section in ("ephemeral", "state", "timeline", "account_data")
            ),
        )

    def allows_room(self, room_id: str) -> bool:
        """Asked before the four filters within the room."""
        return _selected(room_id, self.rooms, self.not_rooms)


@frozen(cache_hash=True)
class Filter:
    """Filter of the specification, as uploaded, or given to /sync itself."""

    DEFAULT: ClassVar["Filter"]

    presence: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()
    room: RoomFilter = RoomFilter()
    event_format: str = "client"
    # None: all of them.
    event_fields: frozenset[str] | None = None
    _fields: _Fields = field(init=False, eq=False, repr=False)

    @_fields.default
    def _wanted_fields(self) -> _Fields:
        return _tree(self.event_fields or frozenset())

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises: BadJson: a wrong shape; InvalidParam: a value that cannot be."""
        value = _object(value, "The filter")
        event_format = value.get("event_format", "client")
        if event_format not in ("client", "federation"):
            raise InvalidParam("event_format is either client or federation")
        return cls(
            EventFilter.parse(value.get("presence", {}), "presence"),
            EventFilter.parse(value.get("account_data", {}), "account_data"),
            RoomFilter.parse(value.get("room", {})),
            event_format,
            # An empty list would leave nothing of an event: taken as absent.
            _texts(value, "event_fields") or None,
        )

    @property
    def lazy_load_members(self) -> bool:
        return self.room.state.lazy_load_members

    @property
    def include_redundant_members(self) -> bool:
        return self.room.state.include_redundant_members

    @property
    def unread_thread_notifications(self) -> bool:
        return self.room.timeline.unread_thread_notifications

    def select_fields(self, event: dict[str, Any]) -> dict[str, Any]:
        """``event`` with only the properties in ``event_fields``."""
        return event if self.event_fields is None else _selected_fields(event, self._fields)


def _among(event_type: str, types: frozenset[str], wildcards: _Wildcards) -> bool:
    return event_type in types or any(_matches(parts, event_type) for parts in wildcards)


def _matches(parts: list[str], text: str) -> bool:
    first, *middle, last = parts
    position, end = len(first), len(text) - len(last)
    if end < position or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _selected(value: str | None, wanted: frozenset[str] | None, unwanted: frozenset[str]) -> bool:
    return value not in unwanted and (wanted is None or value in wanted)


def _tree(keys: frozenset[str]) -> _Fields:
    tree: _Fields = {}
    for key in keys:
        *parents, last = property_path(key)
        node = tree
        for name in parents:
            below = node.setdefault(name, {})
            if below is None:
                break
            node = below
        else:
            node[last] = None
    return tree


def _selected_fields(value: Mapping[str, Any], fields: _Fields) -> dict[str, Any]:
    selected = {}
    for name, below in fields.items():
        part = value.get(name)
        if below is None and name in value:
            selected[name] = part
        elif below is not None and isinstance(part, Mapping):
            selected[name] = _selected_fields(part, below)
    return selected


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadJson(f"{name} is a JSON object")
    return value


def _texts(value: Mapping[str, Any], name: str) -> frozenset[str] | None:
    if name not in value:
        return None
    texts = value[name]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadJson(f"{name} is a list of texts")
    if len(texts) > MAX_ENTRIES or any(len(text) > MAX_TEXT for text in texts):
        raise InvalidParam(f"{name} has at most {MAX_ENTRIES} texts of {MAX_TEXT} characters")
    return frozenset(texts)


def _types(value: Mapping[str, Any], name: str) -> frozenset[str] | None:
    types = _texts(value, name)
    if types is not None and sum(text.count("*") for text in types) > MAX_WILDCARDS:
        raise InvalidParam(f"{name} has at most {MAX_WILDCARDS} wildcards")
    return types


def _ids(value: Mapping[str, Any], name: str, sigil: str) -> frozenset[str] | None:
    ids = _texts(value, name)
    if ids is not None and not all(text.startswith(sigil) for text in ids):
        raise InvalidParam(f"What stands in {name} starts with {sigil}")
    return ids


def _flag(value: Mapping[str, Any], name: str, default: bool | None) -> Any:
    flag = value.get(name, default)
    if flag is not default and not isinstance(flag, bool):
        raise BadJson(f"{name} is either true or false")
    return flag


def _limit(value: Mapping[str, Any]) -> int | None:
    limit = value.get("limit")
    if "limit" in value and type(limit) is not int:
        raise BadJson("limit is an integer")
    # COMPAT: bots that want no history ask for 0, although it ought to be greater.
    if limit is not None and limit < 0:
        raise InvalidParam("limit is not negative")
    return None if limit is None else min(limit, MAX_LIMIT)


Filter.DEFAULT = Filter()
