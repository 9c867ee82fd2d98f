"""Makes and checks password hashes: a program of its own, so that nothing waits for it.

``python password_worker.py TIME_COST MEMORY_KIB``. Each line on standard input is a JSON list of a
password and of the hash that it may belong to, or of null where a new hash is wanted; each is
answered by a line of JSON: the new hash, or whether the password fits. It imports nothing of this
project, and ends with its input.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

NICENESS = 10


def main(time_cost: int, memory_kib: int) -> None:
    """Answer until nobody asks any more."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when it is enough
    with suppress(OSError):  # Linux: when memory runs out, this process ends and not the server
        Path("/proc/self/oom_score_adj").write_text("1000")
    hasher = PasswordHasher(
        time_cost=time_cost, memory_cost=memory_kib, parallelism=1, hash_len=32, salt_len=16
    )
    for line in sys.stdin.buffer:
        password, stored = json.loads(line)
        answer = hasher.hash(password) if stored is None else _fits(hasher, stored, password)
        print(json.dumps(answer), flush=True)


def _fits(hasher: PasswordHasher, stored: str, password: str) -> bool:
    try:
        return hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
