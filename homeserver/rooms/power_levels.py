"""Power levels: who may do what in a room, and who may change that.

Client-server API, "m.room.power_levels"; the rules for a new ``m.room.power_levels`` event are rule
9 (10 since version 12) of the authorisation rules.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import frozen

from homeserver.rooms.versions import RoomVersion
from schema.errors import Forbidden, InvalidParam
from schema.ids import user_id as parse_user_id

Level = float
"""An integer, or infinity for the privileged creators of room version 12."""

_SINGLE_LEVELS = (
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "redact",
    "kick",
    "invite",
)
_LEVEL_MAPS = ("events", "notifications")
_INTEGER_TEXT = re.compile(r"\s*([+-]?)0*([0-9]{1,16})\s*", re.ASCII)


@frozen
class PowerLevels:
    """The power levels of a room at one moment. Cheap to make: levels are looked up when asked."""

    version: RoomVersion
    content: Mapping[str, Any]
    privileged: frozenset[str]

    @classmethod
    def of(
        cls, content: Mapping[str, Any] | None, version: RoomVersion, creators: Collection[str]
    ) -> "PowerLevels":
        """The levels that ``content`` of the current ``m.room.power_levels`` event sets.

        ``None`` when the room has no such event: then its creator has 100.
        """
        if version.creators_privileged:
            return cls(version, content or {}, frozenset(creators))
        if content is None:
            content = {"users": dict.fromkeys(creators, 100)}
        return cls(version, content, frozenset())

    def level_of(self, user_id: str) -> Level:
        """The power level of a person, whether in the room or not."""
        if user_id in self.privileged:
            return math.inf
        level = self._entry("users", user_id)
        return self.users_default if level is None else level

    def needed_for(self, event_type: str, *, is_state: bool) -> int:
        """The level that sending an event takes.

        Memberships have levels of their own: ``invite``, ``kick`` and ``ban``.
        """
        level = self._entry("events", event_type)
        if level is not None:
            return level
        return self._single("state_default", 50) if is_state else self.events_default

    def needed_to_notify(self, kind: str = "room") -> int:
        """The level from which a notification for all, such as @room, counts."""
        level = self._entry("notifications", kind)
        return 50 if level is None else level

    @property
    def users_default(self) -> int:
        return self._single("users_default", 0)

    @property
    def events_default(self) -> int:
        return self._single("events_default", 0)

    @property
    def invite(self) -> int:
        return self._single("invite", 0)

    @property
    def kick(self) -> int:
        return self._single("kick", 50)

    @property
    def ban(self) -> int:
        return self._single("ban", 50)

    @property
    def redact(self) -> int:
        """The level that redacting the event of somebody else takes."""
        return self._single("redact", 50)

    def _single(self, name: str, default: int) -> int:
        level = _level(self.content.get(name), self.version)
        return default if level is None else level

    def _entry(self, name: str, key: str) -> int | None:
        return _level(_entries(self.content, name).get(key), self.version)


def as_integers(content: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """The same power levels written as every room version takes them, without what is none."""
    levels = {name: _level(content.get(name), version) for name in _SINGLE_LEVELS}
    maps = {
        name: {key: _level(value, version) for key, value in _entries(content, name).items()}
        for name in (*_LEVEL_MAPS, "users")
        if name in content
    }
    others = {k: v for k, v in content.items() if k not in levels and k not in maps}
    return {
        **others,
        **_without_none(levels),
        **{name: _without_none(entries) for name, entries in maps.items()},
    }


def _without_none(levels: Mapping[str, int | None]) -> dict[str, int]:
    return {name: level for name, level in levels.items() if level is not None}


def check_content(
    content: Mapping[str, Any], version: RoomVersion, creators: Collection[str]
) -> None:
    """Refuse content that cannot be a ``m.room.power_levels`` event of this room version.

    Raises:
        Forbidden: a level that is no integer, a key that is no user id, or a creator in ``users``.
    """
    if version.integer_levels_only:
        for name in _SINGLE_LEVELS:
            if name in content and _level(content[name], version) is None:
                raise Forbidden(f"The power level '{name}' must be an integer")
        for name in _LEVEL_MAPS:
            _check_map(content, name, version)
    _check_map(content, "users", version)
    users = content.get("users", {})
    if not all(map(is_user_id, users)):
        raise Forbidden("The keys of 'users' in the power levels must be user ids")
    if version.creators_privileged and not users.keys().isdisjoint(creators):
        raise Forbidden(
            "Creators of this room stand above all power levels: leave them out of 'users'"
        )


def check_change(before: PowerLevels, content: Mapping[str, Any], sender: str) -> None:
    """Refuse ``content`` in place of ``before`` where it reaches above the level of ``sender``.

    Raises:
        Forbidden: names the first level that ``sender`` may not change or not set.
    """
    version, own = before.version, before.level_of(sender)
    for what, person, old, new in _alterations(before.content, content, version):
        # Somebody of one's own level is out of reach; oneself is not.
        if old is not None and (old > own or (old == own and person not in (None, sender))):
            raise Forbidden(
                f"The power level of {what} is {old} and yours is {own}: you may not change it"
            )
        if new is not None and new > own:
            raise Forbidden(f"You may not raise the power level of {what} above your own, {own}")


def is_user_id(value: Any) -> bool:
    """Whether ``value`` is a user id as an event may hold it, historical ones included."""
    try:
        parse_user_id(value)
    except InvalidParam:
        return False
    return True


def _alterations(
    before: Mapping[str, Any], after: Mapping[str, Any], version: RoomVersion
) -> Iterator[tuple[str, str | None, int | None, int | None]]:
    """Every level that differs and that not everybody may change: its name, the person it is of,
    the old and the new value."""
    maps = _LEVEL_MAPS if version.notification_levels_guarded else ("events",)
    for name in _SINGLE_LEVELS:
        old, new = _level(before.get(name), version), _level(after.get(name), version)
        if old != new:
            yield f"'{name}'", None, old, new
    for name in (*maps, "users"):
        olds, news = _entries(before, name), _entries(after, name)
        for key in {**olds, **news}:
            old, new = _level(olds.get(key), version), _level(news.get(key), version)
            if old != new:
                yield f"'{name}.{key}'", key if name == "users" else None, old, new


def _check_map(content: Mapping[str, Any], name: str, version: RoomVersion) -> None:
    levels = content.get(name, {})
    if not isinstance(levels, dict) or any(_level(v, version) is None for v in levels.values()):
        raise Forbidden(f"'{name}' in the power levels must be an object with integers as values")


def _entries(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entries = content.get(name)
    return entries if isinstance(entries, dict) else {}


def _level(value: Any, version: RoomVersion) -> int | None:
    """The level that ``value`` stands for; None when it is absent or none."""
    if type(value) is int:  # True is an int to Python, not to JSON
        return value
    if type(value) not in version.level_types:
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    match = _INTEGER_TEXT.fullmatch(value)
    return int(match[1] + match[2]) if match else None
