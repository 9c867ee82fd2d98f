"""A plan of scenarios on one or more servers, interleaved, so that all meet the same machine.

Every run has a server of its own on a fresh data folder, and nothing else runs beside it.
"""

import asyncio
import gc
import re
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import uvloop
from attrs import asdict, define, field

from benchmarks.client.people import Customs
from benchmarks.output.machine import machine
from benchmarks.output.plot import plot
from benchmarks.output.results import Column, Result, merged, rounded
from benchmarks.output.table import table
from benchmarks.scenario import Bench, Outcome, Scenario, faults, settings
from benchmarks.targets.databases import fresh_database
from benchmarks.targets.process import LOG, Process
from benchmarks.targets.target import Target

RESULTS = "results.json"


@define
class Suite:
    """Runs scenarios, and keeps ``folder`` complete after every single run."""

    targets: Sequence[Target]
    database: str
    customs: Customs
    folder: Path
    faults: int = 0
    _servers: dict[str, Column] = field(factory=dict)
    _machine: dict[str, Any] = field(factory=machine)

    def run(self, scenario: Scenario[Any], options: Any, label: str, times: int) -> None:
        """One scenario, so many times on each server in turn."""
        targets = [scenario.instead()] if scenario.instead else self.targets
        runs: dict[str, list[Result]] = {target.name: [] for target in targets}
        for number in range(times):
            for target in targets:
                print(f"{label}, {target.name} ({number + 1} of {times})", flush=True)
                runs[target.name].append(self._once(scenario, options, label, target))
                self._keep(target.name, label, runs[target.name])

    def table(self) -> str:
        """What has been measured so far."""
        return table(self._servers)

    def _once(self, scenario: Scenario[Any], options: Any, label: str, target: Target) -> Result:
        """One run; a failure is a result, too."""
        result: Result = {
            "scenario": scenario.name,
            "label": label,
            "params": settings(options),
            "database": self.database,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": {},
            "env": {},
            "notes": [],
        }
        with TemporaryDirectory(prefix="data-", dir=self.folder) as folder:
            try:
                with fresh_database(self.database) as database:
                    process = target.set_up(Path(folder), database, scenario.limited)
                    result |= asdict(uvloop.run(self._on(process, scenario, options)))
            except Exception as error:
                traceback.print_exc()
                result["error"] = repr(error)[:400]
                result["notes"].append(f"FAILED: {result['error']}")
            self._read_log(Path(folder, LOG), result, target)
        gc.collect()
        wrong = faults(result["metrics"])
        result["notes"] += [f"FAULT: {name} is {value}" for name, value in wrong.items()]
        self.faults += len(wrong) + ("error" in result)
        return dict(rounded(result))

    async def _on(self, process: Process, scenario: Scenario[Any], options: Any) -> Outcome:
        """The scenario on a server that is started for it, once that is calm; not for ever."""
        try:
            await process.start()
            bench = Bench(process, self.customs)
            try:
                await bench.calm()
                running = scenario.run(bench, options)
                outcome = await asyncio.wait_for(running, self.customs.seconds_per_scenario)
            finally:
                bench.close()
            limited = bench.homeserver.rate_limited
            if limited:
                outcome.notes.append(f"{limited} answers were 429 and were waited out")
            return outcome
        finally:
            await process.stop()

    def _read_log(self, log: Path, result: Result, target: Target) -> None:
        """A log that tells of failures is kept beside the results."""
        text = log.read_text(errors="replace") if log.exists() else ""
        complaints = text.count("Traceback (most recent call last)")
        if complaints:
            result["notes"].append(f"{complaints} tracebacks in the server's log")
        if complaints or "error" in result:
            (self.folder / f"{target.name}-{_file_name(result['label'])}.log").write_text(text)

    def _keep(self, name: str, label: str, runs: Sequence[Result]) -> None:
        good = [run for run in runs if "error" not in run] or runs[-1:]
        self._servers.setdefault(name, {})[label] = merged(good)
        data = {
            "machine": self._machine,
            "servers": {target.name: target.version for target in self.targets},
            "results": {name: list(column.values()) for name, column in self._servers.items()},
        }
        raw = orjson.dumps(data, option=orjson.OPT_INDENT_2)
        (self.folder / RESULTS).write_bytes(raw + b"\n")
        (self.folder / "table.txt").write_text(self.table() + "\n")
        picture = plot(label, self._servers)
        if picture is not None:
            (self.folder / f"{_file_name(label)}.svg").write_text(picture)


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", label)
