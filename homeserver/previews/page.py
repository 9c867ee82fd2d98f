"""Reading a page: what it says about itself, out of its first part, whatever it is made of.

lxml hands over one tag after the other and no tree is built, so neither depth nor number of the
elements costs memory; both have an end all the same.
"""

from codecs import getincrementaldecoder
from email.message import Message
from typing import Any, ClassVar

import webencodings
from attrs import frozen

READ = 512 * 1024
SNIFFED = 4096
STEP = 16 * 1024
MOST_ELEMENTS = 20_000
LONGEST_TITLE = 300
LONGEST_TEXT = 1000
LONGEST_URL = 2000

_SILENT = ("script", "style", "noscript", "template", "svg")
_HEADINGS = ("h1", "h2")


@frozen
class Page:
    """What a page says about itself, as plain text of bearable length."""

    title: str | None
    description: str | None
    image: str | None
    """An address, which may be relative to the page's."""
    site_name: str | None
    type: str | None


def read_page(body: bytes, charset: str | None) -> Page:
    """What the page in ``body`` says about itself. ``charset`` is what its headers say. Blocks."""
    seen = _Collector()
    _parse(_text(body[:READ], charset), seen)
    return Page(
        _clean(seen.first("og:title", "twitter:title", "<title>", *_HEADINGS), LONGEST_TITLE),
        _clean(seen.first("og:description", "twitter:description", "description", "p")),
        _clean(
            seen.first(
                "og:image:secure_url", "og:image", "og:image:url", "twitter:image", "image_src"
            ),
            LONGEST_URL,
        ),
        _clean(seen.first("og:site_name"), LONGEST_TITLE),
        _clean(seen.first("og:type"), LONGEST_TITLE),
    )


class _Enough(Exception):
    """More than this much of a page is not read."""


class _Collector:
    """The target of the parser: remembers the first of each thing that a page says."""

    _facts: ClassVar[frozenset[str]] = frozenset(
        f"{family}:{name}"
        for family in ("og", "twitter")
        for name in ("title", "description", "image")
    ) | {"og:image:secure_url", "og:image:url", "og:site_name", "og:type", "description"}

    def __init__(self) -> None:
        self.charset: str | None = None
        self._found: dict[str, str] = {}
        self._elements = 0
        self._silent = 0
        self._hearing: str | None = None

    def first(self, *names: str) -> str | None:
        """The first of these that the page says."""
        texts = (self._found.get(name, "") for name in names)
        return next((text for text in texts if text.strip()), None)

    def start(self, tag: str, attributes: Any) -> None:
        """lxml: a tag opens."""
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            raise _Enough
        if tag in _SILENT:
            self._silent += 1
        elif tag == "meta":
            self._meta(attributes)
        elif tag == "link" and attributes.get("rel") == "image_src":
            self._note("image_src", attributes.get("href"))
        elif tag == "title" or tag in ("p", *_HEADINGS):
            name = "<title>" if tag == "title" else tag
            if not self._silent and not self._found.get(name, "").strip():
                self._hearing, self._found[name] = name, ""

    def end(self, tag: str) -> None:
        """lxml: a tag closes."""
        if tag in _SILENT:
            self._silent -= 1
        elif self._hearing in (tag, f"<{tag}>"):
            self._hearing = None

    def data(self, text: str) -> None:
        """lxml: text between tags."""
        if self._hearing is not None and not self._silent:
            heard = self._found[self._hearing]
            self._found[self._hearing] = heard + text[: 2 * LONGEST_TEXT - len(heard)]

    def close(self) -> None:
        """lxml: the end."""

    def _meta(self, attributes: Any) -> None:
        name = (attributes.get("property") or attributes.get("name") or "").lower()
        if name in self._facts:
            self._note(name, attributes.get("content"))
        elif self.charset is None and attributes.get("charset"):
            self.charset = attributes["charset"]
        elif self.charset is None and attributes.get("http-equiv", "").lower() == "content-type":
            said = Message()
            said["Content-Type"] = " ".join(attributes.get("content", "")[:200].split())
            self.charset = said.get_content_charset()

    def _note(self, name: str, value: str | None) -> None:
        if value and value.strip():
            self._found.setdefault(name, value[: 2 * LONGEST_URL])


def _parse(text: str, seen: _Collector) -> None:
    from lxml import etree  # four megabytes, which only who wants previews has to spare

    data = text.replace("\0", "").encode()
    target: Any = seen
    parser = etree.HTMLParser(target=target, encoding="utf-8", no_network=True)
    try:
        for start in range(0, len(data), STEP):
            parser.feed(data[start : start + STEP])
        parser.close()
    except (_Enough, etree.LxmlError):
        return  # what was found until then is what there is


def _text(body: bytes, charset: str | None) -> str:
    """The characters: by a mark at the beginning, the headers, the page, or by what they look like.

    Only encodings of the web are known, so no page can choose another codec of Python.
    """
    encoding = webencodings.lookup(charset) if charset else None
    if encoding is None:
        sniffed = _Collector()
        _parse(body[:SNIFFED].decode("latin-1"), sniffed)
        encoding = webencodings.lookup(sniffed.charset) if sniffed.charset else None
        if encoding is not None and encoding.name.startswith("utf-16"):
            encoding = None  # it could not have been read in the page then
    if encoding is None:
        encoding = webencodings.lookup("utf-8" if _is_utf8(body) else "windows-1252")
    text, _ = webencodings.decode(body, encoding, "replace")
    return str(text)


def _is_utf8(body: bytes) -> bool:
    is_cut = len(body) == READ  # perhaps in the middle of a character
    try:
        getincrementaldecoder("utf-8")().decode(body, final=not is_cut)
    except UnicodeDecodeError:
        return False
    return True


def _clean(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """Without control characters and line breaks, and no longer than that."""
    if text is None:
        return None
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[: longest - 1] + "…" if len(text) > longest else text or None
