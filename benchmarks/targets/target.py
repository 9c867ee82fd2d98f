"""What a server under test must offer to the benchmark."""

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from benchmarks.targets.databases import Database
from benchmarks.targets.process import Process

ROOT = Path(__file__).parents[2]


@frozen
class Target:
    """A kind of server.

    ``set_up`` writes its configuration into a fresh folder. The last argument says whether people
    may send only so many messages as the server lets them when it is delivered.
    """

    name: str
    version: str
    set_up: Callable[[Path, Database, bool], Process]
    facts: Mapping[str, str] = {}
