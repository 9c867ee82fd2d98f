"""A server of one's own, started by its command line, on a database that is gone afterwards."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
STARTS_WITHIN = 30
STOPS_WITHIN = 5


@contextmanager
def scratch_server() -> Iterator[str]:
    """The URL of a server with open registration, without rate limits.

    Raises:
        RuntimeError: it did not start, or not stop, in time; the message holds its log.
    """
    with TemporaryDirectory(prefix="hearth-") as folder:
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        config = Path(folder, "hearth.yaml")
        settings = {
            "public_url": f"{url}/",
            "listen": [f"127.0.0.1:{port}"],
            "registration": {"mode": "open"},
            "rate_limits": {"enabled": False},
            "metrics": {"listen": None},
            "previews": {"enabled": True},
        }
        config.write_text(json.dumps(settings))  # JSON is YAML
        log = Path(folder, "log")
        command = [sys.executable, "-m", "homeserver", "serve", "--config", str(config)]
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        try:
            _wait_for(url, process, log)
            yield url
            process.send_signal(signal.SIGTERM)
            process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"It did not stop in {STOPS_WITHIN} s\n{log.read_text()}") from None
        finally:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(f"{url}/_matrix/client/versions", timeout=5):
                return
        except URLError:
            time.sleep(0.05)
    raise RuntimeError(f"The server did not start\n{log.read_text()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
