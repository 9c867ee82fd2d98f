"""OpenID tokens prove who somebody is, for an hour."""

from unittest import TestCase

from homeserver import openid
from homeserver.openid import LIFE_MS, OpenId
from schema.errors import UnknownToken


class OpenIdTest(TestCase):
    """Client-server API, "OpenID"."""

    def setUp(self) -> None:
        self.now, self.made = 1_000, 0
        self.openid = OpenId(lambda: self.now, self.token)

    def token(self) -> str:
        self.made += 1
        return f"t{self.made}"

    def test_a_token_lives_as_long_as_it_says(self) -> None:
        token, seconds = self.openid.issue("@alice:localhost")
        self.assertEqual(seconds * 1000, LIFE_MS)
        self.now += LIFE_MS - 1
        self.assertEqual(self.openid.owner(token), "@alice:localhost")
        self.now += 1
        for gone in (token, "t2", ""):
            with self.assertRaises(UnknownToken):
                self.openid.owner(gone)

    def test_their_number_is_bounded(self) -> None:
        tokens = [self.openid.issue(f"@{n}:x")[0] for n in range(openid.MAX_TOKENS + 1)]
        self.assertEqual(len(self.openid), openid.MAX_TOKENS)
        self.assertEqual(self.openid.owner(tokens[-1]), f"@{openid.MAX_TOKENS}:x")
        with self.assertRaises(UnknownToken):
            self.openid.owner(tokens[0])
