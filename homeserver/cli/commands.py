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


@hearth.group()
def reports() -> None:
    """What people have reported: messages, rooms, people."""


@reports.command("list")
@CONFIG
@click.option("--all", "also_done", is_flag=True, help="Also those that are done.")
def list_reports(config: Path, also_done: bool) -> None:
    """List the reports that wait for somebody to look at them."""
    from homeserver.cli.reports import show_list

    show_list(config, also_done=also_done)


@reports.command("show")
@CONFIG
@click.argument("number", type=click.IntRange(1, 2**53))
def show_report(config: Path, number: int) -> None:
    """Show a report and what it is about."""
    from homeserver.cli.reports import show_one

    show_one(config, number)


@reports.command("done")
@CONFIG
@click.argument("numbers", type=click.IntRange(1, 2**53), nargs=-1, required=True)
def done_reports(config: Path, numbers: tuple[int, ...]) -> None:
    """Say that reports have been dealt with."""
    from homeserver.cli.reports import done

    done(config, numbers)


@hearth.group()
def selftest() -> None:
    """Checks of a running server, from outside."""


@selftest.command()
@click.option(
    "--members",
    # Each needs a connection, and most systems allow a process about a thousand.
    type=click.IntRange(3, 800),
    default=10,
    show_default=True,
    help="How many people are in the group.",
)
@click.option("--url", help="Where the server is; by default the public_url of its configuration.")
@click.option("--token", help="A registration token that is good for so many people.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The server's configuration file, from which address and sign-up follow."
    "  [default: data/hearth.yaml, without --url]",
)
def e2ee(members: int, url: str | None, token: str | None, config: Path | None) -> None:
    """Have throw-away people encrypt for each other, and say what is wrong or slow.

    They sign up like everybody else, talk in a room of their own, leave it and close their
    accounts. Names of closed accounts are not given out again; these begin with "selftest-".
    """
    from homeserver.cli.selftest import e2ee as run_e2ee

    run_e2ee(members, url, token, config or (None if url else Path("data/hearth.yaml")))
