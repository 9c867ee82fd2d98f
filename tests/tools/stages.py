"""``python -m tests.tools.stages check|test``: run every check, close with one line of figures.

Of a stage that succeeds the last line is shown, of one that fails all of them, and the others
still run. Exit code 0 only when nothing failed.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tests/clients/run.sh"
PYTHON = sys.executable
LONGEST_STAGE = 15 * 60
MOST_TRIED_AGAIN = 3


@frozen
class Stage:
    name: str
    command: list[str]

    def run(self) -> "Outcome":
        """Run the command to its end, or to the limit of time."""
        process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that the end of a stage is the end of all it started
        )
        try:
            output, _ = process.communicate(timeout=LONGEST_STAGE)
        except subprocess.TimeoutExpired:
            output = _end(process) + f"\nStopped after {LONGEST_STAGE // 60} minutes.\n"
        except BaseException:
            _end(process)
            raise
        return Outcome(process.returncode == 0, output, *_count(output, process.returncode == 0))


@frozen
class Tests(Stage):
    """Every test; the few that fail are tried once more, by themselves.

    Thousands of tests with real servers, databases and clocks: on a machine that stalls for a
    moment one of them may fail. One that passes then is named, and what it said is printed, for
    it is a defect to be mended.
    """

    def run(self) -> "Outcome":
        first = super().run()
        names = sorted(set(_failed_tests(first.output)))
        if first.ok or not names or len(names) > MOST_TRIED_AGAIN or len(names) < first.failed:
            return first
        second = Stage(self.name, [*self.command[:-1], *names]).run()
        if not second.ok:
            return first
        print(*_failures(first.output), sep="\n", flush=True)
        unsteady = f"{first.output}\nOnly at the second try: {', '.join(names)}"
        return Outcome(True, unsteady, first.passed + len(names), 0, first.skipped)


@frozen
class Outcome:
    ok: bool
    output: str
    passed: int
    failed: int
    skipped: int


def check() -> Iterator[Stage]:
    """What a contributor runs before a push."""
    yield from _static()
    yield Tests("tests on SQLite", _trial())


def test() -> Iterator[Stage]:
    """What continuous integration runs."""
    yield from _static()
    yield Tests("tests on SQLite", _trial())
    yield Tests("tests on PostgreSQL", ["tests/tools/with-postgres", *_trial()])
    yield Stage("instructions", [PYTHON, "-m", "benchmarks.instructions"])
    yield Stage("routes of the specification", [PYTHON, "-m", "tests.spec.check_routes"])
    yield Stage("conformance", [PYTHON, "-m", "tests.conformance.ledger"])
    if CLIENTS.exists():
        yield Stage(
            "real clients", ["tests/tools/with-postgres", "env", f"PYTHON={PYTHON}", str(CLIENTS)]
        )


def _static() -> Iterator[Stage]:
    yield Stage("format", [PYTHON, "-m", "ruff", "format", "--check", "."])
    yield Stage("lint", [PYTHON, "-m", "ruff", "check", "."])
    yield Stage("types", [PYTHON, "-m", "mypy"])


def _trial() -> list[str]:
    """Every test, on the engine that the environment names, spread over the processors.

    One job more than these, since tests wait a good part of their time.
    """
    jobs = min((os.cpu_count() or 1) + 1, 4)
    return [PYTHON, "-m", "twisted.trial", "--reporter=text", f"-j{jobs}", "tests"]


def _end(process: subprocess.Popen[str]) -> str:
    """Stop a stage with everything that it started; SIGTERM first, so that it can tidy up."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        output, _ = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        output = ""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return output or process.communicate()[0]


def _failures(output: str) -> list[str]:
    """What trial says of each failure: its traceback, and the tests that had it."""
    sections = output.split(f"\n{'=' * 79}\n")
    return [section for section in sections if section.startswith(("[FAIL]", "[ERROR]"))]


def _failed_tests(output: str) -> Iterator[str]:
    for section in _failures(output):
        yield from re.findall(r"^tests\.\S+\.test_\w+$", section, re.M)


def _count(output: str, ok: bool) -> tuple[int, int, int]:
    """Passed, failed and skipped, as trial or the stage's own closing line has them."""
    summary = re.findall(r"^(?:PASSED|FAILED) ?\((.*)\)$", output, re.M)
    closing = re.findall(r"(\d+) passed, (\d+) failed", output)
    passed, failed, skipped = int(ok), 0, 0
    if summary:
        figures = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", summary[-1])}
        passed, skipped = figures.get("successes", 0), figures.get("skips", 0)
        failed = sum(figures.get(bad, 0) for bad in ("failures", "errors", "unexpectedSuccesses"))
    elif closing:
        passed, failed = map(int, closing[-1])
    return passed, failed if ok else max(failed, 1), skipped


def main(names: list[str]) -> int:
    stages = {"check": check, "test": test}[names[0]]
    passed = failed = skipped = 0
    for stage in stages():
        print(f"{stage.name} ... ", end="", flush=True)
        began = time.monotonic()
        outcome = stage.run()
        seconds = f"{time.monotonic() - began:.1f} s"
        if outcome.ok:
            print(f"ok ({seconds}): {(outcome.output.splitlines() or [''])[-1]}")
        else:
            print(f"FAILED ({seconds})\n{outcome.output}", flush=True)
        passed += outcome.passed
        failed += outcome.failed
        skipped += outcome.skipped
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
