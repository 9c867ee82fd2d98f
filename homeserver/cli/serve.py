"""`hearth serve`: write what is missing, build the server, listen, stop cleanly."""

import gc
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger, LogLevel

from homeserver.app import App, build
from homeserver.cli.blocking import BlockingReport
from homeserver.config import Config, default_text, load
from homeserver.logs import begin_logging
from homeserver.settings import ConfigError
from rest.metrics_page import metrics_site
from storage.migrate import SchemaTooNew

# Python's own are for small programs: a third of the time of a fan-out went into looking for
# cycles, most of it through what is in memory for good. Requests leave next to none behind.
GARBAGE_THRESHOLDS = (5_000, 10, 50)


def run(file: Path, *, debug: bool) -> None:
    """Serve until a signal comes. Mistakes in the configuration end it with a sentence."""
    try:
        config = _configuration(file)
    except ConfigError as error:
        sys.exit(str(error))
    begin_logging(sys.stderr, LogLevel.debug if debug else LogLevel.info)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    reactor: Any = default_reactor
    server = Server(config, reactor)
    try:
        server.build()
    except (ConfigError, SchemaTooNew) as error:
        sys.exit(str(error))
    except Exception as error:
        if not server.is_database_error(error):
            raise
        reason = str(error).strip().replace(config.database, "its address")
        sys.exit(f"The database {_shown(config.database)} cannot be used: {reason}")
    if debug:
        BlockingReport(reactor).start()
    reactor.callWhenRunning(server.start)
    reactor.addSystemEventTrigger("before", "shutdown", server.stop)
    signal.signal(signal.SIGINT, lambda *_: reactor.callFromThread(reactor.stop))
    reactor.run()
    sys.exit(server.exit_code)


class Server:
    """An app and the ports that it listens on."""

    _log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._app: App | None = None
        self._ports: list[IListeningPort] = []
        self.exit_code = 0

    def build(self) -> None:
        """Everything that can fail because of the configuration."""
        self._app = build(self._config, self._reactor)

    def is_database_error(self, error: Exception) -> bool:
        """Whether the database, and not this program, is at fault."""
        from homeserver.assembly.database import engine_for

        return isinstance(error, engine_for(self._config).errors)

    def start(self) -> None:
        """The reactor runs: open the doors."""
        Deferred.fromCoroutine(self._start()).addErrback(self._failed)

    async def _start(self) -> None:
        assert self._app is not None
        await self._app.start()
        for address in self._config.listen:
            await self._listen(address, self._app.site)
        metrics = self._config.metrics
        if metrics.listen is not None:
            site = metrics_site(self._app.metrics, metrics.token)
            await self._listen(metrics.listen, site)
        await self._app.opened()
        self._greet(self._app.first_token)
        gc.freeze()  # what has been built by now stays

    async def _listen(self, address: str, site: IProtocolFactory) -> None:
        try:
            endpoint = serverFromString(self._reactor, _endpoint(address))
            self._ports.append(await endpoint.listen(site))
        except Exception as error:
            raise _CannotListen(f"Hearth cannot listen on {address}: {error}") from error

    def _greet(self, token: str | None) -> None:
        config = self._config
        lines = [
            f"Hearth serves {config.server_name} at {config.public_url}",
            f"Data folder: {config.data}",
        ]
        lines += [f"The setting {name} has no effect in this version." for name in config.unused]
        if token is not None:
            lines += [
                "Nobody administers this server yet. Whoever signs up first with this token does:",
                f"    {token}",
            ]
        print("\n".join(lines), flush=True)

    def _failed(self, failure: Any) -> None:
        self.exit_code = 1
        if failure.check(_CannotListen):
            print(failure.getErrorMessage(), file=sys.stderr)
        else:
            self._log.failure("The server cannot start", failure=failure)
        self._reactor.stop()

    def stop(self) -> "Deferred[None]":
        """The reactor stops: close the doors, end what is under way."""
        stopping = Deferred.fromCoroutine(self._stop())
        stopping.addErrback(lambda failure: self._log.failure("Stopping", failure=failure))
        return stopping

    async def _stop(self) -> None:
        await DeferredList([Deferred.fromCoroutine(_close(port)) for port in self._ports])
        if self._app is not None:
            await self._app.stop()


class _CannotListen(Exception):
    """The port is taken, or the address is not of this machine."""


async def _close(port: IListeningPort) -> None:
    await port.stopListening()  # type: ignore[misc]


def _configuration(file: Path) -> Config:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(default_text(data_dir="."), "utf-8")
        file.chmod(0o600)
    return load(file)


def _endpoint(address: str) -> str:
    """What the configuration calls an address, in the words of Twisted."""
    if address.startswith("unix:"):
        return f"unix:{address.removeprefix('unix:')}:lockfile=1"
    host, _, port = address.rpartition(":")
    host = host.strip("[]").replace(":", "\\:")
    kind = "tcp6" if "\\:" in host else "tcp"
    return f"{kind}:{port}:interface={host}:backlog=1000"


def _shown(database: str) -> str:
    """The address of the database without its password."""
    before, at, after = database.rpartition("@")
    return f"{before.split('//')[0]}//…@{after}" if at else database
