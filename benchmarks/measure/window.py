"""The measured part of a scenario: what server, database, generator and machine did in it."""

import asyncio
import gc
import os
from time import perf_counter
from typing import Any

import psutil

from benchmarks.measure.operations import Operations, difference
from benchmarks.measure.probe import Probe


class Window:
    """``async with Window(...) as window: ...``; afterwards ``window.env`` says what it cost.

    Garbage collection of the generator is off inside.
    """

    def __init__(self, probe: Probe, operations: Operations) -> None:
        self._probe = probe
        self._operations = operations
        self._sampling: asyncio.Task[None] | None = None
        self.env: dict[str, Any] = {}

    async def __aenter__(self) -> "Window":
        gc.collect()
        gc.disable()
        self._counts = await self._operations.read()
        probe = self._probe
        probe.refresh()
        self._peak = self._memory = probe.memory()
        self._load = os.getloadavg()[0]
        self._cpu, self._database_cpu = probe.cpu(), probe.database_cpu()
        self._queued = probe.queued()
        self._machine, self._own = psutil.cpu_times(), sum(os.times()[:2])
        self._began = perf_counter()
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
        gc.enable()
        if error is not None:
            return  # the server may be gone
        wall = perf_counter() - self._began
        own = sum(os.times()[:2]) - self._own
        busy = _busy(psutil.cpu_times()) - _busy(self._machine)
        self.env = {
            "window_s": wall,
            "load1_start": self._load,
            "load1_end": os.getloadavg()[0],
            "gen_cpu_s": own,
            "gen_cpu_pct": 100 * own / wall,
            "cores": os.cpu_count(),
        }
        if self._probe:
            self.env |= self._server(wall, own, busy)
        operations = difference(self._counts, await self._operations.read())
        if operations:
            self.env["operations"] = operations

    def so_far(self) -> tuple[float, float]:
        """Seconds of the server's processor time, and seconds, since the window opened."""
        return self._probe.cpu() - self._cpu, perf_counter() - self._began

    def cpu_ms_per(self, count: int) -> float | None:
        """Processor milliseconds of server and database for each of ``count`` operations."""
        if not count or "server_cpu_s" not in self.env:
            return None
        seconds: float = self.env["server_cpu_s"] + self.env["db_cpu_s"]
        return 1000 * seconds / count

    def _server(self, wall: float, own: float, busy: float) -> dict[str, Any]:
        probe = self._probe
        probe.refresh()
        cpu, database = probe.cpu() - self._cpu, probe.database_cpu() - self._database_cpu
        memory = probe.memory()
        return {
            "server_cpu_s": cpu,
            "server_cpu_pct": 100 * cpu / wall,
            "db_cpu_s": database,
            "server_queued_s": probe.queued() - self._queued,
            "rss_start_mb": self._memory,
            "rss_end_mb": memory,
            "rss_peak_mb": max(self._peak, memory),
            "other_cores": max(0.0, (busy - cpu - database - own) / wall),
        }

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._peak = max(self._peak, self._probe.memory())


async def calm(probe: Probe, seconds: float, limit: float = 60.0, below: float = 12.0) -> float:
    """Wait until the server used less than ``below`` % of a core for ``seconds``; not for ever.

    The seconds waited. Without a process to look at it is a fixed time.
    """
    began = perf_counter()
    if not probe:
        await asyncio.sleep(1.5 * seconds)
        return perf_counter() - began
    probe.refresh()
    while perf_counter() - began < limit:
        cpu, at = probe.cpu(), perf_counter()
        await asyncio.sleep(seconds)
        if 100 * (probe.cpu() - cpu) / (perf_counter() - at) < below:
            break
    return perf_counter() - began


def _busy(times: Any) -> float:
    """Seconds that any core did something; time of guests is contained in user and nice."""
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
