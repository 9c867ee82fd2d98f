"""The way out: who may be contacted, and how much a strange server can cost."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network, ip_address
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.crypto import FILETYPE_PEM as PEM
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from federation_disabled.egress import Egress, EgressFailed, EgressRefused
from federation_disabled.guard import Guard, is_public

NAT64 = IPv6Network("64:ff9b::/96")


class Rules(SynchronousTestCase):
    def test_addresses_of_the_house_are_not_public(self) -> None:
        for address in (
            *("0.0.0.0", "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "172.31.255.255"),
            *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8"),
            *("192.88.99.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
            *("255.255.255.255", "192.0.2.1", "198.51.100.7", "203.0.113.9"),
            *(
                "::",
                "::1",
                "::127.0.0.1",
                "fe80::1",
                "fe80::1%eth0",
                "fec0::1",
                "fc00::1",
                "fd12::1",
            ),
            *("ff02::1", "2001:db8::1", "3fff::1", "2002:7f00:1::", "2002:808:808::", "2001::1"),
            *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
            *("64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::808:808", "100::1", "4000::1"),
        ):
            self.assertFalse(is_public(ip_address(address)), address)

    def test_addresses_of_the_world_are_public(self) -> None:
        for address in (
            *("8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1"),
            *("192.0.1.1", "198.17.0.1", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::808:808"),
            *("2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2003::1"),
        ):
            self.assertTrue(is_public(ip_address(address)), address)

    @settings(deadline=None)
    @given(st.ip_addresses())
    def test_what_the_standard_library_calls_private_is_never_public(self, address: Any) -> None:
        disguised = address.version == 6 and (address.ipv4_mapped or address in NAT64)
        if (address.is_private or address.is_multicast or address.is_reserved) and not disguised:
            self.assertFalse(is_public(address))

    @settings(deadline=None)
    @given(st.ip_addresses(v=4))
    def test_an_address_in_disguise_is_judged_by_what_it_is(self, address: Any) -> None:
        for disguise in (f"::ffff:{address}", f"64:ff9b::{address}"):
            self.assertEqual(is_public(ip_address(disguise)), is_public(address))

    def test_the_configuration_allows_addresses_networks_and_names(self) -> None:
        guard = Guard(["10.1.0.0/16", "fd00::/8", "127.0.0.1", "Bridge.internal"])
        for host, address, allowed in (
            ("a.example", "10.1.2.3", True),
            ("a.example", "::ffff:10.1.2.3", True),
            ("a.example", "10.2.0.1", False),
            ("a.example", "fd00::7", True),
            ("a.example", "127.0.0.2", False),
            ("bridge.internal.", "192.168.7.7", True),
            ("x.bridge.internal", "192.168.7.7", False),
            ("a.example", "8.8.8.8", True),
        ):
            self.assertEqual(guard.permits(host, ip_address(address)), allowed, (host, address))

    def test_a_mistake_in_the_configuration_is_noticed(self) -> None:
        for entry in ("10.0.0.0/33", "http://bridge", "a b", ""):
            self.assertRaises(ValueError, Guard, [entry])


class Neighbour(Resource):
    """A web server next door, which remembers who asked."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, str | None, bytes]] = []
        self.peers: set[int] = set()

    def render(self, request: Any) -> Any:
        path = request.path.decode()
        self.peers.add(request.client.port)
        self.asked.append(
            (request.method.decode(), path, request.getHeader("host"), request.content.read())
        )
        request.setHeader("Content-Type", "application/json")
        request.setHeader("Content-Encoding", "identity")
        if path == "/redirect":
            request.setResponseCode(302)
            request.setHeader("Location", "/elsewhere")
            request.setHeader("Set-Cookie", "who=you; Path=/")
            return b"{}"
        if path == "/compressed":
            request.setHeader("Content-Encoding", "gzip")
            return b"\x1f\x8b"
        if path == "/cookie":
            return orjson.dumps([request.getHeader("cookie"), request.getHeader("user-agent")])
        if path == "/text":
            return b"not json"
        if path == "/silent":
            return NOT_DONE_YET
        return b'{"you": "%s"}' % request.method


