"""Hearth, as `hearth serve` runs it: open registration, no rate limits, else as delivered."""

import json
import os
import subprocess
import sys
from pathlib import Path

from attrs import fields

from benchmarks.targets.databases import Database
from benchmarks.targets.process import Process, free_port
from benchmarks.targets.target import ROOT, Target
from homeserver import __version__
from homeserver.config import RateLimits

ALL_BUT_MESSAGES = {
    each.name: [1_000_000, 1_000_000]
    for each in fields(RateLimits)
    if each.name not in ("enabled", "message")
}
"""Nobody is held up, except who sends too much."""


def hearth() -> Target:
    """The Hearth of this checkout."""
    return Target("hearth", f"{__version__} ({_revision()})", _set_up)


def _set_up(folder: Path, database: Database, limited: bool) -> Process:
    port, metrics_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "server_name": "localhost",
        "public_url": f"{url}/",
        "listen": [f"127.0.0.1:{port}"],
        "data_dir": "data",
        "database": database.url or "sqlite:hearth.db",
        "registration": {"mode": "open"},
        "rate_limits": ALL_BUT_MESSAGES if limited else {"enabled": False},
        "metrics": {"listen": f"127.0.0.1:{metrics_port}"},
    }
    file = folder / "hearth.yaml"
    file.write_text(json.dumps(settings, indent=2))  # JSON is YAML
    return Process(
        [sys.executable, "-m", "homeserver", "serve", "--config", str(file)],
        folder,
        url,
        environment={**os.environ, "PYTHONPATH": str(ROOT)},
        metrics_url=f"http://127.0.0.1:{metrics_port}/metrics",
        database=database.name,
        file=None if database.url else folder / "data/hearth.db",
    )


def _revision() -> str:
    """The commit, and whether files differ from it."""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no checkout"
