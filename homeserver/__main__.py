"""The `hearth` command. Refuses to start beside packages that only share our names."""

import sys
from importlib import import_module

_OURS = ("homeserver", "rest", "storage", "e2e", "schema", "federation_disabled")


def main() -> None:
    """Run the command line."""
    for name in _OURS:
        if getattr(import_module(name), "__project__", None) != "hearth":
            sys.exit(
                f"Another package called `{name}` is installed here and hides Hearth's own."
                " Hearth needs a Python environment of its own: start it with ./run serve."
            )
    command = import_module("homeserver.cli.commands").hearth
    command(prog_name="hearth")


if __name__ == "__main__":
    main()
