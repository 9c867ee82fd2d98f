"""The one way out: every HTTP request that the server makes goes through ``Egress``.

People name the addresses (pusher URLs, links to preview), so they must not be able to make the
server talk to itself, to the machines beside it, or to a cloud's metadata service. A name is
resolved once, the numeric addresses are checked, and the connection goes to exactly the address
that passed; TLS and the Host header keep the name. Whatever is not public is refused unless the
configuration allows it. Redirects are not followed: the answer says 3xx, and whoever wants to
follow asks again, through the same check.

An answer is bounded in time and size, its head too, and compression is not accepted.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import orjson
from attrs import frozen
from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    PotentialDataLoss,
    ResponseDone,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
)
from zope.interface import implementer

from federation_disabled.guard import Address, Guard, is_host_name

Resolve = Callable[[str], Awaitable[Sequence[str]]]

CONNECT_SECONDS = 5.0  # for one address; the next one is tried after it
ADDRESSES_TRIED = 4
IDLE_SECONDS = 15  # a gateway is asked again soon or not at all
LONGEST_HEAD = 16 * 1024

# The head of an answer up to its blank line; heads of interim answers (1xx) may come before it.
_whole_head = re.compile(rb"(?:\A|\n\r?\n)HTTP/\d\.\d [2-9].*?\n\r?\n", re.DOTALL).search


class EgressRefused(Exception):
    """The server does not talk to that address. The sentence names the host, no address."""


class EgressFailed(Exception):
    """The other side could not be reached, or did not give a usable answer in time."""


class EgressTimedOut(EgressFailed):
    """There was no whole answer in time."""


@frozen
class Answer:
    """What the other side said. ``headers`` have lower-case names; of several, the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            EgressFailed: it is none.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise EgressFailed("The answer is not JSON") from None


