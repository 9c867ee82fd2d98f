"""Server-to-server paths: refused, with a sentence that says why."""

from schema.errors import Unrecognized

CLOSED = ("/_matrix/federation/", "/_matrix/key/")


def check_path(path: str) -> None:
    """Refuse the paths of federation.

    Raises:
        Unrecognized: federation is off; M_UNRECOGNIZED is what other servers understand.
    """
    if path.startswith(CLOSED):
        raise Unrecognized(
            "Federation is off: this server stands alone and talks to no other homeserver"
        )
