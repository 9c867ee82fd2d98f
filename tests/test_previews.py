"""Previews of links: a page next door is looked at, and nothing that a link should not reach."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any
from urllib.parse import quote

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from homeserver.assembly.media import DAY
from homeserver.previews import previews
from tests.media_case import V1, V3, Answered, MediaTest, picture, png

reactor: Any = default_reactor
SECONDS = 0.8
LIMIT = 200_000
HOUSE = "127.0.0.0/8"
HTML = "text/html; charset=utf-8"
PAGE = b"""<title>no</title><meta property="og:title" content="Street festival">
<meta property="og:description" content="On Saturday"><meta property="og:image" content="/a.png">"""


class Neighbour(Resource):
    """A web server next door: pages, pictures, and ways to keep somebody busy."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.pages: dict[str, tuple[str, bytes]] = {
            "/": (HTML, PAGE),
            "/a.png": ("image/png", picture(60, 40)),
        }
        self.moved: dict[str, str] = {}
        self.accepted: list[str] = []
        self.held: list[Any] = []

    def render(self, request: Any) -> Any:
        path = request.uri.decode()
        self.asked.append(path)
        self.accepted.append(request.getHeader("accept"))
        request.setHeader("Connection", "close")
        if path in self.moved:
            request.setResponseCode(302)
            request.setHeader("Location", self.moved[path])
            return b""
        if path in ("/trickle", "/endless", "/head"):
            return self._go_on(request, path)
        if path.startswith("/held"):
            self.held.append(request)
            return NOT_DONE_YET
        if path not in self.pages:
            request.setResponseCode(404)
            return b"<title>not found</title>"
        kind, body = self.pages[path]
        request.setHeader("Content-Type", kind)
        return body

    def _go_on(self, request: Any, path: str) -> Any:
        """Never come to an end: a byte now and then, or as much as goes in."""
        request.setHeader("Content-Type", HTML)
        if path == "/head":
            for number in range(3000):
                request.responseHeaders.setRawHeaders(f"x-{number}", ["x" * 100])
        part, pause = (b"x", 0.05) if path == "/trickle" else (b"x" * 50_000, 0)
        writing = LoopingCall(request.write, part)
        request.notifyFinish().addErrback(lambda _: writing.stop())
        writing.start(pause)
        return NOT_DONE_YET


