"""Going out for a page or a picture: each step is checked, and all of them share one time limit."""

from email.message import Message

from attrs import frozen
from hyperlink import EncodedURL
from twisted.internet.interfaces import IReactorTime

from federation_disabled.egress import Egress, EgressFailed, EgressRefused
from homeserver.previews.hosts import Hosts, NotAWebAddress, web_address

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5


class NothingThere(Exception):
    """No usable answer, for whatever reason: who asked is not told which addresses exist."""


@frozen
class Found:
    """What an address led to."""

    url: EncodedURL
    content_type: str
    charset: str | None
    body: bytes


@frozen
class Fetcher:
    """Fetches what is on the web."""

    reactor: IReactorTime
    egress: Egress
    hosts: Hosts
    limit: int
    """The most bytes of one answer."""

    async def fetch(self, url: EncodedURL, deadline: float, accept: str) -> Found:
        """What is at ``url``, after redirects.

        Each address on the way must be one that the configuration permits, and the guard checks
        what each of them resolves to. All is over at ``deadline``, a time of the reactor.

        Raises:
            NothingThere: an address is refused, or there was no answer of this size in time.
        """
        for _ in range(MOST_REDIRECTS + 1):
            left = deadline - self.reactor.seconds()
            if left <= 0 or not self.hosts.permit(url):
                break
            try:
                answer = await self.egress.get(
                    url.to_text(), limit=self.limit, timeout=left, headers={"Accept": accept}
                )
            except (EgressRefused, EgressFailed) as error:
                raise NothingThere from error
            if answer.status == 200:
                essence, charset = _content_type(answer.headers.get("content-type", ""))
                return Found(url, essence, charset, answer.body)
            if answer.status not in REDIRECTS:
                break
            try:
                url = web_address(answer.headers.get("location", ""), url)
            except NotAWebAddress as error:
                raise NothingThere from error
        raise NothingThere


def _content_type(header: str) -> tuple[str, str | None]:
    message = Message()
    message["Content-Type"] = header[:200].replace("\r", "").replace("\n", "")
    return message.get_content_type(), message.get_content_charset()
