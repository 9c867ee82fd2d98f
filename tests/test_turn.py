"""Credentials for the relay of calls (client-server API, "Voice over IP")."""

import hmac
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import TestCase
from unittest.mock import patch

import homeserver.assembly.turn
from homeserver.settings import ConfigError
from homeserver.turn import Turn
from tests.support import WireTest
from tests.test_accounts import Later

TURN_SERVER = "/voip/turnServer"
VARIABLE = "HEARTH_TEST_TURN_SECRET"
SECRET = "north"
URIS = ["turn:turn.elm.example:3478?transport=udp", "turns:turn.elm.example"]


class CredentialsTest(TestCase):
    def test_they_are_those_that_a_relay_works_out_itself(self) -> None:
        # Worked out by: printf %s 1443779631:@user:example.com | openssl dgst -sha1 -hmac north
        digest = "95a98de10c1b6af044129fe4adbdf24799a0b048"
        turn = Turn(URIS, SECRET, 86_400, lambda: (1_443_779_631 - 86_400) * 1000 + 999)
        given = turn.credentials("@user:example.com")
        self.assertEqual(given.username, "1443779631:@user:example.com")
        self.assertEqual(given.password, b64encode(bytes.fromhex(digest)).decode())
        self.assertNotIn(SECRET, repr(turn))


class TurnTest(WireTest):
    def in_environment(self, secret: str) -> None:
        variable = patch.dict(os.environ, {VARIABLE: secret})
        variable.start()
        self.addCleanup(variable.stop)

    def assert_fits(self, given: Mapping[str, Any], secret: str, user_id: str, until: int) -> None:
        """As a relay checks them, which knows the secret and nobody's name."""
        proof = hmac.digest(secret.encode(), given["username"].encode(), "sha1")
        self.assertEqual(given["password"], b64encode(proof).decode())
        expires, _, whose = given["username"].partition(":")
        self.assertEqual(whose, user_id)
        self.assertAlmostEqual(int(expires), until, delta=60)

    async def test_everybody_gets_credentials_of_their_own_that_end(self) -> None:
        self.in_environment(SECRET)
        later = Later()
        self.patch(homeserver.assembly.turn, "system_clock", later)
        turn = {"uris": URIS, "secret_variable": VARIABLE, "lifetime_seconds": 3600}
        hearth = await self.server(turn=turn)
        for person in await hearth.people("anna", "ben"):
            later.ahead += 600_000
            given = await person.ask("GET", TURN_SERVER)
            self.assertEqual((given["uris"], given["ttl"]), (URIS, 3600))
            self.assert_fits(given, SECRET, person.id, later() // 1000 + 3600)

    async def test_the_secret_may_stand_in_a_file(self) -> None:
        file = Path(self.mktemp()).absolute()
        file.write_text("another secret\n")
        hearth = await self.server(turn={"uris": URIS, "secret_file": str(file)})
        anna = await hearth.person("anna")
        given = await anna.ask("GET", TURN_SERVER)
        self.assertEqual(given["ttl"], 86_400)
        self.assert_fits(given, "another secret", anna.id, Later()() // 1000 + 86_400)
        file.write_text(" \n")
        with self.assertRaises(ConfigError) as caught:
            await hearth.restart()
        self.assertIn("turn.secret_file", str(caught.exception))
        file.unlink()
        file.mkdir()
        with self.assertRaises(ConfigError) as caught:
            await hearth.restart(turn={"uris": URIS, "secret_variable": VARIABLE})
        self.assertIn("turn.secret_variable", str(caught.exception))

    async def test_they_are_for_people_with_an_account(self) -> None:
        self.in_environment(SECRET)
        hearth = await self.server(
            turn={"uris": URIS, "secret_variable": VARIABLE},
            registration={"mode": "open", "guests": True},
        )
        code, answer = await hearth.call("GET", TURN_SERVER)
        self.assertEqual((code, answer["errcode"]), (401, "M_MISSING_TOKEN"))
        _, guest = await hearth.call("POST", "/register", {}, query={"kind": "guest"})
        code, answer = await hearth.call("GET", TURN_SERVER, token=guest["access_token"])
        self.assertEqual((code, answer["errcode"]), (403, "M_GUEST_ACCESS_FORBIDDEN"))
