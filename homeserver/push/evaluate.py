"""Who is notified of an event ("Push Rules"), without asking once per member.

Members with equal rule sets are judged alike, apart from the few whom the event addresses: by
their id in ``m.mentions``, as the one invited, or by their display name where a rule of their own
looks for it. So ``evaluate`` runs each distinct rule set once, and once more for each way of being
addressed. What the predefined rules say about an event is shared between all rule sets.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from attrs import frozen

from homeserver.push.conditions import (
    BODY,
    STATE_KEY,
    USER_IDS,
    Addressed,
    Condition,
    PushEvent,
    RoomFacts,
    compiled_conditions,
)
from homeserver.push.patterns import contains_words, fold, words
from homeserver.push.predefined import PREDEFINED, Json, Rule
from homeserver.push.rules import Ruleset


@frozen
class Verdict:
    """What an event means to one member. Shared between members: not to be changed."""

    notify: bool
    highlight: bool
    # What a push gateway gets, and what GET /notifications tells.
    tweaks: Json
    actions: list[str | Json]
    # None when no rule matched.
    rule_id: str | None

    @classmethod
    def of(cls, rule: Rule) -> "Verdict":
        tweaks: Json = {}
        for action in rule.actions:
            if isinstance(action, dict):
                tweak = action["set_tweak"]
                if "value" in action or tweak == "highlight":
                    tweaks[tweak] = action.get("value", True)
        notify = "notify" in rule.actions
        highlight = notify and tweaks.get("highlight") is True
        return cls(notify, highlight, tweaks, rule.actions, rule.rule_id)


SILENT: Final = Verdict(False, False, {}, [], None)

_NOT_ADDRESSED: Final = Addressed()

_Result = TypeVar("_Result")
_Rules = list[tuple[tuple[Condition, ...], _Result]]


class CompiledRules:
    """A rule set, ready to judge events. Get it from a ``Rulebook``."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.ruleset = ruleset
        self._master = Verdict.of(ruleset.master) if ruleset.master.enabled else None
        self._override = _compiled_rules(ruleset, "override")
        self._content = tuple(
            (words(rule.pattern or ""), Verdict.of(rule)) for rule in _enabled(ruleset, "content")
        )
        self._room = _by_id(ruleset, "room")
        self._sender = _by_id(ruleset, "sender")
        self._underride = _compiled_rules(ruleset, "underride")
        self._predefined = {
            rule.rule_id: Verdict.of(rule)
            for kind in PREDEFINED
            for rule in ruleset.predefined_rules(kind)
            if rule.enabled
        }
        self.reads_display_names = any(
            condition["kind"] == "contains_display_name"
            for kind in PREDEFINED
            for rule in _enabled(ruleset, kind)
            for condition in rule.conditions or ()
        )

    def judge(self, case: "Case", addressed: Addressed) -> Verdict:
        """What the first matching rule says."""
        if self._master is not None:
            return self._master
        event = case.event
        return (
            next(case.matching(self._override, addressed), None)
            or self._first_predefined(case, "override", addressed)
            or self._first_content(event)
            or self._room.get(event.room_id)
            or self._sender.get(event.sender)
            or next(case.matching(self._underride, addressed), None)
            or self._first_predefined(case, "underride", addressed)
            or SILENT
        )

    def _first_content(self, event: PushEvent) -> Verdict | None:
        body = event.folded(BODY) if self._content else None
        if body is not None:
            for pattern, verdict in self._content:
                if pattern.matches(body):
                    return verdict
        return None

    def _first_predefined(self, case: "Case", kind: str, addressed: Addressed) -> Verdict | None:
        for rule_id in case.predefined(kind, addressed):
            if rule_id in self._predefined:
                return self._predefined[rule_id]
        return None


class Rulebook:
    """Gives equal rule sets one compiled form, for as long as somebody holds it."""

    def __init__(self) -> None:
        self._compiled: WeakValueDictionary[Ruleset, CompiledRules] = WeakValueDictionary()

    def compiled(self, ruleset: Ruleset) -> CompiledRules:
        rules = self._compiled.get(ruleset)
        if rules is None:
            rules = self._compiled[ruleset] = CompiledRules(ruleset)
        return rules


@frozen
class Member:
    """Somebody who may be notified; the display name is the one in the room."""

    user_id: str
    display_name: str | None
    rules: CompiledRules


