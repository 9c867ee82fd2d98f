"""``python -m tests.conformance.ledger [missing]``: check the ledger, list, count."""

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
JOURNEYS = "tests.clients.journeys"
LEVELS = ("MUST", "SHOULD", "plain")
STATES = ("tests", "missing", "not_offered")


@frozen
class Rule:
    """What a server does, and how that is proved; ``proof`` is a list of tests or a reason."""

    section: str
    sentence: str
    level: str
    state: str
    proof: Any


@frozen
class Ledger:
    rules: list[Rule]
    mistakes: list[str]

    def __str__(self) -> str:
        states = Counter(rule.state for rule in self.rules)
        return (
            f"{len(self.rules)} rules: {states['tests']} tested, {states['missing']} missing,"
            f" {states['not_offered']} not offered"
        )


def load(folder: Path = FOLDER) -> Ledger:
    """Every rule of the files in ``folder``, and every mistake in them, as sentences."""
    rules: list[Rule] = []
    mistakes: list[str] = []
    for file in sorted(folder.rglob("*.yaml")):
        place = str(file.relative_to(folder))
        try:
            page = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            mistakes.append(f"{place}: {error}")
            continue
        wrong = list(_mistakes_of_page(place, page))
        mistakes += wrong
        for entry in [] if wrong else page["rules"]:
            found = [f"{place}: {each}" for each in _mistakes_of_rule(entry)]
            mistakes += found
            if not found:
                state = next(each for each in STATES if each in entry)
                rules.append(
                    Rule(page["section"], entry["rule"], entry["level"], state, entry[state])
                )
    return Ledger(rules, mistakes + list(_twice(rules)))


def _mistakes_of_page(place: str, page: Any) -> Iterator[str]:
    if not isinstance(page, dict) or set(page) != {"section", "source", "rules"}:
        yield f"{place}: a page has the keys section, source and rules"
    elif not str(page["source"]).startswith("content/"):
        yield f"{place}: source is a path in the specification's repository, content/..."
    elif not isinstance(page["rules"], list) or not page["rules"]:
        yield f"{place}: there is no rule"


def _mistakes_of_rule(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("rule"), str):
        yield f"this has no sentence: {entry!r}"
        return
    sentence = entry["rule"]
    if not sentence.endswith("."):
        yield f"no sentence: {sentence!r}"
    if entry.get("level") not in LEVELS:
        yield f"the level is one of {', '.join(LEVELS)}: {sentence}"
    states = entry.keys() - {"rule", "level"}
    if len(states) != 1 or not states <= set(STATES):
        yield f"beside rule and level there is one of {', '.join(STATES)}: {sentence}"
        return
    [state] = states
    proof = entry[state]
    if state != "tests":
        if not isinstance(proof, str) or not proof:
            yield f"{state} says why: {sentence}"
    elif not isinstance(proof, list) or not proof:
        yield f"tests is a list of names: {sentence}"
    else:
        for name in proof:
            if not is_test(name):
                yield f"there is no test {name}: {sentence}"


def _twice(rules: Iterable[Rule]) -> Iterator[str]:
    count = Counter(rule.sentence.casefold() for rule in rules)
    for rule in rules:
        if count[rule.sentence.casefold()] > 1:
            yield f"{rule.section}: this rule stands twice: {rule.sentence}"


def is_test(name: Any) -> bool:
    """Whether ``name`` is ``module.Class.test_method`` of a module under ``tests``, or
    ``tests.clients.journeys.journey``."""
    if not isinstance(name, str):
        return False
    outer, _, method = name.rpartition(".")
    if outer == JOURNEYS:
        return method in _journeys()
    module, _, rest = outer.rpartition(".")
    return method.startswith("test_") and (rest, method) in _tests_of(module)


@cache
def _tests_of(module: str) -> frozenset[tuple[str, str]]:
    """The (class, method) pairs that a module defines; read and not imported, which is quick."""
    file = ROOT / (module.replace(".", "/") + ".py")
    if not module.startswith("tests.") or not file.is_file():
        return frozenset()
    return frozenset(
        (outer.name, inner.name)
        for outer in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(outer, ast.ClassDef)
        for inner in outer.body
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@cache
def _journeys() -> frozenset[str]:
    """What real clients do: the names in the list of the journeys that run."""
    file = ROOT / (JOURNEYS.replace(".", "/") + ".py")
    lists = [
        each.value.elts
        for each in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(each, ast.AnnAssign) and isinstance(each.value, ast.List)
    ]
    return frozenset(each.id for found in lists for each in found if isinstance(each, ast.Name))


def main(wanted: list[str]) -> int:
    ledger = load()
    for mistake in ledger.mistakes:
        print(mistake)
    for rule in ledger.rules:
        if rule.state in wanted:
            print(f"{rule.level} [{rule.section}] {rule.sentence} ({rule.proof})")
    print(ledger)
    return 1 if ledger.mistakes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
