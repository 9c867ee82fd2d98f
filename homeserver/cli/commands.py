"""The `hearth` command and its groups. A command imports what it needs when it runs."""

from pathlib import Path

import click

CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("data/hearth.yaml"),
    show_default=True,
    help="The configuration file; written with its defaults if it is missing.",
)


@click.group()
def hearth() -> None:
    """Hearth: a Matrix homeserver for one neighbourhood."""


@hearth.command()
@CONFIG
@click.option("--debug", is_flag=True, help="Log more, and report what blocks the server.")
def serve(config: Path, debug: bool) -> None:
    """Run the server in the foreground."""
    from homeserver.cli.serve import run

    run(config, debug=debug)