class Audience:
    """The members of a room, grouped by rule set.

    To be kept until a member comes, goes, takes another name or changes a push rule.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        self.members = {member.user_id: member for member in members}
        self.groups: dict[CompiledRules, list[str]] = {}
        self._names: list[tuple[str, str]] = []
        for member in self.members.values():
            self.groups.setdefault(member.rules, []).append(member.user_id)
            if member.display_name and member.rules.reads_display_names:
                self._names.append((fold(member.display_name), member.user_id))

    def named(self, event: PushEvent) -> set[str]:
        """Those whose rules look for their display name, and find it."""
        body = event.folded(BODY) if self._names else None
        if body is None:
            return set()
        return {user_id for name, user_id in self._names if contains_words(body, name)}


@frozen
class Outcome:
    """The verdicts on one event: by rule set, and by person where they differ from that."""

    common: Mapping[CompiledRules, Verdict]
    personal: Mapping[str, Verdict]

    def verdict(self, member: Member) -> Verdict:
        return self.personal.get(member.user_id) or self.common[member.rules]


def evaluate(
    event: PushEvent, room: RoomFacts, audience: Audience, invited: Member | None = None
) -> Outcome:
    """What ``event`` means to everybody in ``audience``, and to ``invited``.

    ``invited`` is not in ``audience`` yet, and always in ``Outcome.personal``. The sender is never
    notified.
    """
    case = Case(event, room)
    common = {rules: rules.judge(case, _NOT_ADDRESSED) for rules in audience.groups}
    personal: dict[str, Verdict] = {}
    for user_id, addressed in _addressed(event, audience).items():
        rules = audience.members[user_id].rules
        verdict = rules.judge(case, addressed)
        if verdict is not common[rules]:
            personal[user_id] = verdict
    if invited is not None:
        personal[invited.user_id] = evaluate(event, room, Audience([invited])).verdict(invited)
    if event.sender in audience.members:
        personal[event.sender] = SILENT
    return Outcome(common, personal)


def _addressed(event: PushEvent, audience: Audience) -> dict[str, Addressed]:
    mentions = event.value(USER_IDS)
    # A user id is compared as it is, although event_match ignores case: two people whose ids
    # differ by case are two people.
    mentioned = {
        user_id
        for user_id in (mentions if isinstance(mentions, list) else ())
        if isinstance(user_id, str) and user_id in audience.members
    }
    subject = event.value(STATE_KEY)
    named = audience.named(event)
    people = mentioned | named | ({subject} & audience.members.keys())
    return {
        user_id: Addressed(user_id in mentioned, user_id == subject, user_id in named)
        for user_id in people
    }


class Case:
    """One event in one room, and what the predefined rules say about it."""

    def __init__(self, event: PushEvent, room: RoomFacts) -> None:
        self.event = event
        self.room = room
        self._predefined: dict[tuple[str, Addressed], list[str]] = {}

    def matching(self, rules: _Rules[_Result], addressed: Addressed) -> Iterator[_Result]:
        """What the rules stand for whose conditions all hold."""
        event, room = self.event, self.room
        for conditions, result in rules:
            for condition in conditions:
                if not condition(event, room, addressed):
                    break
            else:
                yield result

    def predefined(self, kind: str, addressed: Addressed) -> list[str]:
        """Ids of the predefined rules that match, whether a person has them enabled or not."""
        found = self._predefined.get((kind, addressed))
        if found is None:
            found = list(self.matching(_PREDEFINED[kind], addressed))
            self._predefined[kind, addressed] = found
        return found


def _enabled(ruleset: Ruleset, kind: str) -> list[Rule]:
    return [rule for rule in ruleset.own_rules(kind) if rule.enabled]


def _by_id(ruleset: Ruleset, kind: str) -> dict[str, Verdict]:
    return {rule.rule_id: Verdict.of(rule) for rule in _enabled(ruleset, kind)}


def _compiled_rules(ruleset: Ruleset, kind: str) -> _Rules[Verdict]:
    return [(compiled_conditions(rule), Verdict.of(rule)) for rule in _enabled(ruleset, kind)]


_PREDEFINED: Final[Mapping[str, _Rules[str]]] = {
    kind: [(compiled_conditions(rule), rule.rule_id) for rule in rules]
    for kind, rules in PREDEFINED.items()
}
