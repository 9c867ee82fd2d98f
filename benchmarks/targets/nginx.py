"""An nginx that answers 200 to everything at once: what the generator itself can reach."""

import os
import shutil
from pathlib import Path

from benchmarks.targets.databases import Database
from benchmarks.targets.process import Process, free_port
from benchmarks.targets.target import Target

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
CONFIGURATION = """daemon off; master_process off; worker_processes 1;
pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}; default_type application/json;
    location / {{ return 200 '{{"event_id":"_ORYmrKY0mPOTHVXWZvKJtdw7VzHQZn6PfoQzKxuQm0c"}}'; }}
  }}
}}
"""


def nginx() -> Target:
    """The nginx of this machine."""
    return Target("nginx", "as installed", _set_up)


def _set_up(folder: Path, _: Database, __: bool) -> Process:
    program = shutil.which("nginx", path=PATH)
    if program is None:
        raise RuntimeError("The scenario ceiling needs nginx, which is not installed")
    port = free_port()
    folder.chmod(0o755)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port))
    return Process(
        [program, "-c", str(file), "-p", str(folder)],
        folder,
        f"http://127.0.0.1:{port}",
    )
