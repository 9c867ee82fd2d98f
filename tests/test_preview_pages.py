"""What a page says about itself, however it is written, and addresses that are not fetched."""

from time import perf_counter
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.previews.fetch import _content_type
from homeserver.previews.hosts import Hosts, NotAWebAddress, web_address
from homeserver.previews.page import LONGEST_TEXT, LONGEST_TITLE, Page, read_page


def page(html: str) -> Page:
    return read_page(html.encode(), None)


class PageTest(TestCase):
    """Facts, and where they are taken from if the page does not give them."""

    def test_a_page_that_says_everything(self) -> None:
        found = page(
            """<!doctype html><html><head><title>not this</title>
            <meta property="og:title" content="Street  festival &amp; more">
            <meta property='OG:Description' content='On Saturday
              at noon'>
            <meta property=og:image content="/a.png"><meta property="og:image" content="/b.png">
            <meta property="og:site_name" content="The street"><meta name="og:type" content="x">
            <meta name="description" content="nor this"></head><body><p>nor that"""
        )
        self.assertEqual(
            found,
            Page("Street festival & more", "On Saturday at noon", "/a.png", "The street", "x"),
        )

    def test_a_page_that_says_little(self) -> None:
        for html, title, description in (
            ("<title>A\n title</title><p>First <b>words</b></p><p>more", "A title", "First words"),
            ("<h1>Heading</h1><meta name=description content=text>", "Heading", "text"),
            ("<h2>Below</h2>", "Below", None),
            ("<meta name='twitter:title' content='T'><title>no</title>", "T", None),
            ("<svg><title>icon</title></svg><title>yes</title>", "yes", None),
            ("<title> </title><title>second</title>", "second", None),
            ("<meta property='og:title' content='  '><title>t</title>", "t", None),
            ("<p><script>alert(1)</script>said</p>", None, "said"),
            ("<p></p><p>second</p>", None, "second"),
            ("<script><p>no</p></script><style>p</style>", None, None),
            ("plain text", None, None),
            ("", None, None),
            ("\0<title>a\0b</title>", "ab", None),
            ("<title>\x07\u202eevil\u2066</title>", "evil", None),
        ):
            found = page(html)
            self.assertEqual((found.title, found.description), (title, description), html)

    def test_texts_have_an_end(self) -> None:
        found = page(f"<title>{'t' * 9000}</title><p>{'d ' * 9000}</p>")
        assert found.title is not None and found.description is not None
        self.assertEqual((len(found.title), found.title[-1]), (LONGEST_TITLE, "…"))
        self.assertEqual(len(found.description), LONGEST_TEXT)

    def test_letters_of_every_kind_of_page(self) -> None:
        word = "Grüße, 東京"
        title = f"<title>{word}</title>"
        for body, charset in (
            (title.encode(), None),
            (title.encode(), "utf-8"),
            (title.encode("utf-8-sig"), "windows-1252"),
            (title.encode("utf-16"), None),
            (title.encode("gb18030"), "GB18030"),
            (("<meta charset=gb18030>" + title).encode("gb18030"), None),
            (("<meta charset=gb18030>" + title).encode("gb18030"), "nonsense"),
            (
                (
                    "<meta http-equiv=Content-Type content='text/html; charset=gb18030'>" + title
                ).encode("gb18030"),
                None,
            ),
            (("<meta charset=utf-16>" + title).encode(), None),
            (("<meta charset=utf-7>" + title).encode(), "zip"),
        ):
            self.assertEqual(read_page(body, charset).title, word, (body, charset))
        self.assertEqual(read_page("<title>Grüße".encode("latin-1"), None).title, "Grüße")
        long = ("<title>Grüße</title>" + "ü" * 400_000).encode()
        self.assertEqual(read_page(long, None).title, "Grüße")
        self.assertEqual(read_page(b"<title>a\xff\xfe", "utf-8").title, "a\ufffd\ufffd")

    def test_hostile_pages_take_little_time(self) -> None:
        began = perf_counter()
        for body in (
            b"<div>" * 110_000,
            b"<p>" * 180_000,
            b"<a " + b" ".join(b"a%d=1" % number for number in range(60_000)) + b">",
            b"<meta property='og:title' content='" + b"x" * 600_000,
            b"<!--" + b"-" * 600_000,
            b"<" * 600_000,
            b"&amp;" * 120_000,
            b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><title>&b;" * 9000,
            b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><title>&a;</title>",
            b"<title>" + b"x" * 600_000,
            b"\xff" * 600_000,
        ):
            found = read_page(body, None)
            self.assertNotIn("root:", found.title or "")
        self.assertLess(perf_counter() - began, 15)

    @settings(deadline=None)
    @given(st.binary(max_size=300), st.none() | st.text(max_size=20))
    def test_any_bytes_are_a_page(self, body: bytes, charset: str | None) -> None:
        marks = (b"<title>", b"<meta charset=", b"<meta property=og:title content=", b"<!doctype ")
        for mark in marks:
            found = read_page(mark + body, charset)
            for text in (found.title, found.description, found.image):
                self.assertTrue(text is None or (text.isprintable() and text))

    @settings(deadline=None)
    @given(st.text(max_size=60))
    def test_any_header_is_read(self, header: str) -> None:
        for said in (header, "text/html; charset=" + header, "text/html; charset*=" + header):
            essence, _ = _content_type(said)
            self.assertIn("/", essence)


