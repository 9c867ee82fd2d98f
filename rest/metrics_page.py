"""/metrics for Prometheus, on a port of its own: loopback only, or behind a token."""

from hmac import compare_digest

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from homeserver.metrics import Metrics


class MetricsPage(Resource):
    """Shows the metrics to whoever may see them."""

    isLeaf = True

    def __init__(self, metrics: Metrics, token: str | None) -> None:
        super().__init__()
        self._metrics = metrics
        self._token = token

    def render_GET(self, request: Request) -> bytes:
        """Prometheus asks."""
        if request.path != b"/metrics":
            request.setResponseCode(404)
            return b"The metrics are at /metrics\n"
        if not self._may_see(request):
            request.setResponseCode(403)
            return b"Set metrics.token and send it as a bearer token to read this from elsewhere\n"
        request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
        return generate_latest(self._metrics.registry)

    def _may_see(self, request: Request) -> bool:
        if self._token is not None:
            given = request.getHeader("authorization") or ""
            return compare_digest(given.encode(), f"Bearer {self._token}".encode())
        client = request.getClientAddress()
        if isinstance(client, IPv4Address | IPv6Address):
            return client.host in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
        return True


def metrics_site(metrics: Metrics, token: str | None) -> Site:
    """The site that serves nothing but the metrics."""
    return Site(MetricsPage(metrics, token))
