"""Room versions as clients meet them: what people do in rooms of each, from the first to the last.

The rules themselves are tried case by case in ``test_auth_rules`` and ``test_events_properties``.
"""

from typing import Any
from urllib.parse import quote

import orjson
from signedjson.key import get_verify_key
from signedjson.sign import verify_signed_json

from homeserver.events import event_id_of, link_to, pdu_from, redact_pdu
from homeserver.rooms.versions import VERSIONS
from storage import events
from storage.transaction import Transaction
from tests.support import Person, Server, WireTest, bodies, timeline, validator

TEXT = {"msgtype": "m.text", "body": "The ladder is back"}
LEVELS = "m.room.power_levels"


class VersionCase(WireTest):
    """Alice, Bob and Carol, and a room of any version."""

    async def setUp(self) -> None:
        self.hearth: Server = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def room(self, version: str, **wish: Any) -> str:
        wish = {"preset": "public_chat", "room_version": version, **wish}
        return await self.alice.create_room(**wish)

    async def state(self, room: str, event_type: str, who: Person | None = None) -> Any:
        return await (who or self.alice).ask("GET", f"/rooms/{room}/state/{event_type}")

    async def redact(self, who: Person, room: str, event_id: str) -> str:
        path = f"/rooms/{room}/redact/{quote(event_id, safe='')}/{who.transaction()}"
        return str((await who.ask("PUT", path, {"reason": "spam"}))["event_id"])

    async def event(self, room: str, event_id: str, who: Person | None = None) -> Any:
        path = f"/rooms/{room}/event/{quote(event_id, safe='')}"
        return await (who or self.alice).ask("GET", path)

    async def refused(self, who: Person, method: str, path: str, body: Any) -> str:
        code, answer = await who.call(method, path, body)
        self.assertGreaterEqual(code, 400, answer)
        return str(answer["errcode"])

    async def set_levels(self, room: str, **changes: Any) -> None:
        await self.alice.set_state(room, LEVELS, await self.state(room, LEVELS) | changes)

    async def check_line(self, room: str, version_id: str) -> None:
        """Each stored event has its id, and names the one before it as its version does."""

        def work(txn: Transaction) -> list[tuple[str, dict[str, Any]]]:
            line = events.forwards(txn, room, 0, 1000, 1000)
            texts = events.texts(txn, [event.event_id for event in line])
            return [(e.event_id, pdu_from(version, *texts[e.event_id], room)) for e in line]

        version = VERSIONS[version_id]
        line = await self.hearth.app.storage.store.read(work)
        links = {event_id: link_to(version, pdu) for event_id, pdu in line}
        before: list[Any] = []
        for event_id, pdu in line:
            self.assertEqual(event_id_of(version, pdu), event_id)
            self.assertEqual(pdu["prev_events"], before)
            for link in pdu["auth_events"]:
                self.assertIn(link, links.values())
            before = [links[event_id]]


