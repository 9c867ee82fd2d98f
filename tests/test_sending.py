"""Sending state and redactions (client-server API, "Sending events to a room", "Redactions")."""

from typing import Any
from urllib.parse import quote

import treq

from homeserver.rooms.versions import VERSIONS
from tests.support import Person, WireTest, bodies


class SendingCase(WireTest):
    """Alice's rooms, which Bob is in."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def room(self, **wish: Any) -> str:
        room = await self.alice.create_room(preset="public_chat", **wish)
        await self.bob.join(room)
        return room

    async def content(self, who: Person, room: str, event_id: str) -> Any:
        event = await who.ask("GET", f"/rooms/{room}/event/{quote(event_id, safe='')}")
        return event["content"]


class MessagesTest(SendingCase):
    async def test_a_message_has_a_kind_and_a_text(self) -> None:
        """Client-server API, "Instant Messaging": without them it is refused."""
        room = await self.room()
        before = await self.bob.sync()
        for content in (
            {},
            {"body": "x"},
            {"msgtype": "m.text"},
            {"msgtype": "m.text", "body": None},
            {"msgtype": "m.text", "body": ["x"]},
            {"msgtype": 5, "body": "x"},
        ):
            path = f"/rooms/{room}/send/m.room.message/{self.alice.transaction()}"
            code, answer = await self.alice.call("PUT", path, content)
            self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"), content)
        self.assertNotIn("rooms", await self.bob.sync(before["next_batch"]))
        for event_type, content in (
            ("m.room.message", {"msgtype": "org.example.own", "body": ""}),
            ("m.room.encrypted", {"ciphertext": "x"}),
            ("m.sticker", {"url": "mxc://localhost/x"}),
        ):
            await self.alice.send(room, event_type, content)
        sent = [event["type"] for event in (await self.bob.messages(room, limit=3))["chunk"]]
        self.assertEqual(sent, ["m.sticker", "m.room.encrypted", "m.room.message"])


class StateTest(SendingCase):
    async def test_state_is_put_and_not_posted_and_has_no_transaction_id(self) -> None:
        room = await self.room()
        for method, path in (("POST", "org.x"), ("POST", "org.x/"), ("POST", "org.x/key")):
            url = f"{self.hearth.base}/_matrix/client/v3/rooms/{room}/state/{path}"
            sent = {"Authorization": f"Bearer {self.alice.token}"}
            response = await treq.request(method, url, headers=sent, json={}, persistent=False)
            answer = await response.json()
            self.assertEqual((response.code, answer["errcode"]), (405, "M_UNRECOGNIZED"))
        path = f"/rooms/{room}/state/org.x"
        for end, value in (("", 1), ("/", 2)):
            await self.alice.ask("PUT", path + end, {"value": value})
            for other in ("", "/"):
                self.assertEqual(await self.bob.ask("GET", path + other), {"value": value})

    async def test_a_room_is_created_once(self) -> None:
        room = await self.room()
        for who in (self.alice, self.bob):
            for key in ("", "other"):
                path = f"/rooms/{room}/state/m.room.create/{key}"
                code, answer = await who.call("PUT", path, {"room_version": "11"})
                self.assertIn(code, (400, 403))
                self.assertTrue(answer["errcode"])
        create = await self.alice.ask("GET", f"/rooms/{room}/state/m.room.create?format=event")
        page = await self.alice.messages(room, dir="f", limit=1)
        self.assertEqual(page["chunk"][0]["event_id"], create["event_id"])

    async def test_the_aliases_that_a_room_names_point_to_it(self) -> None:
        room, other = await self.room(), await self.room()
        for name, target in (("one", room), ("two", room), ("other", other)):
            path = f"/directory/room/%23{name}:localhost"
            await self.alice.ask("PUT", path, {"room_id": target})
        path = f"/rooms/{room}/state/m.room.canonical_alias"
        one, two, foreign = (f"#{name}:localhost" for name in ("one", "two", "other"))
        for content, errcode in (
            ({"alias": "no alias"}, "M_INVALID_PARAM"),
            ({"alias": "#:localhost"}, "M_INVALID_PARAM"),
            ({"alt_aliases": ["#noserver"]}, "M_INVALID_PARAM"),
            ({"alias": foreign}, "M_BAD_ALIAS"),
            ({"alias": one, "alt_aliases": [foreign]}, "M_BAD_ALIAS"),
            ({"alias": "#nowhere:localhost"}, "M_BAD_ALIAS"),
        ):
            code, answer = await self.alice.call("PUT", path, content)
            self.assertEqual((code, answer["errcode"]), (400, errcode), content)
        await self.alice.ask("PUT", path, {"alias": one, "alt_aliases": [two]})
        # What is there already is not looked at again, nor what goes.
        store = self.hearth.app.storage.store
        await store.write(lambda txn: txn.run("DELETE FROM aliases WHERE alias = ?", one))
        await self.alice.ask("PUT", path, {"alias": one, "alt_aliases": []})
        code, answer = await self.alice.call("PUT", path, {"alias": one, "alt_aliases": [foreign]})
        self.assertEqual(answer["errcode"], "M_BAD_ALIAS")
        await self.alice.ask("PUT", path, {})


class RedactionsTest(SendingCase):
    async def test_who_may_redact_need_not_be_able_to_send_what_they_redact(self) -> None:
        for version in VERSIONS:
            room = await self.room(
                room_version=version,
                power_level_content_override={"events": {"org.x": 90}, "redact": 0},
            )
            sent = await self.alice.send(room, "org.x", {"a": 1})
            code, _ = await self.bob.call("PUT", f"/rooms/{room}/send/org.x/1", {})
            self.assertEqual(code, 403)
            await self.bob.ask("PUT", f"/rooms/{room}/redact/{quote(sent, safe='')}/1")
            self.assertEqual(await self.content(self.alice, room, sent), {})

    async def test_a_redacted_membership_still_counts(self) -> None:
        for version in VERSIONS:
            room = await self.room(room_version=version)
            key = f"m.room.member/{self.bob.id}"
            path = f"/rooms/{room}/state/{key}?format=event"
            joined = (await self.alice.ask("GET", path))["event_id"]
            await self.bob.ask("PUT", f"/profile/{self.bob.id}/displayname", {"displayname": "B"})
            renamed = (await self.alice.ask("GET", path))["event_id"]
            for event_id in (joined, renamed):
                path = f"/rooms/{room}/redact/{quote(event_id, safe='')}"
                await self.alice.ask("PUT", f"{path}/{self.alice.transaction()}")
            content = await self.content(self.alice, room, renamed)
            self.assertEqual(content, {"membership": "join"})
            await self.bob.say(room, "still here")
            page = await self.alice.messages(room)
            self.assertEqual(bodies(page["chunk"]), ["still here"])
            await self.bob.ask("DELETE", f"/profile/{self.bob.id}/displayname")
