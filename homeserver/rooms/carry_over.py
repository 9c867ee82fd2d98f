"""What a person keeps about a room, carried over when they move to the room that replaces it."""

from collections.abc import Callable
from typing import Any

import orjson
from attrs import frozen

from homeserver.account_data import TAGS, AccountData
from homeserver.push.predefined import Rule
from homeserver.push.rules import Ruleset
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.room import Room
from homeserver.rooms.upgrade import predecessor_of
from schema.errors import NotFound, TooLarge
from storage import account_data
from storage.events import Event
from storage.transaction import WriteTransaction

_DIRECT = "m.direct"
_WITH_CONDITIONS = ("override", "underride")

ChangeRules = Callable[[WriteTransaction, str, Callable[[Ruleset], Ruleset]], None]


@frozen
class CarryOver:
    """Client-server API, "Room Upgrades": tags, direct chats and push rules follow the person.

    What somebody has set for the new room stays as it is.
    """

    rooms: RoomCache
    account_data: AccountData
    change_rules: ChangeRules

    def stored(self, txn: WriteTransaction, before: Room, after: Room, event: Event) -> None:
        """As a watcher of the journal: somebody may have just come in."""
        if _comes_in(before, after, event):
            self._carry(txn, after, str(event.state_key))

    def _carry(self, txn: WriteTransaction, room: Room, user_id: str) -> None:
        old_id = self._replaced_by(txn, room)
        if old_id is None:
            return
        new_id = room.room_id
        for carry in (self._tags, self._direct, self._rules):
            try:
                carry(txn, user_id, old_id, new_id)
            except TooLarge:
                continue  # Whoever keeps as much as they may, joins all the same.

    def _replaced_by(self, txn: WriteTransaction, room: Room) -> str | None:
        """Both rooms must say so: anybody can make a room that claims to replace another."""
        old_id = predecessor_of(room)
        if old_id is None:
            return None
        try:
            old = self.rooms.head(txn, old_id)
        except NotFound:
            return None
        named = old.state.text("m.room.tombstone", "replacement_room")
        return old_id if named == room.room_id else None

    def _tags(self, txn: WriteTransaction, user_id: str, old_id: str, new_id: str) -> None:
        tags = _read(txn, user_id, old_id, TAGS)
        if tags.get("tags") and not _read(txn, user_id, new_id, TAGS).get("tags"):
            self.account_data.keep(txn, user_id, new_id, TAGS, tags)

    def _direct(self, txn: WriteTransaction, user_id: str, old_id: str, new_id: str) -> None:
        direct = _read(txn, user_id, "", _DIRECT)
        changed = {
            other: [*room_ids, new_id] if _names(room_ids, old_id, new_id) else room_ids
            for other, room_ids in direct.items()
        }
        if changed != direct:
            self.account_data.keep(txn, user_id, "", _DIRECT, changed)

    def _rules(self, txn: WriteTransaction, user_id: str, old_id: str, new_id: str) -> None:
        self.change_rules(txn, user_id, lambda rules: with_rules_of(rules, old_id, new_id))


def with_rules_of(rules: Ruleset, old_id: str, new_id: str) -> Ruleset:
    """The same, with a copy for one room of each rule that is about another one.

    Raises:
        TooLarge: they are more than one person may have.
    """
    for kind in ("override", "room", "underride"):
        own = rules.own_rules(kind)
        ids = {rule.rule_id for rule in own}
        for rule in own:
            rule_id = rule.rule_id.replace(old_id, new_id)
            if rule_id not in ids:
                body = _body(kind, rule, old_id, new_id)
                rules = rules.put_rule(kind, rule_id, body, after=rule.rule_id)
                rules = rules.set_enabled(kind, rule_id, rule.enabled)
    return rules


def _body(kind: str, rule: Rule, old_id: str, new_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {"actions": rule.actions}
    if kind in _WITH_CONDITIONS:
        body["conditions"] = [
            {**each, "pattern": new_id} if each.get("pattern") == old_id else each
            for each in rule.conditions or ()
        ]
    return body


def _names(room_ids: Any, old_id: str, new_id: str) -> bool:
    return isinstance(room_ids, list) and old_id in room_ids and new_id not in room_ids


def _read(txn: WriteTransaction, user_id: str, room_id: str, data_type: str) -> dict[str, Any]:
    kept = orjson.loads(account_data.find(txn, user_id, room_id, data_type) or "{}")
    return kept if isinstance(kept, dict) else {}


def _comes_in(before: Room, after: Room, event: Event) -> bool:
    """Not a change of name: that is a join of somebody who is there."""
    if event.type != "m.room.member" or event.state_key is None:
        return False
    was, now = (room.state.membership(event.state_key) for room in (before, after))
    return was != "join" and now == "join"
