"""What a person changed about the push rules ("Push Rules"), and how they may change it.

A ``Ruleset`` says nothing about whose it is, so all who changed nothing share one, and an event
is judged once for all of them (``evaluate``).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from attrs import evolve, field, frozen

from homeserver.push.patterns import has_wildcard
from homeserver.push.predefined import MASTER, PREDEFINED, Json, Rule
from schema.errors import BadJson, BadRequest, InvalidParam, MissingParam, NotFound, TooLarge

KINDS: Final = ("override", "content", "room", "sender", "underride")

MAX_RULES: Final = 1_000
MAX_SIZE: Final = 100_000
MAX_TEXT: Final = 255
# What a person may have searched for in each message: a word counts 1, each ``*`` one more,
# with a ``?`` every character counts.
MAX_SEARCH: Final = 200

# The ``is`` of the condition room_member_count.
MEMBER_COUNT: Final = re.compile(r"(==|<=|>=|<|>)?([0-9]+)")

_MAX_INTEGER = 2**53 - 1
_MAX_NESTING = 5
_HISTORICAL_ACTIONS = ("dont_notify", "coalesce")
_PREDEFINED: Final[Mapping[tuple[str, str], Rule]] = {
    ("override", MASTER.rule_id): MASTER,
    **{(kind, rule.rule_id): rule for kind, rules in PREDEFINED.items() for rule in rules},
}


@frozen(cache_hash=True)
class Ruleset:
    """The predefined rules as one person changed them, and the rules of their own.

    Never changed itself: each change gives a new one. ``Ruleset()`` is that of a person who
    changed nothing. Two are equal when they mean the same, whoever they belong to.
    """

    _own: Mapping[str, tuple[Rule, ...]] = field(factory=dict, eq=False)
    _changed: Mapping[tuple[str, str], Rule] = field(factory=dict, eq=False)
    _text: str = field(init=False, repr=False)

    @_text.default
    def _as_text(self) -> str:
        own = {kind: [_stored(rule) for rule in rules] for kind, rules in self._own.items()}
        changed: dict[str, Json] = {}
        for (kind, rule_id), rule in self._changed.items():
            changed.setdefault(kind, {})[rule_id] = _difference(_PREDEFINED[kind, rule_id], rule)
        everything = {"own": own, "changed": changed}
        return orjson.dumps(everything, option=orjson.OPT_SORT_KEYS).decode()

    def dump(self) -> str:
        """All there is to store. A rule that nobody changed takes no room."""
        return self._text

    @classmethod
    def load(cls, text: str) -> "Ruleset":
        """The rule set that ``dump`` gave, without predefined rules that are no more."""
        stored = orjson.loads(text)
        return cls(
            {kind: tuple(Rule(**rule) for rule in rules) for kind, rules in stored["own"].items()},
            {
                (kind, rule_id): evolve(_PREDEFINED[kind, rule_id], **difference)
                for kind, rules in stored["changed"].items()
                for rule_id, difference in rules.items()
                if (kind, rule_id) in _PREDEFINED
            },
        )

    @property
    def master(self) -> Rule:
        """The rule that stops all notifications while it is enabled."""
        return self._changed.get(("override", MASTER.rule_id), MASTER)

    def own_rules(self, kind: str) -> tuple[Rule, ...]:
        """The person's own rules of ``kind``, the most important first."""
        return self._own.get(kind, ())

    def predefined_rules(self, kind: str) -> Iterator[Rule]:
        """The predefined rules of ``kind`` as this person has them, without ``master``."""
        for rule in PREDEFINED.get(kind, ()):
            yield self._changed.get((kind, rule.rule_id), rule)

    def rules(self, kind: str) -> Iterator[Rule]:
        """All rules of ``kind``, the most important first."""
        if kind == "override":
            yield self.master
        yield from self.own_rules(kind)
        yield from self.predefined_rules(kind)

    def as_json(self, user_id: str) -> Json:
        """The ``global`` rule set of GET /pushrules/ and of ``m.push_rules``."""
        return {kind: [rule.as_json(user_id) for rule in self.rules(kind)] for kind in KINDS}

    def get_rule(self, kind: str, rule_id: str) -> Rule:
        """Raises: NotFound."""
        for rule in self.rules(kind):
            if rule.rule_id == rule_id:
                return rule
        raise NotFound("The push rule was not found")

    def put_rule(
        self,
        kind: str,
        rule_id: str,
        body: Any,
        before: str | None = None,
        after: str | None = None,
    ) -> "Ruleset":
        """Add a rule of the person's own, or replace the one with this id.

        A new rule is enabled and comes first. A replaced one stays as enabled as it was and,
        without ``before`` and ``after``, in its place. ``before`` wins over ``after``.

        Raises:
            BadJson, MissingParam, InvalidParam: the rule, its kind or its id is not allowed.
            BadRequest: the rule ``before`` or ``after`` does not exist.
            TooLarge: more or larger rules than one person may have.
        """
        if kind not in KINDS:
            raise InvalidParam("The kind of a push rule is one of " + ", ".join(KINDS))
        _check_id(rule_id)
        own = self.own_rules(kind)
        for neighbour in (before, after):
            _check_neighbour(own, neighbour)
        enabled = next((rule.enabled for rule in own if rule.rule_id == rule_id), True)
        rule = Rule(rule_id, enabled=enabled, **_parse_rule(kind, body))
        return _checked(self._with_own(kind, _placed(own, rule, before, after)))

    def delete_rule(self, kind: str, rule_id: str) -> "Ruleset":
        """Raises: NotFound; InvalidParam: the rule is predefined."""
        if self.get_rule(kind, rule_id).is_predefined:
            raise InvalidParam("A predefined push rule can be disabled, but not deleted")
        own = self.own_rules(kind)
        return self._with_own(kind, tuple(rule for rule in own if rule.rule_id != rule_id))

    def set_enabled(self, kind: str, rule_id: str, enabled: Any) -> "Ruleset":
        """Raises: NotFound, BadJson."""
        rule = self.get_rule(kind, rule_id)
        if not isinstance(enabled, bool):
            raise BadJson("enabled is either true or false")
        return self._with(kind, evolve(rule, enabled=enabled))

    def set_actions(self, kind: str, rule_id: str, actions: Any) -> "Ruleset":
        """Raises: NotFound, BadJson, InvalidParam, TooLarge."""
        rule = self.get_rule(kind, rule_id)
        return _checked(self._with(kind, evolve(rule, actions=_parse_actions(actions))))

    def _with(self, kind: str, rule: Rule) -> "Ruleset":
        if not rule.is_predefined:
            return self._with_own(kind, _placed(self.own_rules(kind), rule))
        changed = {**self._changed, (kind, rule.rule_id): rule}
        # Whoever takes a change back shares the rule set of all others again.
        if rule == _PREDEFINED[kind, rule.rule_id]:
            del changed[kind, rule.rule_id]
        return Ruleset(self._own, changed)

    def _with_own(self, kind: str, rules: tuple[Rule, ...]) -> "Ruleset":
        own = {**self._own, kind: rules}
        if not rules:
            del own[kind]
        return Ruleset(own, self._changed)


