"""Synapse, the reference server: one process, its defaults where they do not slow it down."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.targets.databases import Database
from benchmarks.targets.process import Process, free_port
from benchmarks.targets.target import ROOT, Target

VERSION = "1.163.2"
ENVIRONMENT = ROOT / ".venv-synapse"
PYTHON = ENVIRONMENT / "bin/python"
PLENTY = {"per_second": 1_000_000, "burst_count": 1_000_000}
LIMITS = (
    "rc_message",
    "rc_registration",
    "rc_registration_token_validity",
    "rc_admin_redaction",
    "rc_3pid_validation",
    "rc_media_create",
    "rc_delayed_event_mgmt",
    "rc_joins_per_room",
    "rc_room_creation",
    "rc_third_party_invite",
    "rc_user_directory",
    "rc_reports",
    "rc_profile",
)
LIMITS_BY_KIND = {
    "rc_login": ("address", "account", "failed_attempts"),
    "rc_joins": ("local", "remote"),
    "rc_presence": ("per_user",),
    "rc_invites": ("per_room", "per_user", "per_issuer"),
}


def synapse() -> Target:
    """Synapse in an environment of its own; installed on the first call, which takes a minute."""
    if not _installed():
        print(f"Installing Synapse {VERSION} into {ENVIRONMENT.name}.", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"matrix-synapse=={VERSION}", "psycopg2-binary"], check=True)
    return Target("synapse", VERSION, _set_up)


def _installed() -> bool:
    question = "from importlib.metadata import version; print(version('matrix-synapse'))"
    if not PYTHON.exists():
        return False
    answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True)
    return answer.stdout.strip() == VERSION


def _set_up(folder: Path, database: Database, limited: bool) -> Process:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    file = folder / "homeserver.yaml"
    settings = _settings(folder, port, url, database)
    if limited:
        del settings["rc_message"]
    file.write_text(json.dumps(settings, indent=2))  # JSON is YAML
    command = [str(PYTHON), "-m", "synapse.app.homeserver", "-c", str(file)]
    subprocess.run([*command, "--generate-keys"], check=True, cwd=folder, capture_output=True)
    return Process(
        command,
        folder,
        url,
        environment=dict(os.environ),
        database=database.name,
        file=None if database.url else folder / "homeserver.db",
    )


def _settings(folder: Path, port: int, url: str, database: Database) -> dict[str, Any]:
    logs = folder / "log.yaml"
    logs.write_text(json.dumps({"version": 1, "root": {"level": "WARNING"}}))
    return {
        "server_name": "localhost",
        "public_baseurl": f"{url}/",
        "listeners": [
            {
                "port": port,
                "type": "http",
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client"]}],
            }
        ],
        "database": _database(folder, database),
        "signing_key_path": str(folder / "signing.key"),
        "media_store_path": str(folder / "media"),
        "pid_file": str(folder / "pid"),
        "log_config": str(logs),
        "report_stats": False,
        "trusted_key_servers": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        # The weakest there is, as in the published measurements: making users is not the subject.
        "bcrypt_rounds": 4,
        **dict.fromkeys(LIMITS, PLENTY),
        **{limit: dict.fromkeys(kinds, PLENTY) for limit, kinds in LIMITS_BY_KIND.items()},
    }


def _database(folder: Path, database: Database) -> dict[str, Any]:
    if database.url is None:
        return {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}}
    parts = urlsplit(database.url)
    return {
        "name": "psycopg2",
        "args": {
            "user": parts.username,
            "password": parts.password,
            "host": parts.hostname,
            "port": parts.port,
            "dbname": database.name,
            "cp_min": 5,
            "cp_max": 10,
        },
    }