class Egress:
    """The only HTTP client of the server.

    Connections are kept open for a short while. Nothing is remembered between requests: no
    cookies, no credentials. ``resolve`` and ``tls`` are the system's own unless they are given.
    """

    def __init__(
        self,
        reactor: Any,
        allowed: Sequence[str] = (),
        *,
        resolve: Resolve | None = None,
        tls: Any = None,
    ) -> None:
        self._reactor = reactor
        self._pool = HTTPConnectionPool(reactor)
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        endpoints = _GuardedEndpoints(
            reactor,
            Guard(allowed),
            resolve or system_resolver(reactor),
            tls or BrowserLikePolicyForHTTPS(),
        )
        self._agent: Any = _Uncompressed(Agent.usingEndpointFactory(reactor, endpoints, self._pool))

    async def get(
        self,
        url: str,
        *,
        limit: int,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Fetch ``url``; see ``request``."""
        return await self.request("GET", url, limit=limit, timeout=timeout, headers=headers)

    async def post_json(
        self,
        url: str,
        body: Any,
        *,
        limit: int,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send ``body`` as JSON; see ``request``."""
        return await self.request(
            "POST", url, body=body, limit=limit, timeout=timeout, headers=headers
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        limit: int,
        timeout: float,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask, and give the answer whatever its status is, also a redirect.

        ``timeout`` seconds cover everything from resolving the name to the last byte; an answer
        of more than ``limit`` bytes is not read to its end. The connection is closed in both
        cases.

        Raises:
            EgressRefused: the server does not talk to that address.
            EgressFailed: there was no usable answer.
        """
        asked = Deferred.fromCoroutine(self._exchange(method, url, limit, body, headers or {}))
        asked.addTimeout(timeout, self._reactor, onTimeoutCancel=_too_late)
        return await asked

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._pool.closeCachedConnections()

    async def _exchange(
        self, method: str, url: str, limit: int, body: Any, headers: Mapping[str, str]
    ) -> Answer:
        sent: dict[Any, Any] = {"User-Agent": "Hearth", **headers}
        data = None
        if body is not None:
            data, sent["Content-Type"] = orjson.dumps(body), "application/json"
        try:
            target = _Url.from_text(url)
        except ValueError:
            raise EgressRefused("That is not a web address") from None
        try:
            response: Any = await HTTPClient(self._agent).request(
                method,
                target,
                headers=sent,
                data=data,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            reader = _Reader(limit)
            response.deliverBody(reader)
            return Answer(
                response.code,
                {
                    name.decode("latin-1").lower(): values[-1].decode("latin-1")
                    for name, values in response.headers.getAllRawHeaders()
                },
                await reader.done,
            )
        except (CancelledError, EgressRefused, EgressFailed):
            raise
        except Exception as problem:
            # The ways in which a strange server or address can fail have no common class.
            raise EgressFailed(f"No usable answer: {type(problem).__name__}") from problem


class _Url(EncodedURL):
    """A URL whose host goes out as it is: IDNA, which treq applies, knows neither IPv6 nor "_"."""

    def to_uri(self) -> EncodedURL:
        if not self.host.isascii():
            return super().to_uri()
        return EncodedURL.to_uri(self.replace(host="")).replace(host=self.host)


def _too_late(result: Any, seconds: float) -> Any:
    return Failure(EgressTimedOut(f"No whole answer within {seconds:g} seconds"))


@implementer(IAgent)
@frozen
class _Uncompressed:
    """Asks for plain answers: a few bytes that unpack to gigabytes are nothing we have use for."""

    agent: Agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[Any]:
        plain = headers.copy() if headers else Headers()
        plain.setRawHeaders(b"accept-encoding", [b"identity"])
        return self.agent.request(method, uri, plain, bodyProducer).addCallback(self._check)

    def _check(self, response: Any) -> Any:
        plain = [b"identity"]
        if response.headers.getRawHeaders(b"content-encoding", plain) != plain:
            response.deliverBody(_HangUp())
            raise EgressFailed("The answer is compressed, which was not asked for")
        return response


@implementer(IAgentEndpointFactory)
@frozen
class _GuardedEndpoints:
    reactor: Any
    guard: Guard
    resolve: Resolve
    tls: Any

    def endpointForURI(self, uri: URI) -> "_GuardedEndpoint":
        if uri.scheme not in (b"http", b"https"):
            raise EgressRefused("Only http and https addresses are contacted")
        creator = self.tls.creatorForNetloc(uri.host, uri.port) if uri.scheme == b"https" else None
        return _GuardedEndpoint(self, uri.host.decode("ascii"), uri.port, creator)


@implementer(IStreamClientEndpoint)
@frozen
class _GuardedEndpoint:
    """Connects to the addresses of a host that the guard permits, one after the other."""

    outside: _GuardedEndpoints
    host: str
    port: int
    tls: Any

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(WrappingFactory(protocolFactory)))

    async def _connect(self, factory: Any) -> IProtocol:
        factory.protocol = _Line
        permitted = [a for a in await self._addresses() if self.outside.guard.permits(self.host, a)]
        if not permitted:
            raise EgressRefused(
                f"{self.host} is not on the public internet; only the configuration of this "
                "server can allow it"
            )
        for address in permitted[:ADDRESSES_TRIED]:
            try:
                line = await self._endpoint(address).connect(factory)
            except ConnectError:
                continue
            return line.wrappedProtocol
        raise EgressFailed(f"{self.host} cannot be reached")

    async def _addresses(self) -> list[Address]:
        try:
            return [ip_address(self.host)]
        except ValueError:
            # Other spellings of an address (decimal, octal, short) are resolved like names.
            if not is_host_name(self.host):
                raise EgressRefused("That is not the name of a host") from None
        found = [ip_address(text) for text in await self.outside.resolve(self.host)]
        if not found:
            raise EgressFailed(f"{self.host} is not known")
        return found

    def _endpoint(self, address: Address) -> Any:
        kind: Any = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint
        plain = kind(self.outside.reactor, str(address), self.port, CONNECT_SECONDS)
        return wrapClientTLS(self.tls, plain) if self.tls else plain


class _Line(ProtocolWrapper):
    """A connection that bears no endless head, and that ends at once when it is given up.

    The HTTP client itself would gather headers for as long as they come, and would wait for the
    other side to agree to the end of a TLS connection.
    """

    transport: Any
    _head: bytes | None = b""  # None once it is whole

    def writeSequence(self, data: Sequence[bytes]) -> None:  # a request begins
        self._head = b""
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if _whole_head(self._head):
                self._head = None
            elif len(self._head) > LONGEST_HEAD:
                self.transport.abortConnection()
                return
        super().dataReceived(data)

    def loseConnection(self) -> None:
        self.transport.abortConnection()


class _HangUp(Protocol):
    transport: Any

    def connectionMade(self) -> None:
        self.transport.loseConnection()


class _Reader(Protocol):
    """Gathers a body of at most ``limit`` bytes."""

    transport: Any

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()
        self.done: Deferred[bytes] = Deferred(lambda _: self.transport.loseConnection())

    def dataReceived(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > self._limit:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:  # nobody waits any more
            return
        if len(self._body) > self._limit:
            self.done.errback(EgressFailed(f"The answer is longer than {self._limit} bytes"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(bytes(self._body))
        else:
            self.done.errback(EgressFailed("The answer broke off"))


def system_resolver(reactor: Any) -> Resolve:
    """Resolve names as the operating system does: hosts file, DNS, numeric spellings."""

    async def resolve(host: str) -> list[str]:
        found = _Found()
        reactor.nameResolver.resolveHostName(found, host)
        await found.complete
        return found.addresses

    return resolve


@implementer(IResolutionReceiver)
class _Found:
    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing to do: a resolution that nobody waits for any more just ends."""

    def addressResolved(self, address: Any) -> None:
        self.addresses.append(address.host)

    def resolutionComplete(self) -> None:
        self.complete.callback(None)
