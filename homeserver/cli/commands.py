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


@hearth.group()
def token() -> None:
    """Sign-up tokens: how new people get an account."""


@token.command()
@CONFIG
@click.option("--uses", default=1, show_default=True, help="How many people may use it.")
@click.option("--days", default=7, show_default=True, help="How long it is good for.")
@click.option("--admin", is_flag=True, help="Its users administer the server.")
def create(config: Path, uses: int, days: int, admin: bool) -> None:
    """Make a token and print it."""
    from homeserver.cli.token import create as create_token

    create_token(config, uses=uses, days=days, admin=admin)