class EveryVersionTest(VersionCase):
    """What works in all of them."""

    async def test_the_server_says_that_it_speaks_all_of_them(self) -> None:
        answer = await self.alice.ask("GET", "/capabilities")
        versions = answer["capabilities"]["m.room_versions"]
        stable = {str(number): "stable" for number in range(1, 13)}
        self.assertEqual(versions, {"default": "11", "available": stable})

    async def test_people_create_join_talk_redact_and_leave(self) -> None:
        for version in VERSIONS:
            room = await self.room(version, name="Street", topic="Ladders")
            create = await self.state(room, "m.room.create")
            self.assertEqual(create["room_version"], version)
            self.assertEqual(create.get("creator"), self.alice.id if int(version) < 11 else None)
            await self.bob.join(room)
            since = (await self.bob.sync())["next_batch"]
            said = await self.bob.say(room, "Rubbish")
            if version in ("1", "2"):
                self.assertRegex(said, r"^\$[A-Za-z0-9_-]{43}:localhost$")
            else:
                self.assertRegex(said, r"^\$[A-Za-z0-9+/_-]{43}$")
            if version != "3":
                self.assertNotRegex(said, "[+/]")
            self.assertEqual((await self.event(room, said))["content"]["body"], "Rubbish")
            redaction = await self.redact(self.alice, room, said)
            gone = await self.event(room, said)
            self.assertEqual(gone["content"], {})
            self.assertEqual(gone["unsigned"]["redacted_because"]["event_id"], redaction)
            seen = timeline(await self.bob.sync(since=since), room)
            self.assertEqual([each["event_id"] for each in seen], [said, redaction])
            self.assertEqual(seen[1]["redacts"], said)
            self.assertEqual(seen[1]["content"], {"redacts": said, "reason": "spam"})
            await self.bob.ask("POST", f"/rooms/{room}/leave")
            await self.check_line(room, version)

    async def test_ids_with_slashes_can_be_used_wherever_ids_go(self) -> None:
        room = await self.room("3")
        said = ""
        while "/" not in said:
            said = await self.alice.say(room, "hello")
        path = quote(said, safe="")
        await self.alice.ask("POST", f"/rooms/{room}/receipt/m.read/{path}")
        await self.alice.ask("GET", f"/rooms/{room}/context/{path}")
        relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": said}}
        answer = await self.alice.say(room, "See above", **relation)
        found = await self.alice.ask("GET", f"/_matrix/client/v1/rooms/{room}/relations/{path}")
        self.assertEqual([each["event_id"] for each in found["chunk"]], [answer])
        await self.redact(self.alice, room, said)

    async def test_a_restart_changes_nothing(self) -> None:
        rooms = {version: await self.room(version) for version in ("1", "3", "5", "9")}
        for room in rooms.values():
            await self.alice.say(room, "before")
        await self.hearth.restart()
        for version, room in rooms.items():
            await self.alice.say(room, "after")
            chunk = (await self.alice.messages(room))["chunk"]
            self.assertEqual(bodies(chunk), ["after", "before"])
            await self.check_line(room, version)


