"""Rate limits: how often somebody may do something. A token bucket per limit and key."""

from collections import OrderedDict
from collections.abc import Mapping

from homeserver.clock import Clock
from schema.errors import LimitExceeded

MAX_BUCKETS = 20_000


class Limits:
    """All limits of the server. In memory: a restart forgives."""

    def __init__(self, clock: Clock, limits: Mapping[str, tuple[float, float]]) -> None:
        """``limits`` gives, by name, tokens per second and the size of the bucket."""
        self._clock = clock
        self._limits = limits
        self._buckets: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, name: str, key: str) -> None:
        """Take one token from the bucket of ``key`` under the limit ``name``.

        Raises:
            LimitExceeded: the bucket is empty; says which limit it was and when to try again.
        """
        limit = self._limits.get(name)
        if limit is None:
            return
        per_second, burst = limit
        now = self._clock()
        tokens, then = self._buckets.pop((name, key), (burst, now))
        tokens = min(burst, tokens + (now - then) / 1000 * per_second)
        allowed = tokens >= 1
        self._buckets[name, key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = int((1 - tokens) / per_second * 1000) + 1
            raise LimitExceeded(
                f"Too many requests (limit `{name}`); try again in {wait / 1000:.1f} s",
                retry_after_ms=wait,
            )