class PreviewTest(MediaTest):
    """Alice and Bob see a link; the neighbour is called localhost, which this server may ask."""

    more: Mapping[str, Any] = {}

    async def setUp(self) -> None:
        self.settings = {
            "allow_private_addresses": ["localhost"],
            "previews": {"enabled": True, "seconds": SECONDS, "max_bytes": LIMIT, **self.more},
        }
        await super().setUp()
        self.neighbour = Neighbour()
        port = reactor.listenTCP(0, Site(self.neighbour), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    async def preview(self, path: str = "/", who: str = "alice", base: str = V1) -> Answered:
        """Somebody asks for the preview of a page next door, or of another address."""
        url = path if "://" in path else f"http://localhost:{self.port}{path}"
        return await self.call("GET", f"{base}/preview_url?url={quote(url, safe='')}", who)

    async def assert_nothing(self, path: str) -> None:
        answer = await self.preview(path)
        self.assertEqual(answer.refusal, (404, "M_NOT_FOUND"), path)

    async def kept(self) -> int:
        count = "SELECT COUNT(*) FROM url_previews"
        return await self.store.read(lambda txn: txn.value(count))


class WhatIsShownTest(PreviewTest):
    """A preview of what is there."""

    async def test_alice_sees_title_text_and_picture_of_a_page(self) -> None:
        for base in (V1, V3):
            answer = await self.preview(base=base)
            facts = answer.json
            uri = facts.pop("og:image")
            self.assertRegex(uri, "^mxc://localhost/[A-Za-z0-9_-]+$")
            self.assertEqual(
                facts,
                {
                    "og:title": "Street festival",
                    "og:description": "On Saturday",
                    "og:image:type": "image/png",
                    "og:image:width": 60,
                    "og:image:height": 40,
                    "matrix:image:size": len(picture(60, 40)),
                },
            )
            shown = await self.download(uri.removeprefix("mxc://"))
            self.assertEqual((shown.code, shown.body), (200, picture(60, 40)))
            self.assertEqual(shown.header("Content-Type"), "image/png")
        self.assertEqual(self.neighbour.asked, ["/", "/a.png"])
        self.assertEqual(["html" in accept for accept in self.neighbour.accepted], [True, False])

    async def test_a_picture_is_its_own_preview(self) -> None:
        self.neighbour.pages["/b"] = ("image/png", picture(30, 20, "JPEG"))  # by its bytes
        facts = (await self.preview("/b")).json
        self.assertEqual((facts["og:image:type"], facts["og:image:width"]), ("image/jpeg", 30))

    async def test_a_page_that_says_nothing_has_an_empty_preview(self) -> None:
        self.neighbour.pages["/empty"] = (HTML, b"")
        answer = await self.preview("/empty")
        self.assertEqual((answer.code, answer.json), (200, {}))

    async def test_redirects_are_followed(self) -> None:
        self.neighbour.moved |= {"/1": "/2", "/2": f"http://LOCALHOST:{self.port}/#end"}
        self.assertEqual((await self.preview("/1")).json["og:title"], "Street festival")
        self.neighbour.moved |= {"/a.png": "/b.png"}
        self.neighbour.pages["/b.png"] = ("image/png", picture(7, 7))
        self.neighbour.pages["/new"] = (HTML, PAGE)
        self.assertEqual((await self.preview("/new")).json["og:image:width"], 7)

    async def test_a_picture_that_is_none_leaves_the_rest(self) -> None:
        for name, kind, body in (
            ("text", "image/png", b"<script>alert(1)</script>"),
            ("svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            ("broken", "image/png", picture(30, 30)[:-40]),
            ("bomb", "image/png", png(60_000, 60_000, b"")),
            ("large", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(LIMIT)),
        ):
            self.neighbour.pages["/" + name] = (kind, body)
            page = f"<title>{name}</title><meta property=og:image content=/{name}>".encode()
            self.neighbour.pages["/of/" + name] = (HTML, page)
            self.assertEqual((await self.preview("/of/" + name)).json, {"og:title": name})
            self.assertIn("/" + name, self.neighbour.asked)
        self.assertEqual(self.on_disk(), [])

    async def test_what_is_no_page_has_no_preview(self) -> None:
        self.neighbour.pages["/zip"] = ("application/zip", b"PK" + PAGE)
        self.neighbour.pages["/none"] = ("", PAGE)
        for path in ("/zip", "/none", "/not-there"):
            await self.assert_nothing(path)


class WhatIsNotReachedTest(PreviewTest):
    """Where a link must not lead."""

    more = {"deny": ["denied.example"]}

    async def test_addresses_of_the_house_are_not_reached_at_once_or_by_a_redirect(self) -> None:
        house = (
            f"http://127.0.0.1:{self.port}/a.png",
            f"http://[::ffff:127.0.0.1]:{self.port}/a.png",
            f"http://[::ffff:7f00:1]:{self.port}/a.png",
            f"http://[64:ff9b::7f00:1]:{self.port}/a.png",
            f"http://[2002:7f00:1::]:{self.port}/a.png",
            f"http://[::1]:{self.port}/a.png",
            f"http://2130706433:{self.port}/a.png",
            f"http://0x7f.1:{self.port}/a.png",
            f"http://0.0.0.0:{self.port}/a.png",
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://[fe80::1]/",
            "http://denied.example/",
            "http://www.denied.example/",
            "file:///etc/passwd",
            "ftp://localhost/",
            f"http://user@localhost:{self.port}/a.png",
        )
        for number, address in enumerate(house):
            self.neighbour.moved[f"/to/{number}"] = address
            html = f"<title>t</title><meta property=og:image content='{address}'>".encode()
            self.neighbour.pages[f"/shows/{number}"] = (HTML, html)
            self.assertIn((await self.preview(address)).code, (400, 403, 404), address)
            await self.assert_nothing(f"/to/{number}")
            self.assertEqual((await self.preview(f"/shows/{number}")).json, {"og:title": "t"})
        self.assertNotIn("/a.png", self.neighbour.asked)
        self.assertEqual(self.on_disk(), [])

    async def test_a_refusal_does_not_tell_which_addresses_exist(self) -> None:
        refused = await self.preview(f"http://127.0.0.1:{self.port}/")
        nobody = await self.preview("http://localhost:1/")
        self.assertEqual((refused.code, refused.json), (nobody.code, nobody.json))

    async def test_what_is_no_address_is_said(self) -> None:
        for text in ("example", "javascript://x", "http://user:pw@localhost/", "http://"):
            answer = await self.preview(text if "://" in text else f"x://{text}")
            self.assertEqual(answer.refusal, (400, "M_INVALID_PARAM"), text)
        answer = await self.call("GET", f"{V1}/preview_url")
        self.assertEqual(answer.refusal, (400, "M_MISSING_PARAM"))
        answer = await self.preview("http://www.denied.example/x")
        self.assertEqual(answer.refusal, (403, "M_FORBIDDEN"))
        answer = await self.call("GET", f"{V1}/preview_url?url=http://localhost/", None)
        self.assertEqual(answer.refusal, (401, "M_MISSING_TOKEN"))

    async def test_a_circle_of_redirects_has_an_end(self) -> None:
        self.neighbour.moved |= {"/circle": "/circle", "/nowhere": ""}
        await self.assert_nothing("/circle")
        self.assertEqual(len(self.neighbour.asked), 6)
        await self.assert_nothing("/nowhere")

    async def test_a_page_that_does_not_end_costs_little(self) -> None:
        for path in ("/trickle", "/endless", "/head", "/held"):
            began = perf_counter()
            await self.assert_nothing(path)
            self.assertLess(perf_counter() - began, 5 * SECONDS, path)

    async def test_page_and_picture_share_the_time(self) -> None:
        html = b"<title>t</title><meta property=og:image content=/trickle>"
        self.neighbour.pages["/slow"] = (HTML, html)
        began = perf_counter()
        self.assertEqual((await self.preview("/slow")).json, {"og:title": "t"})
        self.assertLess(perf_counter() - began, 5 * SECONDS)


class DeniedHostTest(PreviewTest):
    """A host that the guard would let pass, and the configuration does not."""

    more = {"deny": ["127.0.0.2"]}

    async def test_it_is_not_reached_by_a_redirect_or_as_a_picture(self) -> None:
        self.hearth._settings = {**self.settings, "allow_private_addresses": ["localhost", HOUSE]}
        await self.hearth.restart()
        port = reactor.listenTCP(0, Site(self.neighbour), interface="127.0.0.2")
        self.addCleanup(port.stopListening)
        picture_there = f"http://127.0.0.2:{port.getHost().port}/a.png"
        html = f"<title>t</title><meta property=og:image content='{picture_there}'>".encode()
        self.neighbour.pages["/shows"] = (HTML, html)
        self.neighbour.moved["/to"] = picture_there
        self.assertEqual((await self.preview(picture_there)).refusal, (403, "M_FORBIDDEN"))
        self.assertEqual((await self.preview("/shows")).json, {"og:title": "t"})
        await self.assert_nothing("/to")
        self.assertEqual(self.neighbour.asked, ["/shows", "/to"])


class OnlySomeHostsTest(PreviewTest):
    """The configuration names the hosts that may be asked."""

    more = {"allow": ["elsewhere.example"]}

    async def test_other_hosts_are_not_asked(self) -> None:
        self.assertEqual((await self.preview()).refusal, (403, "M_FORBIDDEN"))
        self.assertEqual(self.neighbour.asked, [])


class MeasureTest(PreviewTest):
    """Previews are made with measure."""

    more = {"seconds": 20}

    async def test_one_fetch_serves_everybody_and_outlives_who_leaves(self) -> None:
        asked = [Deferred.fromCoroutine(self.preview("/held", who)) for who in ("alice", "bob")]
        left = Deferred.fromCoroutine(self.preview("/held", "bob"))
        while not self.neighbour.held or len(self.hearth_previews._under_way._waiting) < 1:
            await self.call("GET", f"{V1}/config")
        (watchers,) = self.hearth_previews._under_way._waiting.values()
        while len(watchers) < 3:
            await self.call("GET", f"{V1}/config")
        left.cancel()
        left.addErrback(lambda _: None)
        await self.call("GET", f"{V1}/config")
        (request,) = self.neighbour.held
        request.setHeader("Content-Type", HTML)
        request.write(b"<title>at last</title>")
        request.finish()
        answers = await gatherResults(asked)
        self.assertEqual([each.json for each in answers], [{"og:title": "at last"}] * 2)
        self.assertEqual(self.neighbour.asked, ["/held"])

    async def test_the_server_stops_while_a_page_is_awaited(self) -> None:
        asked = Deferred.fromCoroutine(self.preview("/held"))
        asked.addErrback(lambda _: None)
        while not self.neighbour.held:
            await self.call("GET", f"{V1}/config")
        began = perf_counter()
        await self.hearth.stop()
        await asked
        self.assertLess(perf_counter() - began, 4)

    async def test_too_many_at_once_are_refused(self) -> None:
        self.patch(previews, "MOST_WAITING", 2)
        asked = [Deferred.fromCoroutine(self.preview(f"/held?{number}")) for number in range(2)]
        while len(self.neighbour.held) < 2:
            await self.call("GET", f"{V1}/config")
        self.assertEqual((await self.preview("/a.png")).refusal, (429, "M_LIMIT_EXCEEDED"))
        for request in self.neighbour.held:
            request.finish()
        await gatherResults(asked)
        self.assertEqual((await self.preview("/a.png")).code, 200)

    async def test_results_are_kept_for_a_while_and_pictures_go_with_them(self) -> None:
        uri = (await self.preview()).json["og:image"]
        await self.assert_nothing("/not-there")
        await self.assert_nothing("/not-there")
        self.assertEqual(self.neighbour.asked, ["/", "/a.png", "/not-there"])
        await self.hearth.restart()
        self.store = self.hearth.app.storage.store
        self.assertEqual((await self.preview()).json["og:image"], uri)
        await self.later("UPDATE url_previews SET expires_at = 1")
        self.assertEqual(await self.kept(), 0)
        self.assertEqual((await self.download(uri.removeprefix("mxc://"))).code, 200)
        await self.later("UPDATE media SET taken_back_at = taken_back_at - ?", 7 * DAY)
        self.assertEqual((await self.download(uri.removeprefix("mxc://"))).code, 404)
        self.assertNotEqual((await self.preview()).json["og:image"], uri)

    async def test_a_picture_that_somebody_shows_stays(self) -> None:
        uri = (await self.preview()).json["og:image"]
        alice = self.people[0]
        room = await alice.create_room(preset="public_chat")
        await alice.send(room, "m.room.message", {"msgtype": "m.image", "body": "a", "url": uri})
        await self.later("UPDATE url_previews SET expires_at = 1")
        await self.later("UPDATE media SET taken_back_at = taken_back_at - ?", 7 * DAY)
        self.assertEqual((await self.download(uri.removeprefix("mxc://"))).code, 200)

    async def test_not_more_than_so_many_are_kept(self) -> None:
        self.patch(previews, "MOST_KEPT", 3)
        for number in range(5):
            self.neighbour.pages[f"/{number}"] = (HTML, PAGE)
            await self.preview(f"/{number}")
        self.assertEqual(await self.kept(), 3)
        before = len(self.neighbour.asked)
        await self.preview("/4")
        self.assertEqual(len(self.neighbour.asked), before)
        await self.preview("/0")
        self.assertGreater(len(self.neighbour.asked), before)

    async def later(self, sql: str, *values: int) -> None:
        """Time goes by, and the server looks after its house."""
        await self.store.write(lambda txn: txn.run(sql, *values))
        await self.hearth.app.repository.look_after()

    @property
    def hearth_previews(self) -> previews.Previews:
        found = self.hearth.app.repository.previews
        assert found is not None
        return found


class RateTest(PreviewTest):
    """Nobody lets the server run about without measure."""

    async def setUp(self) -> None:
        await super().setUp()
        limits = {"enabled": True, "previews": [0.01, 3]}
        self.hearth._settings = {**self.settings, "rate_limits": limits}
        await self.hearth.restart()

    async def test_each_person_has_a_limit(self) -> None:
        codes = [(await self.preview()).code for _ in range(4)]
        self.assertEqual(codes, [200, 200, 200, 429])
        self.assertEqual((await self.preview(who="bob")).code, 200)
