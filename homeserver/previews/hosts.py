"""Which hosts are asked for pages and pictures: the lists of the configuration.

They come on top of the egress guard, which refuses whatever is not on the public internet.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from attrs import field, frozen
from hyperlink import EncodedURL

from federation_disabled.guard import is_host_name

LONGEST_URL = 2000


class NotAWebAddress(ValueError):
    """A text that no page can be behind."""


def web_address(text: str, base: EncodedURL | None = None) -> EncodedURL:
    """Read an address, which may be relative to ``base``. It has no fragment.

    Raises:
        NotAWebAddress: it is none, or one with a name and a password.
    """
    if len(text) > LONGEST_URL:
        raise NotAWebAddress("The address is too long")
    try:
        url = EncodedURL.from_text(text.strip())
        url = (url if base is None else base.click(url)).replace(fragment="").normalize()
    except (ValueError, TypeError, NotImplementedError):
        raise NotAWebAddress("This is not a web address") from None
    if url.scheme not in ("http", "https") or url.userinfo or not _is_host(url.host):
        raise NotAWebAddress("This is not a web address that everybody could open")
    if len(url.to_text()) > LONGEST_URL or not 0 < (url.port or 0) < 2**16:
        raise NotAWebAddress("The address is too long, or its port is none")
    return url


def host_name(text: str) -> str:
    """A host as it is compared: in ASCII and in small letters."""
    name = text.lower().removesuffix(".")
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return is_host_name(host_name(text))
    return True


def _names(hosts: Iterable[str]) -> frozenset[str]:
    return frozenset(map(host_name, hosts))


@frozen
class Hosts:
    """An empty ``allowed`` allows every host; ``denied`` wins. A name stands for those below it."""

    allowed: frozenset[str] = field(converter=_names)
    denied: frozenset[str] = field(converter=_names)

    def permit(self, url: EncodedURL) -> bool:
        """Whether the configuration lets ``url`` be asked."""
        labels = host_name(url.host).split(".")
        names = {".".join(labels[start:]) for start in range(len(labels))}
        return not names & self.denied and (not self.allowed or bool(names & self.allowed))
