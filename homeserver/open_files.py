"""Open files: every connection is one, and systems let a process have few unless it asks."""

import resource

MAX_CONNECTIONS = 8_000
FOR_THE_REST = 256
"""Files of the database, files that come and go, requests to other servers."""


def room_for_connections() -> int:
    """Ask the system for as many open files as it allows; how many may be connections of clients.

    The soft limit is 1,024 under systemd and in many shells; a thousand idle clients would use it
    up, and then not even the database could be opened any more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + FOR_THE_REST
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(soft - FOR_THE_REST, soft // 2))
