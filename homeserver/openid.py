"""OpenID tokens: how a service that a person uses can ask this server who they are."""

from collections import OrderedDict

from homeserver.clock import Clock, TokenSource
from schema.errors import UnknownToken

LIFE_MS = 3_600_000
MAX_TOKENS = 10_000


class OpenId:
    """Client-server API, "OpenID". Tokens live for an hour, in memory."""

    def __init__(self, clock: Clock, random_token: TokenSource) -> None:
        self._clock = clock
        self._random_token = random_token
        self._tokens: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def issue(self, user_id: str) -> tuple[str, int]:
        """A token that proves who ``user_id`` is, and how many seconds it lives."""
        token = self._random_token()
        self._tokens[token] = (user_id, self._clock() + LIFE_MS)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        return token, LIFE_MS // 1000

    def owner(self, token: str) -> str:
        """Whose token it is.

        Raises:
            UnknownToken: nobody's, or not any more.
        """
        user_id, until = self._tokens.get(token, ("", 0))
        if self._clock() >= until:
            raise UnknownToken("This OpenID token is unknown or has expired")
        return user_id
