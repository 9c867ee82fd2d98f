"""Processor time and memory of the server's processes and, apart, of its database's."""

import os
from collections.abc import Iterable

import psutil


class Probe:
    """Looks at a process with all its descendants, and at the PostgreSQL backends of a database.

    Without a process everything is 0 and the probe is false.
    """

    def __init__(self, pid: int | None = None, database: str | None = None) -> None:
        self._pid = pid
        self._database = database
        self._server: dict[int, psutil.Process] = {}
        self._backends: dict[int, psutil.Process] = {}

    def __bool__(self) -> bool:
        return self._pid is not None

    def refresh(self) -> None:
        """Find processes that have been started since."""
        for process in self._tree():
            self._server.setdefault(process.pid, process)
        for process in self._backends_now():
            self._backends.setdefault(process.pid, process)

    def cpu(self) -> float:
        """Seconds of processor time of the server; of children that have ended, too."""
        return _cpu(self._server.values())

    def database_cpu(self) -> float:
        """Seconds of processor time of the database's backends."""
        return _cpu(self._backends.values())

    def queued(self) -> float:
        """Seconds that threads of both were runnable but had no core (Linux; elsewhere 0)."""
        nanoseconds = 0
        for pid in [*self._server, *self._backends]:
            try:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                        nanoseconds += int(file.read().split()[1])
            except (OSError, IndexError, ValueError):
                continue
        return nanoseconds / 1e9

    def memory(self) -> float:
        """Resident memory of the server in MiB."""
        total = 0
        for process in self._server.values():
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total / 1048576

    def _tree(self) -> list[psutil.Process]:
        if self._pid is None:
            return []
        try:
            root = psutil.Process(self._pid)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []

    def _backends_now(self) -> list[psutil.Process]:
        if self._database is None:
            return []
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or [""]
            if "postgres" in words[0] and self._database in " ".join(words):
                found.append(process)
        return found


def _cpu(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
