"""Instructions of the processor for each operation of the replay, counted by valgrind.

``./run bench instructions`` compares them with ``budgets.json``; ``--write-budgets`` writes them
there. They hold for one version of Python on one kind of processor; no machine's speed, nor what
else it does, changes them.
"""

import gc
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from benchmarks.replay import RECEIVERS, Replay

ROOT = Path(__file__).parents[1]
BUDGETS = ROOT / "benchmarks/budgets.json"
MODULE, REPLAY = "benchmarks.instructions", "--replay"
TIMES = 10
TOLERANCE, LEAST = 0.1, 0.5
"""How far above the budget is too much, and how far below is to be kept."""
LONGEST = 600
MARK = "getloadavg"
"""A function of the C library that nobody else calls. Valgrind writes down what it has counted
whenever it is called, so what is counted between two calls is one operation, and no start-up."""


def main(words: Sequence[str]) -> int:
    """Count and compare. 0 when every operation keeps to its budget, or none can be counted."""
    budgets = orjson.loads(BUDGETS.read_bytes())
    python = f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"
    name = f"instructions, {python} on {platform.machine()}"
    if shutil.which("valgrind") is None:
        print("Skipped: valgrind is not installed, which counts the instructions.")
        return 0
    if name not in budgets and words != ["--write-budgets"]:
        print(f"Skipped: budgets.json has no '{name}'; --write-budgets adds them.")
        return 0
    counted = count()
    if words == ["--write-budgets"]:
        budgets[name] = {each: round(spent / 1000) * 1000 for each, spent in counted.items()}
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        BUDGETS.write_bytes(orjson.dumps(budgets, option=options))
    failed = 0
    for each, spent in counted.items():
        share = spent / budgets[name][each] - 1
        is_kept = -LEAST < share <= TOLERANCE
        failed += not is_kept
        verdict = "" if is_kept else ": too many" if share > 0 else ": lower the budget"
        print(f"{each}: {spent:,.0f} instructions, {share:+.1%}{verdict}")
    print(f"{len(counted) - failed} passed, {failed} failed")
    return 1 if failed else 0


def count() -> dict[str, float]:
    """Run the replay in valgrind: the instructions of each operation, once.

    Raises:
        RuntimeError: it failed; the message is what it said.
    """
    with TemporaryDirectory(prefix="hearth-") as folder:
        out = Path(folder, "counted")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--dump-before={MARK}", sys.executable, "-m", MODULE, REPLAY, folder]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        # The second part is the first operation, the third what is between it and the next one.
        parts = {
            each: _total(Path(f"{out}.{2 * place + 2}")) / TIMES
            for place, each in enumerate(done.stdout.splitlines())
        }
    parts["delivery"] = (parts["delivery"] - parts["send"]) / RECEIVERS
    return parts


def _total(file: Path) -> int:
    """What a file of callgrind comes to."""
    found = re.search(r"^(?:totals|summary): (\d+)", file.read_text(), re.M)
    if found is None:
        raise RuntimeError(f"Valgrind has written no total into {file}")
    return int(found[1])


async def _replay(folder: Path) -> None:
    """Each operation between two marks."""
    replay = Replay(folder)
    try:
        await replay.start()
        gc.collect()
        gc.disable()
        for name, operation in replay.operations.items():
            await operation()  # that the one before has left nothing to be done
            os.getloadavg()
            for _ in range(TIMES):
                await operation()
            os.getloadavg()
            print(name, flush=True)
    finally:
        await replay.app.stop()


def _run(folder: Path) -> int:
    reactor: Any = default_reactor
    failures: list[Failure] = []

    def begin() -> None:
        replaying = Deferred.fromCoroutine(_replay(folder))
        replaying.addErrback(failures.append)
        replaying.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        failure.printTraceback()
    return len(failures)


if __name__ == "__main__":
    _words = sys.argv[1:]
    sys.exit(_run(Path(_words[1])) if _words[:1] == [REPLAY] else main(_words))