class OldestVersionsTest(VersionCase):
    """Versions 1 to 5: any number, levels in texts and floats, aliases of the server."""

    async def test_numbers_of_any_kind_come_back_as_they_were_sent(self) -> None:
        sent = b'{"a":1.5,"b":1e300,"c":-9223372036854775808,"d":18446744073709551615,"e":-0.0}'
        for version in VERSIONS:
            room = await self.room(version)
            for kind, path in (("send", "org.example.x/t1"), ("state", "org.example.x/")):
                code, answer = await self.alice.call(
                    "PUT", f"/rooms/{room}/{kind}/{path}", raw=sent
                )
                if int(version) > 5:
                    self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"))
                    continue
                shown = await self.event(room, answer["event_id"])
                self.assertEqual(repr(shown["content"]), repr(orjson.loads(sent)))
                code, again = await self.alice.call("PUT", f"/rooms/{room}/{kind}/{path}", raw=sent)
                self.assertEqual((code, again), (200, answer))
            await self.check_line(room, version)
        first = await self.room("5", initial_state=[{"type": "x", "content": {"n": 0.5}}])
        self.assertEqual(await self.state(first, "x"), {"n": 0.5})
        refusal = await self.refused(
            self.alice,
            "POST",
            "/createRoom",
            {"room_version": "6", "initial_state": [{"type": "x", "content": {"n": 0.5}}]},
        )
        self.assertEqual(refusal, "M_BAD_JSON")

    async def test_one_and_one_point_nought_and_true_are_different_states(self) -> None:
        room = await self.room("5")
        ids = [await self.alice.set_state(room, "x", {"n": n}) for n in (1, 1.0, True, True)]
        self.assertEqual(len(set(ids)), 3)
        self.assertEqual(ids[2], ids[3])

    async def test_levels_are_texts_until_version_9_and_floats_until_version_5(self) -> None:
        for version in VERSIONS:
            number = int(version)
            room = await self.room(version)
            await self.bob.join(room)
            name = f"/rooms/{room}/state/m.room.name/"
            own = {} if version == "12" else {self.alice.id: 100}
            for level, known in ((" +0050 ", number < 10), (50.57, number < 6)):
                levels = await self.state(room, LEVELS)
                changed = {**levels, "users": {**own, self.bob.id: level}, "ban": "60"}
                code, answer = await self.alice.call(
                    "PUT", f"/rooms/{room}/state/{LEVELS}/", changed
                )
                if not known:
                    errcode = "M_FORBIDDEN" if isinstance(level, str) else "M_BAD_JSON"
                    self.assertEqual(answer["errcode"], errcode, version)
                    continue
                self.assertEqual(code, 200, answer)
                self.assertEqual(await self.state(room, LEVELS), changed)
                await self.bob.ask("PUT", name, {"name": str(level)})
                refusal = await self.refused(
                    self.bob, "POST", f"/rooms/{room}/ban", {"user_id": self.carol.id}
                )
                self.assertEqual(refusal, "M_FORBIDDEN")

    async def test_notifications_are_guarded_since_version_6(self) -> None:
        for version in ("5", "6"):
            room = await self.room(version)
            await self.bob.join(room)
            await self.set_levels(
                room, users={self.alice.id: 100, self.bob.id: 50}, events={LEVELS: 50}
            )
            levels = await self.state(room, LEVELS) | {"notifications": {"room": 51}}
            code, _ = await self.bob.call("PUT", f"/rooms/{room}/state/{LEVELS}/", levels)
            self.assertEqual(code, 200 if version == "5" else 403)

    async def test_members_list_aliases_for_their_server_until_version_5(self) -> None:
        for version, allowed in (("1", True), ("5", True), ("6", False)):
            room = await self.room(version)
            content = {"aliases": ["#street:localhost"]}
            path = f"/rooms/{room}/state/m.room.aliases"
            self.assertEqual(
                await self.refused(self.bob, "PUT", f"{path}/localhost", content), "M_FORBIDDEN"
            )
            await self.bob.join(room)
            code, _ = await self.bob.call("PUT", f"{path}/localhost", content)
            self.assertEqual(code, 200 if allowed else 403)
            code, _ = await self.alice.call("PUT", f"{path}/elsewhere", content)
            self.assertEqual(code, 403 if allowed else 200)
            if allowed:
                kept = await self.alice.ask("GET", f"{path}/localhost")
                event_id = await self.bob.set_state(
                    room, "m.room.aliases", {**content, "x": 1}, "localhost"
                )
                await self.redact(self.bob, room, event_id)
                self.assertEqual(await self.alice.ask("GET", f"{path}/localhost"), kept)
        secret = await self.alice.create_room(
            room_version="5", is_direct=True, invite=[self.bob.id], preset="private_chat"
        )
        path = f"/rooms/{secret}/state/m.room.aliases/localhost"
        self.assertEqual(await self.refused(self.alice, "PUT", path, content), "M_FORBIDDEN")


