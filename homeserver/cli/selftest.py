"""`hearth selftest`: what a running server does for its people, seen from outside."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from e2e.selftest.ledger import ENCRYPTION_BUDGET_MS, NETWORK_BUDGET_MS, Ledger, Times
from e2e.selftest.run import Outcome
from e2e.selftest.run import run as run_selftest
from e2e.selftest.sign_up import Interactive, Registration, SharedSecret
from homeserver.cli.beside import opened
from homeserver.clock import random_token, system_clock
from homeserver.config import Config, load
from homeserver.registration_tokens import RegistrationTokens
from homeserver.settings import ConfigError

TOKEN_MS = 60 * 60 * 1000
NARROWEST = 100


def e2ee(members: int, url: str | None, token: str | None, file: Path | None) -> None:
    """Run the encryption self-test and print what came of it; ends the process.

    The exit code is 0 if nothing was wrong, however slow it was.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=NARROWEST)

    async def work(reactor: Any) -> None:
        config = None if file is None else load(file)
        address = url or (config.public_url if config is not None else "")
        registration = await _registration(reactor, token, config, members)
        with _Bar(console) as bar:
            outcome = await run_selftest(reactor, address, registration, bar, members=members)
        show(console, outcome)
        if outcome.faults:
            raise SystemExit(1)

    def main(reactor: Any) -> "Deferred[None]":
        running = Deferred.fromCoroutine(work(reactor)).addErrback(_explain)
        # Whoever presses Ctrl-C leaves no accounts behind: the reactor stops after the clean-up.
        reactor.addSystemEventTrigger("before", "shutdown", _cancel, running)
        return running

    react(main)


async def _registration(
    reactor: Any, token: str | None, config: Config | None, members: int
) -> Registration:
    """How people can sign up there."""
    if token is not None or config is None or config.registration.mode == "open":
        return Interactive(token)
    if config.registration.shared_secret is not None:
        return SharedSecret(config.registration.shared_secret)
    if config.registration.mode == "closed":
        raise ConfigError(
            f"{config.file}: nobody can sign up: the self-test needs registration.mode token or"
            " open, or a registration.shared_secret"
        )
    with opened(reactor, config) as store:
        tokens = RegistrationTokens(store, system_clock, random_token)
        return Interactive(
            await tokens.create(uses_allowed=members, expires_at=system_clock() + TOKEN_MS)
        )


class _Bar:
    """A progress bar that shows the step that is going on."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[number]:>5}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def begins(self, title: str, number: int, of: int) -> None:
        """A step begins."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=None, number=f"{number}/{of}")

    def advances(self, done: int, of: int) -> None:
        """So much of it has been done."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=of)


def show(console: Console, outcome: Outcome) -> None:
    """Print what came of the self-test."""
    ledger = outcome.ledger
    console.print(_steps(ledger))
    if ledger.figures:
        console.print(_figures(ledger))
    if ledger.limited_seconds:
        console.print(
            f"The server's rate limits made requests wait {ledger.limited_seconds:.0f} s"
            " altogether: with rate_limits.enabled: false the self-test is faster."
        )
    for fault in outcome.faults:
        console.print(f"WRONG  {fault}", style="bold red", markup=False, highlight=False)
    if not outcome.faults:
        console.print("Nothing was wrong with the encryption.", style="bold green")
    budgets = (
        f"{ENCRYPTION_BUDGET_MS:.0f} ms for encryption, {NETWORK_BUDGET_MS:.0f} ms for network"
    )
    if ledger.is_within_budget:
        console.print(f"The budgets held ({budgets} operations).")
    else:
        console.print(
            f"SLOW   Not all was within the budgets ({budgets} operations).",
            style="yellow",
        )


def _steps(ledger: Ledger) -> Table:
    table = Table(
        title="What the steps took: how often × typically, and within what 99 of 100 were done"
    )
    table.add_column("Step")
    table.add_column(f"Encryption\n≤ {ENCRYPTION_BUDGET_MS:.0f} ms each", justify="right")
    table.add_column(f"Network\n≤ {NETWORK_BUDGET_MS:.0f} ms each", justify="right")
    table.add_column("Passwords,\nslow on purpose", justify="right")
    table.add_column("In all", justify="right", no_wrap=True)
    for step in ledger.steps:
        cells = [_cell(times) for times in (step.encryption, step.network, step.passwords)]
        table.add_row(step.title, *cells, f"{step.seconds:.1f} s")
    return table


def _cell(times: Times) -> str:
    if not times.all_ms:
        return ""
    text = f"{len(times.all_ms)} × {_ms(times.typical)}, {_ms(times.almost_all)} ms"
    return text if times.is_within_budget else f"[yellow]{text} ![/yellow]"


def _figures(ledger: Ledger) -> Table:
    table = Table(title="For the whole group")
    table.add_column("Operation")
    table.add_column("Took", justify="right")
    table.add_column("Goal for 500 people", justify="right")
    for figure in ledger.figures:
        took = f"{_ms(figure.ms)} ms"
        if not figure.is_within_goal:
            took = f"[yellow]{took} ![/yellow]"
        table.add_row(figure.title, took, f"≤ {figure.goal_ms:.0f} ms")
    return table


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _cancel(running: "Deferred[None]") -> "Deferred[None]":
    running.cancel()
    return running


def _explain(failure: Any) -> None:
    failure.trap(ConfigError)
    print(failure.getErrorMessage(), file=sys.stderr)
    raise SystemExit(1)
