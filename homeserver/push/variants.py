"""Variants: what a person's push rules come to in one room.

Rules about other rooms do not matter in a room, so people who muted different rooms are alike in
all others. An event is judged once for each variant among the members, and what it means to a
variant is stored once, however many people share it.
"""

from hashlib import sha256

from attrs import evolve, frozen

from homeserver.push.evaluate import CompiledRules, Rulebook
from homeserver.push.patterns import fold, has_wildcard
from homeserver.push.predefined import Rule
from homeserver.push.rules import KINDS, Ruleset


@frozen
class Variant:
    """Rules as they are in some room; ``number`` is how the database knows them."""

    number: int
    rules: CompiledRules


@frozen
class Span:
    """The variant that judges for a person in a room, for events after position ``since``."""

    variant: Variant
    since: int


class Variants:
    """Gives equal rules the same compiled form, and the same number for ever."""

    def __init__(self) -> None:
        self._book = Rulebook()
        self.default = self.of(Ruleset())
        """That of everybody who changed nothing."""

    def of(self, ruleset: Ruleset) -> Variant:
        """The variant of rules that matter in a room."""
        digest = sha256(ruleset.dump().encode()).digest()
        return Variant(int.from_bytes(digest[:8]) >> 1, self._book.compiled(ruleset))


class RulesByRoom:
    """One person's rules, room by room."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._own = [
            (kind, rule, _rooms_of(kind, rule))
            for kind in KINDS
            for rule in ruleset.own_rules(kind)
            if rule.enabled
        ]
        self._named = {room for _, _, rooms in self._own for room in rooms}
        self._elsewhere = self._without_others("")

    def in_room(self, room_id: str) -> Ruleset:
        """The rules without those that cannot match in the room."""
        name = fold(room_id)
        return self._without_others(name) if name in self._named else self._elsewhere

    def _without_others(self, name: str) -> Ruleset:
        own: dict[str, tuple[Rule, ...]] = {}
        for kind, rule, rooms in self._own:
            if rooms <= {name}:
                own[kind] = (*own.get(kind, ()), rule)
        return evolve(self._ruleset, own=own)


def _rooms_of(kind: str, rule: Rule) -> set[str]:
    """The rooms without which a rule cannot match; two of them, and it never does."""
    if kind == "room":
        return {fold(rule.rule_id)}
    return {
        fold(condition["pattern"])
        for condition in rule.conditions or ()
        if condition["kind"] == "event_match"
        and condition["key"] == "room_id"
        and not has_wildcard(condition["pattern"])
    }