class JoinRulesTest(VersionCase):
    """Knocking, restricted rooms, and both."""

    async def test_each_join_rule_works_since_its_version(self) -> None:
        space = await self.alice.create_room(preset="public_chat")
        await self.bob.join(space)
        allow = [{"type": "m.room_membership", "room_id": space}]
        for version in VERSIONS:
            number = int(version)
            room = await self.room(version)
            for rule, knocks, admits in (
                ("knock", number >= 7, False),
                ("restricted", False, number >= 8),
                ("knock_restricted", number >= 10, number >= 10),
            ):
                await self.alice.set_state(
                    room, "m.room.join_rules", {"join_rule": rule, "allow": allow}
                )
                code, _ = await self.carol.call("POST", f"/knock/{room}")
                self.assertEqual(code, 200 if knocks else 403, (version, rule))
                if knocks:
                    await self.carol.ask("POST", f"/rooms/{room}/leave")
                code, _ = await self.bob.call("POST", f"/join/{room}")
                self.assertEqual(code, 200 if admits else 403, (version, rule))
                if admits:
                    member = await self.state(room, f"m.room.member/{self.bob.id}", self.bob)
                    self.assertEqual(member["join_authorised_via_users_server"], self.alice.id)
                    await self.bob.ask("POST", f"/rooms/{room}/leave")

    async def test_a_redacted_join_keeps_who_vouched_for_it_since_version_9(self) -> None:
        space = await self.alice.create_room(preset="public_chat")
        await self.bob.join(space)
        allow = [{"type": "m.room_membership", "room_id": space}]
        rules = {"join_rule": "restricted", "allow": allow}
        for version in ("8", "9"):
            room = await self.room(version)
            event_id = await self.alice.set_state(room, "m.room.join_rules", {**rules, "x": 1})
            await self.redact(self.alice, room, event_id)
            self.assertEqual(await self.state(room, "m.room.join_rules"), rules)
            await self.bob.join(room)
            member = (await self.bob.messages(room, limit=1))["chunk"][0]
            await self.redact(self.bob, room, member["event_id"])
            left = await self.state(room, f"m.room.member/{self.bob.id}", self.bob)
            kept = {"join_authorised_via_users_server": self.alice.id} if version == "9" else {}
            self.assertEqual(left, {"membership": "join", **kept})
            await self.bob.say(room, "Still here")


class UpgradeTest(VersionCase):
    """From the oldest version to the newest."""

    async def upgrade(self, who: Person, room: str, version: str) -> str:
        answer = await who.ask("POST", f"/rooms/{room}/upgrade", {"new_version": version})
        return str(answer["replacement_room"])

    async def test_from_1_to_11_to_12_levels_become_integers(self) -> None:
        room = await self.room("1", creation_content={"org.example.n": 7.5})
        await self.bob.join(room)
        await self.alice.set_state(room, "m.room.avatar", {"url": "mxc://a/b", "info": {"w": 9.7}})
        await self.set_levels(
            room,
            users={self.alice.id: "100", self.bob.id: " 050 "},
            users_default=1.9,
            events={"m.room.name": "60", "m.room.topic": -(2**60), "odd": [], LEVELS: "100"},
            kick={},
            notifications=5,
            ban="051",
        )
        new = await self.upgrade(self.alice, room, "11")
        levels = await self.state(new, LEVELS)
        self.assertEqual(levels["users"], {self.alice.id: 100, self.bob.id: 50})
        self.assertEqual(
            levels["events"], {"m.room.name": 60, "m.room.topic": 1 - 2**53, LEVELS: 100}
        )
        self.assertEqual((levels["users_default"], levels["ban"]), (1, 51))
        self.assertEqual((levels.get("kick"), levels["notifications"]), (None, {}))
        avatar = await self.state(new, "m.room.avatar")
        self.assertEqual(avatar, {"url": "mxc://a/b", "info": {"w": 9}})
        self.assertEqual((await self.state(new, "m.room.create"))["org.example.n"], 7)
        closed = await self.state(room, LEVELS)
        self.assertEqual((closed["events_default"], closed["invite"]), (50, 50))
        self.assertEqual(closed["users"], {self.alice.id: "100", self.bob.id: " 050 "})
        last = await self.upgrade(self.alice, new, "12")
        levels = await self.state(last, LEVELS)
        self.assertEqual(levels["users"], {self.bob.id: 50})
        await self.bob.join(last)
        await self.bob.say(last, "All here")
        for each, version in ((room, "1"), (new, "11"), (last, "12")):
            await self.check_line(each, version)

    async def test_every_version_can_be_replaced_by_every_other(self) -> None:
        room = await self.room("12", topic="Ladders")
        for version in (*VERSIONS, *reversed(VERSIONS)):
            old, room = room, await self.upgrade(self.alice, room, version)
            create = await self.state(room, "m.room.create")
            self.assertEqual(create["room_version"], version)
            self.assertEqual(create["predecessor"]["room_id"], old)
            self.assertEqual((await self.state(room, "m.room.topic"))["topic"], "Ladders")
            await self.alice.say(room, "Here we are")

    async def test_a_join_rule_that_the_new_version_does_not_know_becomes_an_invite(self) -> None:
        for rule, version, expected in (
            ("knock", "6", "invite"),
            ("knock", "7", "knock"),
            ("restricted", "7", "invite"),
            ("knock_restricted", "9", "invite"),
            ("public", "1", "public"),
        ):
            room = await self.room("11")
            await self.alice.set_state(room, "m.room.join_rules", {"join_rule": rule})
            new = await self.upgrade(self.alice, room, version)
            rules = await self.state(new, "m.room.join_rules")
            self.assertEqual(rules, {"join_rule": expected})


