"""Results of runs: several into one, and the windows inside."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.measure.figures import median

Result = dict[str, Any]
Column = dict[str, Result]
"""The results of one server, by label."""

NEUTRAL = (
    "sync_responses",
    "sync_responses_per_s",
    "settle_s",
    "setup_s",
    "jpeg_kb",
    "rooms",
    "state_events",
)


def rounded(value: Any) -> Any:
    """To three digits after the point, all the way down."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value


def merged(runs: Sequence[Result]) -> Result:
    """Several runs as one result: medians, beside them minimum and maximum.

    ``quietest`` has the figures of the run that the rest of the machine disturbed least; the
    plots are of that run.
    """
    if len(runs) == 1:
        return runs[0]
    quietest = min(runs, key=disturbance)
    values = {
        key: [run["metrics"][key] for run in runs if run["metrics"].get(key) is not None]
        for key in runs[0]["metrics"]
    }
    return {
        **quietest,
        "metrics": {key: median(each) for key, each in values.items()},
        "spread": {key: [min(each), max(each)] for key, each in values.items() if each},
        "quietest": quietest["metrics"],
        "env": [run["env"] for run in runs],
        "notes": sorted({note for run in runs for note in run["notes"]}),
        "runs": len(runs),
    }


def windows(env: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The measured windows of a result with their names; of repeated runs, all of them."""
    if isinstance(env, list):
        for each in env:
            yield from windows(each, name)
    elif "window_s" in env:
        yield name, env
    else:
        for key, inner in env.items():
            yield from windows(inner, f"{name}{key}.")


def disturbance(result: Result) -> float:
    """Cores that neither server, database nor generator used, at worst."""
    return max((env.get("other_cores", 0) for _, env in windows(result["env"])), default=0.0)


def better(name: str) -> str:
    """Whether more is better (``higher``), less (``lower``), or neither (empty)."""
    last = name.split(".")[-1]
    if last in NEUTRAL or last.endswith(("_rooms", "state_events")):
        return ""
    return "higher" if last.endswith("_per_s") else "lower"


def load(path: Path) -> dict[str, Column]:
    """The servers of a results file and what each of them showed.

    Also reads files that hold one server: a name and a list of results.
    """
    data = orjson.loads(path.read_bytes())
    servers = data["results"]
    if isinstance(servers, list):
        servers = {data["name"]: servers}
    return {
        name: {result["label"]: result for result in results} for name, results in servers.items()
    }
