"""A switch for developers: report what keeps the reactor from turning."""

import sys
import traceback
from threading import Thread, current_thread
from time import monotonic, sleep
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

BEAT_SECONDS = 0.005
TOO_LONG_SECONDS = 0.010


class BlockingReport:
    """A thread that watches the reactor's heartbeat and logs where it hangs."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._watched = current_thread().ident
        self._beat_at = monotonic()

    def start(self) -> None:
        """Begin to watch."""
        beating = LoopingCall(self._beat)
        beating.clock = self._reactor
        beating.start(BEAT_SECONDS)
        Thread(target=self._watch, name="blocking-report", daemon=True).start()

    def _beat(self) -> None:
        self._beat_at = monotonic()

    def _watch(self) -> None:
        reported = 0.0
        while True:
            sleep(BEAT_SECONDS)
            beat_at = self._beat_at
            late = monotonic() - beat_at - BEAT_SECONDS
            if late > TOO_LONG_SECONDS and beat_at != reported:
                reported = beat_at
                frame = sys._current_frames().get(self._watched or 0)
                where = "".join(traceback.format_stack(frame, limit=8)) if frame else ""
                self._reactor.callFromThread(self._report, late, where)

    def _report(self, late: float, where: str) -> None:
        self._log.warn(
            "The reactor was kept for {late:.0f} ms:\n{where}", late=late * 1e3, where=where
        )
