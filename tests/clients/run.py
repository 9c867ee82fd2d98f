"""Runs the journeys on each database engine; one line for each, and one that sums up.

Arguments choose journeys by the names of their functions; without any, all of them run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from journeys import JOURNEYS, Journey
from js_device import Node
from people import Neighbourhood
from server import PostgresDatabase, Server

JOURNEY_MAY_TAKE = 60  # unless it has a "may_take" of its own


def engines() -> dict[str, AbstractContextManager[str]]:
    """The engines to run on, each with what gives the ``database`` setting of a fresh one."""
    found: dict[str, AbstractContextManager[str]] = {"sqlite": nullcontext("sqlite:hearth.db")}
    if server_url := os.environ.get("HEARTH_TEST_POSTGRES"):
        found["postgresql"] = PostgresDatabase(server_url)
    return found


async def passes(name: str, story: Callable[[], Awaitable[None]]) -> bool:
    """Run it, print its line, and below it what went wrong."""
    started = time.monotonic()
    fault = ""
    try:
        await story()
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    verdict = "failed" if fault else "passed"
    print(f"{verdict}  {name} ({time.monotonic() - started:.1f} s)", flush=True)
    for line in fault.splitlines():
        print(f"        {line}", flush=True)
    return not fault


async def run_engine(engine: str, database: str, journeys: list[Journey]) -> list[bool]:
    async def in_a_town_of_its_own(journey: Journey) -> None:
        may_take = getattr(journey, "may_take", JOURNEY_MAY_TAKE)
        town = Neighbourhood(journey.__name__.replace("_", "-"), server, node)
        try:
            async with asyncio.timeout(may_take) as limit:
                await journey(town)
        except Exception as error:
            fault = f"not done after {may_take:g} s" if limit.expired() else str(error)
            refused = [f"{d.name}: {each}" for d in town.devices for each in d.refusals]
            raise AssertionError("\n".join([fault, *refused])) from error
        finally:
            await town.close()

    async def clean_end() -> None:
        await server.stop()
        if found := server.tracebacks():
            raise AssertionError("\n".join([f"{len(found)} tracebacks in its log", *found]))

    with tempfile.TemporaryDirectory(prefix="hearth-clients-") as name:
        folder = Path(name)
        logging.basicConfig(filename=folder / "nio.log", force=True)
        server = Server(os.environ.get("PYTHON", sys.executable), folder, database)
        async with server, Node(folder / "node.log") as node:
            results = [await passes(f"{engine}: the server starts", server.start)]
            if not all(results):
                return results
            for journey in journeys:
                story = partial(in_a_town_of_its_own, journey)
                results.append(await passes(f"{engine}: {journey.__doc__}", story))
            end = f"{engine}: the server stops in time, and has logged no traceback"
            results.append(await passes(end, clean_end))
    return results


def main() -> int:
    journeys = {journey.__name__: journey for journey in JOURNEYS}
    chosen = sys.argv[1:] or list(journeys)
    if unknown := set(chosen) - journeys.keys():
        sys.exit(f"No such journey: {', '.join(unknown)}. There are: {', '.join(journeys)}")
    wanted = [journeys[name] for name in chosen]
    results: list[bool] = []
    for engine, fresh_database in engines().items():
        with fresh_database as database:
            results += asyncio.run(run_engine(engine, database, wanted))
    failed = results.count(False)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
