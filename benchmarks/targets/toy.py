"""The toy server as a target: what the web server alone costs."""

import os
import sys
from pathlib import Path

import twisted

from benchmarks.targets.databases import Database
from benchmarks.targets.process import Process, free_port
from benchmarks.targets.target import ROOT, Target


def toy() -> Target:
    """The in-memory toy of `benchmarks/toy.py`."""
    return Target("limit", f"Twisted {twisted.version.short()}", _set_up)


def _set_up(folder: Path, _: Database, __: bool) -> Process:
    port = free_port()
    return Process(
        [sys.executable, "-m", "benchmarks.toy", str(port)],
        folder,
        f"http://127.0.0.1:{port}",
        environment={**os.environ, "PYTHONPATH": str(ROOT)},
    )