def _stored(rule: Rule) -> Json:
    stored: Json = {"rule_id": rule.rule_id, "actions": rule.actions}
    if rule.conditions is not None:
        stored["conditions"] = rule.conditions
    if rule.pattern is not None:
        stored["pattern"] = rule.pattern
    if not rule.enabled:
        stored["enabled"] = False
    return stored


def _difference(predefined: Rule, rule: Rule) -> Json:
    difference: Json = {}
    if rule.enabled != predefined.enabled:
        difference["enabled"] = rule.enabled
    if rule.actions != predefined.actions:
        difference["actions"] = rule.actions
    return difference


def _placed(
    rules: tuple[Rule, ...], rule: Rule, before: str | None = None, after: str | None = None
) -> tuple[Rule, ...]:
    ids = [other.rule_id for other in rules]
    others = [other for other in rules if other.rule_id != rule.rule_id]
    neighbour = after if before is None else before
    if neighbour is None or neighbour == rule.rule_id:
        index = ids.index(rule.rule_id) if rule.rule_id in ids else 0
    else:
        index = [other.rule_id for other in others].index(neighbour) + (before is None)
    return (*others[:index], rule, *others[index:])


def _check_id(rule_id: str) -> None:
    if rule_id.startswith("."):
        raise InvalidParam("Ids of push rules that start with a dot belong to the server")
    if not rule_id or len(rule_id) > MAX_TEXT or "/" in rule_id or "\\" in rule_id:
        raise InvalidParam(
            f"The id of a push rule has 1 to {MAX_TEXT} characters, and no slash or backslash"
        )


