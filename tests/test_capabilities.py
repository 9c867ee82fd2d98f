"""What clients ask first: which versions, what the server can do, where it is."""

import re
from typing import Any

from homeserver.rooms.versions import VERSIONS
from tests.support import WireTest

JAVA_NAME = re.compile(r"[a-z0-9_-]+(\.[A-Za-z0-9_-]+){2,}")


class FirstQuestionsTest(WireTest):
    """Client-server API, "API Versions", "Capabilities negotiation", "Well-known URIs"."""

    async def test_the_versions_are_those_of_the_specification(self) -> None:
        server = await self.server()
        _, answer = await server.call("GET", "/_matrix/client/versions")
        for version in answer["versions"]:
            self.assertRegex(version, r"^(v\d+\.\d+|r\d+\.\d+\.\d+)$")
        self.assertIn("v1.11", answer["versions"])
        for feature in answer["unstable_features"]:
            self.assertRegex(feature, JAVA_NAME)
        anna = await server.person("anna")
        known = await anna.ask("GET", "/_matrix/client/versions")
        self.assertLessEqual(
            answer["unstable_features"].items(), known["unstable_features"].items()
        )

    async def test_names_of_our_own_say_whose_they_are(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        _, well_known = await server.call("GET", "/.well-known/matrix/client")
        for name in well_known.keys() - {"m.homeserver"}:
            self.assertRegex(name, JAVA_NAME)
        for name in await self.capabilities(anna):
            self.assertTrue(name.startswith("m.") or JAVA_NAME.fullmatch(name), name)

    async def test_capabilities_are_true(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        found = await self.capabilities(anna)
        self.assertEqual(found["m.change_password"], {"enabled": True})
        path = f"/profile/{anna.id}"
        self.assertEqual(found["m.profile_fields"], {"enabled": True})
        for key, value in (("displayname", "Anna"), ("m.tz", "Europe/Vienna"), ("org.x", {})):
            await anna.ask("PUT", f"{path}/{key}", {key: value})
        self.assertEqual(found["m.3pid_changes"], {"enabled": False})
        code, _ = await anna.call("POST", "/account/3pid/add", {"client_secret": "x", "sid": "x"})
        self.assertEqual(code, 403)
        self.assertEqual(found["m.forget_forced_upon_leave"], {"enabled": False})
        room = await anna.create_room()
        await anna.ask("POST", f"/rooms/{room}/leave")
        everything = await anna.sync(filter={"room": {"include_leave": True}})
        self.assertIn(room, everything["rooms"]["leave"])

    async def test_every_room_version_that_is_listed_can_be_had(self) -> None:
        for default in ("10", "12"):
            server = await self.server(rooms={"default_version": default, "self_room": False})
            anna = await server.person("anna")
            versions = (await self.capabilities(anna))["m.room_versions"]
            self.assertEqual(versions["default"], default)
            self.assertEqual(versions["available"], dict.fromkeys(VERSIONS, "stable"))
            for wish, version in (({}, default), *(({"room_version": v}, v) for v in VERSIONS)):
                room = await anna.create_room(**wish)
                create = await anna.ask("GET", f"/rooms/{room}/state/m.room.create")
                self.assertEqual(create["room_version"], version)
            await server.stop()

    async def capabilities(self, who: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await who.ask("GET", "/capabilities"))["capabilities"]
        return found
