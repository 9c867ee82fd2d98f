"""What clients are told before anything else: the policy on encryption is that of the organizer."""

from typing import Any

from tests.support import WireTest


class EncryptionPolicyTest(WireTest):
    async def policy(self, **rooms: Any) -> tuple[Any, Any, dict[str, bool]]:
        """Well-known, capability and forced presets of a server with such settings."""
        server = await self.server(rooms={"self_room": False, **rooms})
        ann = await server.person("ann")
        _, well_known = await server.call("GET", "/.well-known/matrix/client")
        _, versions = await server.call("GET", "/_matrix/client/versions")
        capabilities = (await ann.ask("GET", "/capabilities"))["capabilities"]
        prefix = "io.element.e2ee_forced."
        forced = {
            name.removeprefix(prefix): value
            for name, value in versions["unstable_features"].items()
            if name.startswith(prefix)
        }
        await server.stop()
        return well_known["io.element.e2ee"], capabilities["org.hearth.encryption"], forced

    async def test_conversations_are_encrypted_unless_the_organizer_decides_otherwise(self) -> None:
        element, capability, forced = await self.policy()
        self.assertEqual(element, {"default": True, "force_disable": False})
        kinds = ["direct", "self", "group", "family"]
        self.assertEqual(capability, {"default": kinds, "required": []})
        self.assertEqual(forced, dict.fromkeys(["public", "private", "trusted_private"], False))

    async def test_what_only_some_types_have_is_no_default(self) -> None:
        for encrypt, required, default in (
            ([], [], False),
            (["direct"], [], False),
            (["direct"], ["group"], True),
            (["direct", "group"], [], True),
        ):
            element, capability, _ = await self.policy(encrypt=encrypt, require_encryption=required)
            self.assertEqual(element, {"default": default, "force_disable": False})
            self.assertEqual(capability, {"default": encrypt, "required": required})

    async def test_what_is_required_is_forced(self) -> None:
        for required, private, trusted in (
            (["group"], True, False),
            (["direct"], False, True),
            (["direct", "group"], True, True),
            (["family"], False, False),
        ):
            _, _, forced = await self.policy(require_encryption=required)
            expected = {"public": False, "private": private, "trusted_private": trusted}
            self.assertEqual(forced, expected, required)

    async def test_clients_learn_that_there_are_dehydrated_devices(self) -> None:
        server = await self.server()
        _, well_known = await server.call("GET", "/.well-known/matrix/client")
        self.assertEqual(well_known["m.homeserver"], {"base_url": "http://127.0.0.1:8008"})
        self.assertIs(well_known["org.matrix.msc3814"], True)


class VersionsTest(WireTest):
    """What the claimed versions ask of a server, where no other test does."""

    async def test_every_version_up_to_the_newest_is_claimed(self) -> None:
        server = await self.server()
        _, answer = await server.call("GET", "/_matrix/client/versions")
        self.assertEqual(answer["versions"], [f"v1.{minor}" for minor in range(1, 20)])

    async def test_old_names_lead_to_the_same_places(self) -> None:
        server = await self.server()
        ann = await server.person("ann")
        await ann.create_room(visibility="public", preset="public_chat")
        expected = await ann.ask("GET", "/publicRooms")
        for prefix in ("r0", "api/v1"):
            path = f"/_matrix/client/{prefix}/publicRooms"
            found = await ann.ask("GET", path, has_schema=prefix == "r0")
            self.assertEqual(found, expected)
        rules = await ann.ask("GET", "/_matrix/client/unstable/pushrules/")
        self.assertEqual(rules, await ann.ask("GET", "/pushrules/"))
        path = "/_matrix/client/api/v1/joined_rooms"
        code, answer = await ann.call("GET", path, has_schema=False)
        self.assertEqual((code, answer["errcode"]), (404, "M_UNRECOGNIZED"))

    async def test_redactions_can_be_sent_like_messages_in_every_room_version(self) -> None:
        """Version 1.18, "Redactions"."""
        server = await self.server()
        ann = await server.person("ann")
        for version in ("10", "11", "12"):
            room = await ann.create_room(room_version=version)
            said = await ann.say(room, "oops")
            redaction = await ann.send(room, "m.room.redaction", {"redacts": said})
            event = await ann.ask("GET", f"/rooms/{room}/event/{said}")
            self.assertEqual(event["content"], {})
            event = await ann.ask("GET", f"/rooms/{room}/event/{redaction}")
            self.assertEqual(event["content"].get("redacts", event.get("redacts")), said)