def _check_neighbour(rules: tuple[Rule, ...], neighbour: str | None) -> None:
    if neighbour is None or any(rule.rule_id == neighbour for rule in rules):
        return
    if neighbour.startswith("."):
        raise InvalidParam("A push rule cannot be placed before or after a predefined one")
    raise BadRequest("The push rule to be placed before or after was not found")


def _checked(ruleset: Ruleset) -> Ruleset:
    if sum(len(ruleset.own_rules(kind)) for kind in KINDS) > MAX_RULES:
        raise TooLarge(f"You can have {MAX_RULES} push rules: delete one first")
    if len(ruleset.dump()) > MAX_SIZE:
        raise TooLarge("Your push rules are too large together: delete one first")
    if sum(map(_search_cost, _searched_for(ruleset))) > MAX_SEARCH:
        raise TooLarge("Your push rules search for too many words: delete one first")
    return ruleset


def _searched_for(ruleset: Ruleset) -> Iterator[str]:
    for kind in KINDS:
        for rule in ruleset.own_rules(kind):
            if rule.pattern is not None:
                yield rule.pattern
            for condition in rule.conditions or ():
                if condition["kind"] != "event_match":
                    continue
                if condition["key"] == "content.body" or has_wildcard(condition["pattern"]):
                    yield condition["pattern"]


def _search_cost(pattern: str) -> int:
    return len(pattern) if "?" in pattern else pattern.count("*") + 1


def _parse_rule(kind: str, body: Any) -> Json:
    if not isinstance(body, dict):
        raise BadJson("A push rule is a JSON object")
    if "actions" not in body:
        raise MissingParam("A push rule needs actions")
    rule: Json = {"actions": _parse_actions(body["actions"])}
    if kind == "content":
        if "pattern" not in body:
            raise MissingParam("A push rule of kind content needs a pattern")
        rule["pattern"] = _text(body, "pattern")
    if kind in ("override", "underride"):
        conditions = body.get("conditions", [])
        if not isinstance(conditions, list):
            raise BadJson("conditions is a list")
        for condition in conditions:
            _check_condition(condition)
        rule["conditions"] = conditions
    return rule


def _parse_actions(actions: Any) -> list[str | Json]:
    if not isinstance(actions, list):
        raise BadJson("actions is a list")
    for action in actions:
        _check_action(action)
    # "Historical Actions": they mean the same as no action.
    return [action for action in actions if action not in _HISTORICAL_ACTIONS]


def _check_action(action: Any) -> None:
    if isinstance(action, dict):
        _text(action, "set_tweak")
        _check_nesting(action)
    elif not isinstance(action, str):
        raise BadJson("An action is a text or an object")
    elif action != "notify" and action not in _HISTORICAL_ACTIONS:
        raise InvalidParam("An action is either notify or an object with set_tweak")


def _check_condition(condition: Any) -> None:
    """Of an unknown kind anything is right: it never matches, but the client may know it."""
    if not isinstance(condition, dict):
        raise BadJson("A condition is a JSON object")
    _check_nesting(condition)
    match _text(condition, "kind"):
        case "event_match":
            _text(condition, "key")
            _text(condition, "pattern")
        case "event_property_is" | "event_property_contains":
            _text(condition, "key")
            _check_value(condition)
        case "room_member_count":
            if not MEMBER_COUNT.fullmatch(_text(condition, "is")):
                raise InvalidParam(
                    "is of room_member_count is a number, perhaps after <, >, <=, >="
                )
        case "sender_notification_permission":
            _text(condition, "key")


def _check_value(condition: Json) -> None:
    if "value" not in condition:
        raise MissingParam("The condition needs a value")
    value = condition["value"]
    if not _is_plain(value):
        raise InvalidParam("The value of a condition is a text, an integer, true, false or null")


def _is_plain(value: Any) -> bool:
    if isinstance(value, int):
        return -_MAX_INTEGER <= value <= _MAX_INTEGER
    return value is None or isinstance(value, str)


def _text(body: Json, name: str) -> str:
    if name not in body:
        raise MissingParam(f"{name} is missing")
    text = body[name]
    if not isinstance(text, str):
        raise BadJson(f"{name} is a text")
    if len(text) > MAX_TEXT:
        raise InvalidParam(f"{name} has at most {MAX_TEXT} characters")
    return text


def _check_nesting(value: Any, levels: int = _MAX_NESTING) -> None:
    if not levels:
        raise BadJson(f"The parts of a push rule are nested at most {_MAX_NESTING} levels deep")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        _check_nesting(part, levels - 1)