class AddressTest(TestCase):
    """Which addresses are web addresses, and which hosts the configuration means."""

    def test_what_is_no_web_address(self) -> None:
        for text in (
            "",
            "example.org",
            "ftp://example.org/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "mailto:a@b.c",
            "http://",
            "http:///path",
            "http://user:password@example.org/",
            "http://allowed.example\\@example.org/",
            "http://example.org:port/",
            "http://example.org:99999999/",
            "http://[::1",
            "https://example.org/" + "x" * 2000,
            "http://exa mple.org/",
        ):
            try:
                url = web_address(text)
            except NotAWebAddress:
                continue
            self.fail(f"{text!r} became {url.to_text()}")

    def test_an_address_keeps_no_fragment(self) -> None:
        self.assertEqual(web_address(" https://A.example/b?c#d").to_text(), "https://a.example/b?c")

    def test_relative_addresses(self) -> None:
        base = web_address("https://a.example/b/c?d")
        for text, expected in (
            ("e.png", "https://a.example/b/e.png"),
            ("/e.png", "https://a.example/e.png"),
            ("//b.example/e", "https://b.example/e"),
            ("http://c.example/", "http://c.example/"),
        ):
            self.assertEqual(web_address(text, base).to_text(), expected)
        for text in ("javascript:x", "data:,x", "file:///etc/passwd"):
            with self.assertRaises(NotAWebAddress):
                web_address(text, base)

    def test_the_lists_of_the_configuration(self) -> None:
        for allow, deny, host, permitted in (
            ([], [], "example.org", True),
            (["example.org"], [], "example.org", True),
            (["example.org"], [], "www.Example.ORG.", True),
            (["example.org"], [], "notexample.org", False),
            (["example.org"], [], "example.org.evil.net", False),
            ([], ["example.org"], "a.b.example.org", False),
            ([], ["example.org"], "example.com", True),
            (["example.org"], ["private.example.org"], "private.example.org", False),
            (["example.org"], ["private.example.org"], "public.example.org", True),
            ([], ["bücher.example"], "xn--bcher-kva.example", False),
            ([], ["xn--bcher-kva.example"], "www.bücher.example", False),
            ([], ["org"], "example.org", False),
        ):
            hosts = Hosts(allow, deny)
            url = web_address(f"https://{host}/")
            self.assertEqual(hosts.permit(url), permitted, (allow, deny, host))
