"""The command line: ``./run bench [SCENARIO [OPTION ...] ...]``, and ``compare`` of two results."""

import argparse
import os
import resource
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from attrs import fields, frozen

from benchmarks import instructions
from benchmarks.client.people import Customs
from benchmarks.output.results import load
from benchmarks.output.table import table
from benchmarks.scenario import Scenario
from benchmarks.scenarios.catalogue import PLANS, SCENARIOS
from benchmarks.suite import Suite
from benchmarks.targets.databases import KINDS, SERVER
from benchmarks.targets.hearth import hearth
from benchmarks.targets.synapse import synapse
from benchmarks.targets.target import ROOT, Target

OTHERS = {"synapse": synapse}
OPEN_FILES = 65_536
SMOKE_CALM_SECONDS = 0.2


@frozen
class Job:
    """A scenario with its options, so many times."""

    scenario: Scenario[Any]
    options: Any
    times: int

    @property
    def label(self) -> str:
        """The scenario, and the options that are not the usual ones."""
        words = [self.scenario.name]
        for each in fields(self.scenario.options):
            value = getattr(self.options, each.name)
            if value != each.default:
                words.append(_flag(each.name))
                if value is not True:
                    words.append(f"{value:g}" if isinstance(value, float) else str(value))
        return " ".join(words)


def main(words: Sequence[str]) -> int:
    """Run what the words ask for. 0 only when every answer of the servers was right."""
    if words[:1] == ["compare"]:
        return _compare(words[1:])
    if words[:1] == ["instructions"]:
        return instructions.main(words[1:])
    own, jobs = _read(words)
    wish = _parser().parse_args(own)
    jobs = jobs or _plan(wish.plan)
    if wish.database == "postgres" and SERVER not in os.environ:
        _start_again_with_postgres(words)
    _open_many_files()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no server stays behind
    suite = Suite(_targets(wish.against), wish.database, _customs(wish), _folder(wish.out))
    try:
        for job in jobs:
            suite.run(job.scenario, job.options, job.label, wish.repeat or job.times)
    except KeyboardInterrupt:
        print(f"Interrupted. What was measured until then: {suite.folder}", file=sys.stderr)
        return 130
    print(f"\n{suite.table()}\n\nResults and plots: {suite.folder}")
    return 1 if suite.faults else 0


def _read(words: Sequence[str]) -> tuple[list[str], list[Job]]:
    """The options of the run, and the scenarios with theirs, which follow each of them."""
    places = [place for place, word in enumerate(words) if word in SCENARIOS]
    own = list(words[: places[0]] if places else words)
    jobs = []
    for begin, end in zip(places, [*places[1:], len(words)], strict=False):
        scenario = SCENARIOS[words[begin]]
        found, others = _options(scenario).parse_known_args(words[begin + 1 : end])
        jobs.append(Job(scenario, scenario.options(**vars(found)), 1))
        own += others
    return own, jobs


def _plan(name: str) -> list[Job]:
    """The jobs of a plan, by its name or from a file of lines TIMES SCENARIO [OPTION ...].

    Empty lines and those that begin with # count as nothing.
    """
    jobs = []
    for line in (PLANS.get(name) or Path(name).read_text()).splitlines():
        times, *words = line.split() or ["#"]
        if times[0] != "#":
            scenario = SCENARIOS[words[0]]
            found = _options(scenario).parse_args(words[1:])
            jobs.append(Job(scenario, scenario.options(**vars(found)), int(times)))
    return jobs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run bench",
        allow_abbrev=False,
        usage="./run bench [option ...] [scenario [its options] ...]\n"
        "       ./run bench compare RESULTS[:SERVER] RESULTS[:SERVER]\n"
        "       ./run bench instructions [--write-budgets]",
        epilog="Scenarios, each with --help: "
        + "; ".join(f"{scenario.name} ({scenario.text})" for scenario in SCENARIOS.values()),
    )
    add = parser.add_argument
    add("--against", choices=OTHERS, help="another server, in turn with Hearth")
    add("--database", choices=KINDS, default="sqlite", help="for all servers; default: sqlite")
    add("--plan", default="full", help="without scenarios: full, beside, smoke or a file of lines")
    add("--repeat", type=int, help="runs of each scenario; the table has their medians")
    add("--out", type=Path, help="folder for the results; default: build/bench/<time>")
    add("--preset", default="private_chat", help="of rooms; public_chat saves the invitations")
    add("--create-extra", default="{}", help="JSON that is merged into every createRoom")
    add("--set-presence", default="", help="of /sync; not sent by default, as most clients do")
    add("--limit", type=float, default=1500.0, help="seconds after which a run is given up")
    return parser


def _options(scenario: Scenario[Any]) -> argparse.ArgumentParser:
    """The options of one scenario, as its class says them."""
    parser = argparse.ArgumentParser(
        prog=f"./run bench {scenario.name}", description=scenario.text, allow_abbrev=False
    )
    for each in fields(scenario.options):
        text = f"{each.metadata['text']}; default: {each.default}"
        if isinstance(each.default, bool):
            parser.add_argument(_flag(each.name), action="store_true", help=text)
        else:
            kind = type(each.default)
            parser.add_argument(_flag(each.name), type=kind, default=each.default, help=text)
    return parser


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _customs(wish: argparse.Namespace) -> Customs:
    return Customs(
        preset=wish.preset,
        create_extra=orjson.loads(wish.create_extra),
        set_presence=wish.set_presence,
        seconds_per_scenario=wish.limit,
        calm_seconds=SMOKE_CALM_SECONDS if wish.plan == "smoke" else Customs().calm_seconds,
    )


def _targets(against: str | None) -> list[Target]:
    return [hearth()] + ([OTHERS[against]()] if against else [])


def _folder(wished: Path | None) -> Path:
    folder = wished or ROOT / "build/bench" / datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _start_again_with_postgres(words: Sequence[str]) -> None:
    """The same under a throw-away PostgreSQL; does not return."""
    wrapper = str(ROOT / "tests/tools/with-postgres")
    sys.stdout.flush()
    os.execv(wrapper, [wrapper, "--durable", sys.executable, "-m", "benchmarks", *words])


def _open_many_files() -> None:
    """Every virtual client has a connection or two; the servers inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OPEN_FILES), hard))


def _compare(words: Sequence[str]) -> int:
    """Two servers, or two results of one; without a name it is the first in the file."""
    if len(words) != 2:
        print("./run bench compare RESULTS[:SERVER] RESULTS[:SERVER]", file=sys.stderr)
        return 2
    columns = {}
    for letter, word in zip("AB", words, strict=True):
        file, _, wanted = word.partition(":")
        servers = load(Path(file))
        name = wanted or next(iter(servers))
        columns[f"{letter} ({name})"] = servers[name]
    print(table(columns))
    return 0