class Rude(Protocol):
    """Answers ``polite`` first, then whatever else, again and again, until it is hung up on."""

    factory: "RudeFactory"
    loop: LoopingCall | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.factory.polite:
            self.transport.write(self.factory.polite.pop())
            return
        self.transport.write(self.factory.begin)
        self.loop = LoopingCall(self.transport.write, self.factory.again)
        self.loop.start(self.factory.pause)

    def connectionLost(self, reason: Any) -> None:
        if self.loop:
            self.loop.stop()
        self.factory.lost.callback(reason.type)


class RudeFactory(Factory):
    protocol = Rude

    def __init__(self, begin: bytes, again: bytes, pause: float, *polite: bytes) -> None:
        self.begin, self.again, self.pause, self.polite = begin, again, pause, list(polite)
        self.lost: Deferred[type[Exception]] = Deferred()


class Outside(TestCase):
    """A real server on the loopback interface, which is out of bounds unless it is allowed."""

    timeout = 20

    def setUp(self) -> None:
        self.neighbour = Neighbour()
        self.port = self.listen(Site(self.neighbour))

    def listen(self, factory: Any, interface: str = "127.0.0.1") -> int:
        port = reactor.listenTCP(0, factory, interface=interface)
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def egress(self, *allowed: str, **injected: Any) -> Egress:
        egress = Egress(reactor, allowed, **injected)
        self.addCleanup(lambda: Deferred.fromCoroutine(egress.close()))
        return egress

    async def fails(
        self, kind: type[Exception], egress: Egress, url: str, **wishes: Any
    ) -> Exception:
        wishes = {"limit": 1000, "timeout": 5.0, **wishes}
        return await self.assertFailure(Deferred.fromCoroutine(egress.get(url, **wishes)), kind)

    async def test_this_machine_is_refused_in_every_spelling(self) -> None:
        egress = self.egress()
        for host in (
            *("127.0.0.1", "localhost", "LOCALHOST", "0.0.0.0", "127.1", "0", "2130706433"),
            *("0177.0.0.1", "0x7f000001", "0x7f.1"),
            *("[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
            *("[2002:7f00:1::]", "[0:0:0:0:0:0:0:1]"),
        ):
            await self.fails(EgressRefused, egress, f"http://{host}:{self.port}/")
        self.assertEqual(self.neighbour.asked, [])

    async def test_names_that_lead_home_are_refused(self) -> None:
        for answer in (
            ["127.0.0.1"],
            ["::1"],
            ["10.0.0.1", "169.254.169.254"],
            ["::ffff:127.0.0.1"],
        ):
            egress = self.egress(resolve=resolving(answer))
            refusal = await self.fails(EgressRefused, egress, f"http://evil.example:{self.port}/")
            self.assertIn("evil.example", str(refusal))
            self.assertNotIn(answer[0], str(refusal))
        self.assertEqual(self.neighbour.asked, [])

    async def test_a_name_is_resolved_once_and_the_checked_address_used(self) -> None:
        asked: list[str] = []
        egress = self.egress("127.0.0.0/8", resolve=resolving(["127.0.0.1"], asked))
        answer = await egress.get(
            f"http://push.example:{self.port}/here?x=1", limit=1000, timeout=5.0
        )
        self.assertEqual((answer.status, answer.json()), (200, {"you": "GET"}))
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(asked, ["push.example"])
        self.assertEqual(self.neighbour.asked, [("GET", "/here", f"push.example:{self.port}", b"")])

    async def test_only_the_permitted_ones_of_several_addresses_are_used(self) -> None:
        egress = self.egress("127.0.0.1", resolve=resolving(["10.255.255.1", "127.0.0.1"]))
        answer = await egress.get(f"http://push.example:{self.port}/", limit=1000, timeout=3.0)
        self.assertEqual(answer.status, 200)

    async def test_a_dead_address_is_followed_by_the_next(self) -> None:
        egress = self.egress("127.0.0.0/8", resolve=resolving(["127.0.0.2", "127.0.0.1"]))
        answer = await egress.get(f"http://push.example:{self.port}/", limit=1000, timeout=5.0)
        self.assertEqual(answer.status, 200)

    async def test_json_is_sent_and_the_connection_used_again(self) -> None:
        egress = self.egress("127.0.0.1")
        for number in (1, 2):
            answer = await egress.post_json(
                f"http://127.0.0.1:{self.port}/notify", {"n": number}, limit=1000, timeout=5.0
            )
            self.assertEqual(answer.json(), {"you": "POST"})
        self.assertEqual([asked[3] for asked in self.neighbour.asked], [b'{"n":1}', b'{"n":2}'])
        self.assertEqual(len(self.neighbour.peers), 1)

    async def test_a_bridge_is_reached_by_the_name_that_the_configuration_lists(self) -> None:
        egress = self.egress("bridge", resolve=resolving(["127.0.0.1"]))
        url = f"http://bridge:{self.port}/_matrix/app/v1/transactions/1"
        answer = await egress.request(
            "PUT",
            url,
            body={"events": []},
            headers={"Authorization": "Bearer x"},
            limit=1000,
            timeout=5.0,
        )
        self.assertEqual(answer.json(), {"you": "PUT"})
        await self.fails(EgressRefused, egress, f"http://other:{self.port}/")

    async def test_hosts_that_international_names_do_not_allow(self) -> None:
        port = self.listen(Site(self.neighbour), "::1")
        egress = self.egress("::1", resolve=resolving(["::1"]))
        for host, told in (
            ("[::1]", "[::1]"),
            ("irc_bridge", "irc_bridge"),
            ("IRC_Bridge", "IRC_Bridge"),
            ("bücher.example", "xn--bcher-kva.example"),
        ):
            answer = await egress.get(f"http://{host}:{port}/a%20b?c=d e", limit=1000, timeout=5.0)
            self.assertEqual(answer.status, 200)
            self.assertEqual(self.neighbour.asked[-1][1:3], ("/a%20b", f"{told}:{port}"))

    async def test_what_is_no_web_address(self) -> None:
        egress = self.egress("127.0.0.1", "localhost")
        for url in (
            *(f"ftp://localhost:{self.port}/", "file:///etc/passwd", "gopher://localhost/"),
            *(f"http://someone@localhost:{self.port}/", "http://[fe80::1%25eth0]/"),
            *(f"http://example.org@127.0.0.1:{self.port}/", f"http://a:b@127.0.0.1:{self.port}/"),
        ):
            await self.fails(EgressRefused, egress, url)
        for url in (
            *("", "localhost", "//localhost/", "http:///", "http://%00/", "http://local host/"),
            *("http://localhost:notaport/", "http://localhost:99999/", "http://localhost:0/"),
        ):
            with self.assertRaises((EgressRefused, EgressFailed), msg=url):
                await egress.get(url, limit=1000, timeout=5.0)
        self.assertEqual(self.neighbour.asked, [])

    async def test_a_redirect_is_told_and_not_followed(self) -> None:
        egress = self.egress("127.0.0.1")
        base = f"http://127.0.0.1:{self.port}"
        answer = await egress.get(f"{base}/redirect", limit=1000, timeout=5.0)
        self.assertEqual((answer.status, answer.headers["location"]), (302, "/elsewhere"))
        self.assertEqual(len(self.neighbour.asked), 1)
        cookie = await egress.get(f"{base}/cookie", limit=1000, timeout=5.0)
        self.assertEqual(cookie.json(), [None, "Hearth"])

    async def test_answers_that_cannot_be_used(self) -> None:
        egress = self.egress("127.0.0.1")
        base = f"http://127.0.0.1:{self.port}"
        compressed = await self.fails(EgressFailed, egress, f"{base}/compressed")
        self.assertIn("compressed", str(compressed))
        text = await egress.get(f"{base}/text", limit=1000, timeout=5.0)
        self.assertRaises(EgressFailed, text.json)
        await self.fails(EgressFailed, egress, f"{base}/silent", timeout=0.2)
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        self.addCleanup(closed.close)
        await self.fails(EgressFailed, egress, f"http://127.0.0.1:{closed.getsockname()[1]}/")
        await self.fails(
            EgressFailed, self.egress(resolve=resolving([])), "http://nowhere.example/"
        )

    async def test_an_exact_fit_passes_and_one_byte_more_does_not(self) -> None:
        egress = self.egress("127.0.0.1")
        url = f"http://127.0.0.1:{self.port}/"
        size = len(b'{"you": "GET"}')
        self.assertEqual((await egress.get(url, limit=size, timeout=5.0)).status, 200)
        await self.fails(EgressFailed, egress, url, limit=size - 1)

    async def test_a_rude_server_costs_little_and_is_hung_up_on(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        for what, begin, again, pause, expected in (
            ("trickling body", head + b"\r\n", b"x", 0.02, "within 0.5 seconds"),
            ("trickling head", b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.02, "within 0.5 seconds"),
            ("endless body", head + b"\r\n", b"x" * 4096, 0, "longer than 50000 bytes"),
            (
                "endless chunks",
                head + b"Transfer-Encoding: chunked\r\n\r\n",
                b"3e8\r\n" + b"x" * 1000 + b"\r\n",
                0,
                "longer than 50000 bytes",
            ),
            ("endless head", head, b"A: " + b"b" * 1000 + b"\r\n", 0, "No usable answer"),
            (
                "endless head after an interim answer",
                b"HTTP/1.1 100 Continue\r\n\r\n" + head,
                b"A: " + b"b" * 1000 + b"\r\n",
                0,
                "No usable answer",
            ),
            ("endless interim answers", b"", b"HTTP/1.1 102 P\r\n\r\n", 0, "No usable answer"),
            ("compression", head + b"Content-Encoding: gzip\r\n\r\n", b"x", 0.02, "compressed"),
            ("no HTTP", b"", b"hello\r\n", 0, "No usable answer"),
        ):
            factory = RudeFactory(begin, again, pause)
            url = f"http://127.0.0.1:{self.listen(factory)}/"
            failure = await self.fails(
                EgressFailed, self.egress("127.0.0.1"), url, limit=50_000, timeout=0.5
            )
            self.assertIn(expected, str(failure), what)
            # Aborted, not closed: with TLS, closing would be a request that can be ignored.
            self.assertIs(await factory.lost, ConnectionLost, what)

    async def test_a_server_that_is_polite_at_first(self) -> None:
        polite = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        factory = RudeFactory(b"HTTP/1.1 200 OK\r\n", b"A: " + b"b" * 1000 + b"\r\n", 0, polite)
        egress, url = self.egress("127.0.0.1"), f"http://127.0.0.1:{self.listen(factory)}/"
        self.assertEqual((await egress.get(url, limit=1000, timeout=5.0)).json(), {})
        failure = await self.fails(EgressFailed, egress, url, timeout=0.5)
        self.assertIn("No usable answer", str(failure))
        await factory.lost

    async def test_tls_asks_for_the_name_and_believes_only_its_certificate(self) -> None:
        key, certificate = certificate_for("push.example")
        server = ssl.PrivateCertificate.load(certificate + key, ssl.KeyPair.load(key, PEM), PEM)
        port = reactor.listenSSL(0, Site(self.neighbour), server.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(certificate)])
        egress = self.egress(
            "127.0.0.1",
            resolve=resolving(["127.0.0.1"]),
            tls=BrowserLikePolicyForHTTPS(trustRoot=root),
        )
        answer = await egress.get(f"https://push.example:{number}/", limit=1000, timeout=5.0)
        self.assertEqual(answer.status, 200)
        await self.fails(EgressFailed, egress, f"https://other.example:{number}/")
        stranger = self.egress("127.0.0.1", resolve=resolving(["127.0.0.1"]))
        await self.fails(EgressFailed, stranger, f"https://push.example:{number}/")
        self.assertEqual(len(self.neighbour.asked), 1)

    async def test_a_name_that_does_not_resolve_in_time(self) -> None:
        def never(host: str) -> Any:
            return Deferred()

        failure = await self.fails(
            EgressFailed, self.egress(resolve=never), "http://slow.example/", timeout=0.1
        )
        self.assertIn("0.1 seconds", str(failure))


def resolving(answer: list[str], asked: list[str] | None = None) -> Callable[[str], Any]:
    async def resolve(host: str) -> list[str]:
        if asked is not None:
            asked.append(host)
        return answer

    return resolve


def certificate_for(name: str) -> tuple[bytes, bytes]:
    """A key and a certificate that it signs itself, valid for ``name``; both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem, certificate.public_bytes(serialization.Encoding.PEM)
