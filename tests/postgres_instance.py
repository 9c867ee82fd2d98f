"""A PostgreSQL server of one's own, to be killed and restarted."""

import os
import pwd
import secrets
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from tests.processes import free_port

USER = "hearth"


def binaries() -> Path | None:
    """Where initdb and pg_ctl are; None when there is no PostgreSQL server on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: str(file))
    beside = shutil.which("initdb")
    if found:
        return found[-1].parent
    return None if beside is None else Path(beside).parent


class PostgresInstance:
    """Listens on loopback with a random password, lives in a folder that ``remove`` takes away."""

    def __init__(self, folder_of_binaries: Path) -> None:
        self._binaries = folder_of_binaries
        self._home = Path(mkdtemp(prefix="hearth-postgres-"))
        self._port = free_port()
        self._password = secrets.token_hex(16)
        self.url = f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/postgres"
        password_file = self._home / "password"
        password_file.write_text(self._password)
        self._as_user: list[str] = []
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            name = next(each for each in ("postgres", "nobody") if _is_user(each))
            self._as_user = ["runuser", "-u", name, "--"]
            for path in (self._home, password_file):
                shutil.chown(path, name)
        how = ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", "-D", "data", "-U", USER, f"--pwfile={password_file}", *how)

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -p {self._port} -c unix_socket_directories=''"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "start", "-o", options)

    def kill(self) -> None:
        """End it as a power cut would: nobody is told, nothing is tidied up."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        """Leave nothing behind."""
        if (self._home / "data/postmaster.pid").exists():
            self.kill()
        shutil.rmtree(self._home)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._binaries / program), *arguments]
        subprocess.run(
            command,
            cwd=self._home,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
