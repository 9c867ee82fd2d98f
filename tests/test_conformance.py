"""The conformance ledger is well-formed, and every test that it names is there."""

from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.conformance.ledger import FOLDER, load

TEST = "tests.test_conformance.LedgerTest.test_it_has_no_mistake"
PAGE = "section: A\nsource: content/a.md\nrules:\n"
RULE = "- rule: It does so.\n  level: MUST\n"


class LedgerTest(TestCase):
    def test_it_has_no_mistake(self) -> None:
        ledger = load(FOLDER)
        self.assertEqual(ledger.mistakes, [])
        self.assertTrue(ledger.rules)

    def test_each_kind_of_rule_is_counted(self) -> None:
        ledger = self._ledger(
            f"{PAGE}{RULE}  tests: [{TEST}, tests.clients.journeys.the_login_page]\n"
            "- {rule: It does more., level: SHOULD, missing: hard to see}\n"
            "- {rule: It federates., level: plain, not_offered: federation}\n"
        )
        self.assertEqual(ledger.mistakes, [])
        self.assertEqual(str(ledger), "3 rules: 1 tested, 1 missing, 1 not offered")

    def test_each_mistake_is_found(self) -> None:
        for text, words in {
            "rules: [": "while parsing",
            "- a list": "a page has the keys",
            PAGE + "more: 1": "a page has the keys",
            "{section: A, source: elsewhere, rules: [1]}": "source is a path",
            PAGE: "there is no rule",
            PAGE + "- level: MUST": "no sentence",
            PAGE + "- {rule: it, level: MUST, missing: why}": "no sentence",
            PAGE + "- {rule: It., level: MAY, missing: why}": "the level is one of",
            PAGE + RULE: "there is one of tests, missing, not_offered",
            PAGE + RULE + f"  tests: [{TEST}]\n  missing: why": "there is one of",
            PAGE + RULE + "  todo: why": "there is one of",
            PAGE + RULE + "  missing:": "missing says why",
            PAGE + RULE + "  tests: []": "tests is a list",
            PAGE + RULE + f"  tests: [{TEST}_at_all]": "there is no test",
            PAGE + RULE + "  tests: [tests.support.Server.start]": "there is no test",
            PAGE + RULE + "  tests: [tests.clients.journeys.two_people]": "there is no test",
            PAGE + RULE + "  tests: [tests.gone.Gone.test_gone]": "there is no test",
            PAGE + 2 * (RULE + "  missing: why\n"): "stands twice",
        }.items():
            with self.subTest(text):
                self.assertIn(words, "".join(self._ledger(text).mistakes))

    def _ledger(self, text: str):
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        (folder / "page.yaml").write_text(text, encoding="utf-8")
        return load(folder)