class FederationFormatTest(VersionCase):
    """A filter can ask for events as servers would exchange them."""

    async def test_events_come_whole_and_can_be_verified(self) -> None:
        key = get_verify_key(self.hearth.app.rooms.journal.signer.key)
        for version_id, version in VERSIONS.items():
            room = await self.room(version_id, creation_content={"n": 1})
            ids = [await self.alice.say(room, "One"), await self.alice.say(room, "Two")]
            ids.append(await self.redact(self.alice, room, ids[0]))
            section = await self.section(room)
            pdus = section["timeline"]["events"]
            schemas = validator()
            for pdu in (*pdus, *section["state"]["events"]):
                problems = schemas.check_pdu(version_id, pdu) if schemas is not None else []
                self.assertEqual(problems, [])
            for pdu, event_id in zip(pdus, ids, strict=True):
                self.assertEqual("event_id" in pdu, version_id in ("1", "2"))
                self.assertEqual(pdu["room_id"], room)
                self.assertEqual(pdu["unsigned"]["membership"], "join")
                self.assertEqual(event_id_of(version, pdu), event_id)
                verify_signed_json(redact_pdu(version, pdu), "localhost", key)
            self.assertEqual(pdus[1]["prev_events"], [link_to(version, pdus[0])])
            self.assertEqual((pdus[0]["content"], pdus[1]["content"]["body"]), ({}, "Two"))
            self.assertEqual(pdus[0]["unsigned"]["redacted_because"]["event_id"], ids[2])
            self.assertEqual("redacts" in pdus[2], int(version_id) < 11)
            self.assertEqual("redacts" in pdus[2]["content"], int(version_id) >= 11)
            create = section["state"]["events"][0]
            self.assertEqual("room_id" in create, version_id != "12")
            self.assertEqual(create["auth_events"], [])
            self.assertTrue({"hashes", "depth", "signatures"} <= create.keys())

    async def section(self, room: str) -> Any:
        wanted = {"event_format": "federation", "room": {"timeline": {"limit": 3}}}
        filter_ = await self.alice.ask("POST", f"/user/{self.alice.id}/filter", wanted)
        section = await self.shown(room, filter_["filter_id"])
        await self.hearth.restart()
        again = await self.shown(room, orjson.dumps(wanted).decode())
        for each in (section, again):
            for event in (*each["timeline"]["events"], *each["state"]["events"]):
                event["unsigned"].pop("age")
        self.assertEqual(section, again)
        return section

    async def shown(self, room: str, filter_: str) -> Any:
        query = {"filter": filter_, "timeout": 0}
        answer = await self.alice.ask("GET", "/sync", query=query, has_schema=False)
        return answer["rooms"]["join"][room]
