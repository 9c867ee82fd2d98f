"""Logs: one line of JSON per event on standard error, with the id of the request it belongs to."""

from typing import Any, TextIO

import orjson
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import implementer

from homeserver.metrics import current_operation


@implementer(ILogObserver)
class JsonLines:
    """Writes events as JSON lines: time, level, logger, request, message, trace."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: dict[str, Any]) -> None:
        operation = current_operation.get()
        line: dict[str, Any] = {
            "time": round(event["log_time"], 3),
            "level": event["log_level"].name,
            "logger": event.get("log_namespace", ""),
        }
        if operation is not None:
            line["request"] = operation.request_id
            line["operation"] = operation.name
        line["message"] = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            line["trace"] = failure.getTraceback()
        self._out.write(orjson.dumps(line, default=str).decode("utf-8", "replace") + "\n")
        self._out.flush()


def begin_logging(out: TextIO, level: LogLevel = LogLevel.info) -> None:
    """Send everything that is logged in this process to ``out``. Once, by the command line."""
    wanted = LogLevelFilterPredicate(defaultLogLevel=level)
    for noisy in ("twisted.web", "twisted.internet", "log_legacy"):
        wanted.setLogLevelForNamespace(noisy, LogLevel.warn)
    observer = FilteringLogObserver(JsonLines(out), [wanted])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
