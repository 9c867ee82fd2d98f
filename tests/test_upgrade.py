"""Room upgrades: what moves to the new room, what stays, and who may do it."""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from homeserver.rooms.upgrade import Upgrade
from schema.errors import Forbidden
from tests.support import Person, WireTest, timeline

MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2"}


class UpgradeCase(WireTest):
    """People who upgrade rooms."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def upgrade(self, who: Person, room: str, version: str = "11", **more: Any) -> str:
        body = {"new_version": version, **more}
        return str((await who.ask("POST", f"/rooms/{room}/upgrade", body))["replacement_room"])

    async def refused(self, who: Person, room: str, body: Any) -> tuple[int, str]:
        code, answer = await who.call("POST", f"/rooms/{room}/upgrade", body)
        self.assertTrue(answer["error"])
        return code, answer["errcode"]

    async def state(self, room: str, event_type: str, who: Person | None = None) -> Any:
        code, answer = await (who or self.alice).call("GET", f"/rooms/{room}/state/{event_type}")
        return answer if code == 200 else None

    async def members(self, room: str) -> dict[str, str]:
        answer = await self.alice.ask("GET", f"/rooms/{room}/members")
        return {each["state_key"]: each["content"]["membership"] for each in answer["chunk"]}


class RoomTest(UpgradeCase):
    """An ordinary room."""

    async def test_both_rooms_name_each_other_from_version_to_version(self) -> None:
        room = await self.alice.create_room(
            room_version="10", creation_content={"m.federate": False}
        )
        for version in ("11", "12", "12", "11", "10"):
            old = room
            before = await self.alice.sync()
            room = await self.upgrade(self.alice, old, version)
            create = await self.state(room, "m.room.create")
            self.assertEqual(create["predecessor"]["room_id"], old)
            self.assertEqual((create["room_version"], create["m.federate"]), (version, False))
            self.assertEqual(create["org.hearth.room_type"], "group")
            self.assertEqual("creator" in create, version == "10")
            tombstone = await self.state(old, "m.room.tombstone")
            self.assertEqual(tombstone["replacement_room"], room)
            seen = await self.alice.sync(since=before["next_batch"])
            first = timeline(seen, old)[0]
            self.assertEqual(first["type"], "m.room.tombstone")
            if version != "12":
                self.assertEqual(create["predecessor"]["event_id"], first["event_id"])
            self.assertIn(room, seen["rooms"]["join"])
            await self.alice.set_state(room, "m.room.topic", {"topic": f"Now {version}"})

    async def test_the_state_moves_even_where_the_person_could_not_set_it(self) -> None:
        room = await self.alice.create_room(
            name="Our street", topic="What happens here", initial_state=[]
        )
        state = {
            "m.room.name": {"name": "Our street"},
            "m.room.topic": await self.state(room, "m.room.topic"),
            "m.room.join_rules": {"join_rule": "public"},
            "m.room.guest_access": {"guest_access": "forbidden"},
            "m.room.history_visibility": {"history_visibility": "joined"},
            "m.room.avatar": {"url": "mxc://localhost/a", "info": {"w": 5}},
            "m.room.encryption": {**MEGOLM, "rotation_period_ms": 1000},
            "m.room.server_acl": {"allow": ["*"], "deny": ["evil.example"]},
        }
        for event_type, content in state.items():
            await self.alice.set_state(room, event_type, content)
        await self.alice.set_state(room, "org.example.widget", {"who": "sent it matters"})
        await self.alice.set_state(room, "m.room.pinned_events", {"pinned": ["$old"]})
        levels = await self.state(room, "m.room.power_levels")
        levels["events"] = dict.fromkeys(state, 80) | {"m.room.tombstone": 50}
        levels["users"] = {self.alice.id: 100, self.bob.id: 50}
        await self.alice.set_state(room, "m.room.power_levels", levels)
        await self.bob.join(room)
        new = await self.upgrade(self.bob, room)
        for event_type, content in state.items():
            self.assertEqual(await self.state(new, event_type, self.bob), content)
        self.assertEqual(await self.state(new, "m.room.power_levels", self.bob), levels)
        for event_type in ("org.example.widget", "m.room.pinned_events", "m.room.tombstone"):
            self.assertIsNone(await self.state(new, event_type, self.bob))
        code, _ = await self.bob.call("PUT", f"/rooms/{new}/state/m.room.name", {"name": "Mine"})
        self.assertEqual(code, 403)
        await self.alice.join(new)
        await self.alice.set_state(new, "m.room.name", {"name": "Hers"})

    async def test_bans_move_and_members_do_not(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        ban = {"user_id": self.carol.id, "reason": "shouting"}
        await self.alice.ask("POST", f"/rooms/{room}/ban", ban)
        new = await self.upgrade(self.alice, room)
        self.assertEqual(await self.members(new), {self.alice.id: "join", self.carol.id: "ban"})
        carol = await self.state(new, f"m.room.member/{self.carol.id}")
        self.assertEqual(carol, {"membership": "ban", "reason": "shouting"})
        code, _ = await self.carol.call("POST", f"/join/{new}")
        self.assertEqual(code, 403)
        await self.bob.join(new)

    async def test_aliases_and_the_place_in_the_directory_move(self) -> None:
        room = await self.alice.create_room(
            preset="public_chat", visibility="public", room_alias_name="street"
        )
        await self.alice.ask("PUT", "/directory/room/%23road:localhost", {"room_id": room})
        new = await self.upgrade(self.alice, room)
        for alias in ("street", "road"):
            found = await self.bob.ask("GET", f"/directory/room/%23{alias}:localhost")
            self.assertEqual(found["room_id"], new)
        self.assertEqual(await self.state(room, "m.room.canonical_alias"), {})
        named = await self.state(new, "m.room.canonical_alias")
        self.assertEqual(named, {"alias": "#street:localhost"})
        listed = await self.bob.ask("GET", "/publicRooms")
        self.assertEqual([each["room_id"] for each in listed["chunk"]], [new])

    async def test_nobody_goes_on_in_the_old_room(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        await self.upgrade(self.alice, room)
        code, _ = await self.bob.call(
            "PUT", f"/rooms/{room}/send/m.room.message/1", {"msgtype": "m.text", "body": "hello?"}
        )
        self.assertEqual(code, 403)
        room = await self.alice.create_room(
            power_level_content_override={"users_default": 80, "events_default": 90}
        )
        await self.upgrade(self.alice, room)
        levels = await self.state(room, "m.room.power_levels")
        self.assertEqual((levels["events_default"], levels["invite"]), (90, 81))

    async def test_creators_of_version_12_are_named_anew(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        levels = await self.state(room, "m.room.power_levels")
        levels["users"] = {self.alice.id: 100, self.bob.id: 100, self.carol.id: 50}
        levels["events"]["m.room.tombstone"] = 50
        await self.alice.set_state(room, "m.room.power_levels", levels)
        new = await self.upgrade(
            self.alice, room, "12", additional_creators=[self.bob.id, self.alice.id, self.bob.id]
        )
        create = await self.state(new, "m.room.create")
        self.assertEqual(create["additional_creators"], [self.bob.id])
        now = await self.state(new, "m.room.power_levels")
        self.assertEqual(now["users"], {self.carol.id: 50})
        self.assertGreater(now["events"]["m.room.tombstone"], now["state_default"])
        await self.bob.join(new)
        last = await self.upgrade(self.bob, new, "12")
        create = await self.state(last, "m.room.create", self.bob)
        self.assertNotIn("additional_creators", create)
        now = await self.state(last, "m.room.power_levels", self.bob)
        self.assertEqual(now["users"], {self.alice.id: 150, self.carol.id: 50})
        await self.alice.join(last)
        back = await self.upgrade(self.bob, last, "11", additional_creators=["not an id"])
        now = await self.state(back, "m.room.power_levels", self.bob)
        users = {self.alice.id: 150, self.bob.id: 150, self.carol.id: 50}
        self.assertEqual(now["users"], users)

    async def test_an_encrypted_room_stays_encrypted_whatever_was_redacted(self) -> None:
        room = await self.alice.create_room()
        event_id = await self.alice.set_state(room, "m.room.encryption", {**MEGOLM, "x": "y"})
        await self.alice.ask("PUT", f"/rooms/{room}/redact/{event_id}/1", {})
        self.assertEqual(await self.state(room, "m.room.encryption"), {})
        new = await self.upgrade(self.alice, room)
        self.assertEqual(await self.state(new, "m.room.encryption"), MEGOLM)

    async def test_whoever_asks_again_gets_the_same_room(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        levels = await self.state(room, "m.room.power_levels")
        levels["users"][self.bob.id] = 100
        await self.alice.set_state(room, "m.room.power_levels", levels)
        await self.bob.join(room)
        asked = [Deferred.fromCoroutine(self.upgrade(self.alice, room)) for _ in range(3)]
        answers = await gatherResults(asked)
        self.assertEqual(len(set(answers)), 1)
        for who, version in ((self.bob, "11"), (self.alice, "12")):
            refusal = await self.refused(who, room, {"new_version": version})
            self.assertEqual(refusal, (403, "M_FORBIDDEN"))
        self.assertEqual(await self.upgrade(self.alice, room), answers[0])
        await self.hearth.restart()
        self.assertEqual(await self.upgrade(self.alice, room), answers[0])

    async def test_a_tombstone_of_ones_own_does_not_stand_in_the_way(self) -> None:
        other = await self.alice.create_room()
        for named in (other, "!nowhere:localhost", "!\0:localhost", 5):
            room = await self.alice.create_room()
            await self.alice.set_state(
                room, "m.room.tombstone", {"body": "over", "replacement_room": named}
            )
            self.assertNotIn(await self.upgrade(self.alice, room), (room, other))

    async def test_only_who_may_close_a_room_upgrades_it(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        good = {"new_version": "11"}
        self.assertEqual(await self.refused(self.bob, room, good), (403, "M_FORBIDDEN"))
        await self.bob.join(room)
        self.assertEqual(await self.refused(self.bob, room, good), (403, "M_FORBIDDEN"))
        for body, refusal in (
            ({}, (400, "M_MISSING_PARAM")),
            ({"new_version": 12}, (400, "M_BAD_JSON")),
            ({"new_version": "99"}, (400, "M_UNSUPPORTED_ROOM_VERSION")),
            ({"new_version": "\0"}, (400, "M_BAD_JSON")),
            ({"new_version": "12", "additional_creators": "@a:b"}, (400, "M_BAD_JSON")),
            ({"new_version": "12", "additional_creators": [5]}, (400, "M_BAD_JSON")),
            ({"new_version": "12", "additional_creators": ["bob"]}, (400, "M_INVALID_PARAM")),
            ({"new_version": "12", "additional_creators": ["@a:b.c"]}, (403, "M_FORBIDDEN")),
        ):
            self.assertEqual(await self.refused(self.alice, room, body), refusal, body)
        for other, refusal in (
            ("!nothing:localhost", (404, "M_NOT_FOUND")),
            ("!room:elsewhere.org", (404, "M_NOT_FOUND")),
            ("nonsense", (400, "M_INVALID_PARAM")),
        ):
            self.assertEqual(await self.refused(self.alice, other, good), refusal)
        self.assertIsNone(await self.state(room, "m.room.tombstone"))

    async def test_a_failed_upgrade_leaves_nothing_behind(self) -> None:
        room = await self.alice.create_room(room_alias_name="street", preset="public_chat")
        await self.alice.ask("PUT", f"/user/{self.alice.id}/rooms/{room}/tags/u.x", {})
        before = await self.alice.sync()

        def fail(*_: Any) -> None:
            raise Forbidden("Not today")

        # The last thing that an upgrade does.
        failing = self.patch(Upgrade, "_close", fail)
        for version in ("11", "12"):
            refusal = await self.refused(self.alice, room, {"new_version": version})
            self.assertEqual(refusal, (403, "M_FORBIDDEN"))
        failing.restore()
        after = await self.alice.sync(since=before["next_batch"])
        self.assertNotIn("rooms", after)
        found = await self.alice.ask("GET", "/directory/room/%23street:localhost")
        self.assertEqual(found["room_id"], room)
        await self.upgrade(self.alice, room)


class TypesTest(UpgradeCase):
    """Conversation types live on in the new room."""

    async def test_a_direct_conversation_goes_on_between_the_same_two(self) -> None:
        room = await self.alice.create_room(is_direct=True, invite=[self.bob.id])
        await self.bob.join(room)
        stranger = {"new_version": "12", "additional_creators": [self.carol.id]}
        self.assertEqual(await self.refused(self.alice, room, stranger), (403, "M_FORBIDDEN"))
        new = await self.upgrade(self.alice, room)
        self.assertEqual(await self.members(new), {self.alice.id: "join", self.bob.id: "invite"})
        bob = await self.state(new, f"m.room.member/{self.bob.id}")
        self.assertTrue(bob["is_direct"])
        create = await self.state(new, "m.room.create")
        self.assertEqual(create["org.hearth.room_type"], "direct")
        for who, other in ((self.alice, self.bob), (self.bob, self.alice)):
            again = await who.create_room(is_direct=True, invite=[other.id])
            self.assertEqual(again, new)
        self.assertEqual((await self.members(new))[self.bob.id], "join")
        code, _ = await self.alice.call("POST", f"/rooms/{new}/invite", {"user_id": self.carol.id})
        self.assertEqual(code, 403)
        last = await self.upgrade(self.bob, new, "12")
        self.assertEqual(await self.alice.create_room(is_direct=True, invite=[self.bob.id]), last)

    async def test_who_has_left_a_direct_conversation_can_come_back_to_the_new_one(self) -> None:
        room = await self.alice.create_room(is_direct=True, invite=[self.bob.id])
        await self.bob.join(room)
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        new = await self.upgrade(self.alice, room)
        self.assertEqual(await self.bob.create_room(is_direct=True, invite=[self.alice.id]), new)

    async def test_a_conversation_with_a_closed_account_can_be_upgraded(self) -> None:
        room = await self.alice.create_room(is_direct=True, invite=[self.bob.id])
        await self.bob.join(room)
        await self.hearth.app.people.accounts.deactivate(self.bob.id, erase=False)
        new = await self.upgrade(self.alice, room)
        self.assertEqual(await self.members(new), {self.alice.id: "join"})

    async def test_notes_to_oneself_stay_the_only_ones(self) -> None:
        wish = {"creation_content": {"org.hearth.room_type": "self"}}
        room = await self.alice.create_room(**wish)
        for version in ("12", "11"):
            room = await self.upgrade(self.alice, room, version)
            self.assertEqual(await self.alice.create_room(**wish), room)
        code, _ = await self.alice.call("POST", f"/rooms/{room}/invite", {"user_id": self.bob.id})
        self.assertEqual(code, 403)

    async def test_a_family_moves_as_a_whole_and_by_a_guardian_only(self) -> None:
        families = self.hearth.app.rooms.families
        store = self.hearth.app.storage.store
        roster = {self.alice.id: "guardian", self.bob.id: "adult", self.carol.id: "child"}
        room = await store.write(lambda txn: families.create(txn, "Baker", roster))
        levels = await self.state(room, "m.room.power_levels")
        levels["events"]["m.room.tombstone"] = 0
        await self.alice.set_state(room, "m.room.power_levels", levels)
        for who, version in ((self.bob, "11"), (self.carol, "11"), (self.alice, "12")):
            refusal = await self.refused(who, room, {"new_version": version})
            self.assertEqual(refusal, (403, "M_FORBIDDEN"))
        new = await self.upgrade(self.alice, room, "10")
        everybody = dict.fromkeys(roster, "join")
        self.assertEqual(await self.members(new), everybody)
        self.assertEqual(await self.state(new, "m.room.power_levels"), levels)
        self.assertIn(new, (await self.carol.sync())["rooms"]["join"])
        code, _ = await self.bob.call("POST", f"/rooms/{new}/leave")
        self.assertEqual(code, 403)
        del roster[self.bob.id]
        await store.write(lambda txn: families.follow(txn, new, roster))
        self.assertEqual((await self.members(new))[self.bob.id], "leave")

    async def test_spaces_and_their_rooms_find_each_other_again(self) -> None:
        wish = {"creation_content": {"type": "m.space"}, "preset": "public_chat"}
        space = await self.alice.create_room(**wish)
        foreign = await self.bob.create_room(**wish)
        room = await self.alice.create_room(preset="public_chat")
        via = {"via": ["localhost"]}
        link = {**via, "order": "a", "suggested": True}
        await self.alice.set_state(space, "m.space.child", link, room)
        await self.alice.set_state(space, "m.space.child", {}, "!gone:localhost")
        await self.alice.set_state(room, "m.space.child", via, room)
        await self.bob.set_state(foreign, "m.space.child", via, room)
        await self.alice.join(foreign)
        await self.alice.set_state(room, "m.space.parent", {**via, "canonical": True}, space)
        new = await self.upgrade(self.alice, room)
        self.assertEqual(await self.state(space, f"m.space.child/{room}"), {})
        self.assertEqual(await self.state(space, f"m.space.child/{new}"), link)
        self.assertEqual(await self.state(foreign, f"m.space.child/{room}"), via)
        parent = await self.state(new, f"m.space.parent/{space}")
        self.assertEqual(parent, {**via, "canonical": True})
        street = await self.upgrade(self.alice, space, "12")
        create = await self.state(street, "m.room.create")
        self.assertEqual((create["type"], create["org.hearth.room_type"]), ("m.space", "space"))
        self.assertEqual(await self.state(street, f"m.space.child/{new}"), link)
        self.assertIsNone(await self.state(street, "m.space.child/!gone:localhost"))
        self.assertEqual(await self.state(new, f"m.space.parent/{space}"), {})
        self.assertIsNotNone(await self.state(new, f"m.space.parent/{street}"))

    async def test_rooms_that_admit_members_of_a_space_admit_those_of_the_new_one(self) -> None:
        space = await self.alice.create_room(
            creation_content={"type": "m.space"}, preset="public_chat"
        )
        await self.bob.join(space)
        other = {"type": "org.example.age", "room_id": space}
        condition = {"type": "m.room_membership", "room_id": space}
        rules = {"join_rule": "restricted", "allow": [other, condition], "x": "y"}
        rooms = {}
        for version in ("8", "9", "10", "12", "7"):
            rooms[version] = await self.alice.create_room(room_version=version)
            await self.alice.set_state(rooms[version], "m.room.join_rules", rules)
        hers = await self.carol.create_room()
        await self.carol.set_state(hers, "m.room.join_rules", rules)
        closed = await self.alice.create_room()
        invite = {**rules, "join_rule": "invite"}
        await self.alice.set_state(closed, "m.room.join_rules", invite)
        new = await self.upgrade(self.alice, space, "12")
        admitted = {"type": "m.room_membership", "room_id": new}
        both = {**rules, "allow": [other, condition, admitted]}
        for version, room in rooms.items():
            expected = rules if version == "7" else both
            self.assertEqual(await self.state(room, "m.room.join_rules"), expected)
        self.assertEqual(await self.state(hers, "m.room.join_rules", self.carol), rules)
        self.assertEqual(await self.state(closed, "m.room.join_rules"), invite)
        await self.bob.join(rooms["9"])
        await self.carol.join(new)
        await self.carol.join(rooms["10"])
        summary = await self.carol.ask("GET", f"/_matrix/client/v1/room_summary/{rooms['12']}")
        self.assertEqual(summary["allowed_room_ids"], [space, new])
        # What is restricted to itself, or to what was replaced twice, is no trap.
        last = await self.upgrade(self.alice, new)
        found = await self.state(rooms["8"], "m.room.join_rules")
        self.assertEqual([each["room_id"] for each in found["allow"]], [space, space, new, last])

    async def test_who_moves_is_let_in_by_the_same_spaces_as_before(self) -> None:
        space = await self.alice.create_room(
            creation_content={"type": "m.space"}, preset="public_chat"
        )
        await self.bob.join(space)
        room = await self.alice.create_room()
        allow = [{"type": "m.room_membership", "room_id": space}]
        rules = {"join_rule": "restricted", "allow": allow}
        await self.alice.set_state(room, "m.room.join_rules", rules)
        for version in ("8", "12", "10"):
            room = await self.upgrade(self.alice, room, version)
            self.assertEqual(await self.state(room, "m.room.join_rules"), rules)
            await self.bob.join(room)

    async def test_other_aliases_move_with_the_first_one(self) -> None:
        room = await self.alice.create_room(room_alias_name="street", preset="public_chat")
        await self.alice.ask("PUT", "/directory/room/%23road:localhost", {"room_id": room})
        named = {"alias": "#street:localhost", "alt_aliases": ["#road:localhost"]}
        await self.alice.set_state(room, "m.room.canonical_alias", named)
        new = await self.upgrade(self.alice, room, "12")
        self.assertEqual(await self.state(new, "m.room.canonical_alias"), named)
        self.assertEqual(await self.state(room, "m.room.canonical_alias"), {})
        found = await self.alice.ask("GET", f"/rooms/{new}/aliases")
        self.assertEqual(sorted(found["aliases"]), ["#road:localhost", "#street:localhost"])
        self.assertEqual((await self.alice.ask("GET", f"/rooms/{room}/aliases"))["aliases"], [])


class CarryOverTest(UpgradeCase):
    """What people keep about a room follows them when they join the new one."""

    async def tags(self, who: Person, room: str) -> list[str]:
        answer = await who.ask("GET", f"/user/{who.id}/rooms/{room}/tags")
        return sorted(answer["tags"])

    async def rule_ids(self, who: Person, kind: str) -> list[str]:
        answer = await who.ask("GET", "/pushrules/global/")
        return [rule["rule_id"] for rule in answer[kind] if not rule["default"]]

    async def direct(self, who: Person) -> Any:
        return await who.ask("GET", f"/user/{who.id}/account_data/m.direct")

    async def test_tags_rules_and_direct_chats_follow(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        for who in (self.alice, self.bob):
            await who.join(room)
            await who.ask("PUT", f"/user/{who.id}/rooms/{room}/tags/m.favourite", {"order": 0.5})
            await who.ask(
                "PUT", f"/user/{who.id}/account_data/m.direct", {"@x:localhost": [room], "y": 5}
            )
            await who.ask("PUT", f"/pushrules/global/room/{room}", {"actions": []})
            condition = {"kind": "event_match", "key": "room_id", "pattern": room}
            rule = {"actions": [], "conditions": [condition]}
            await who.ask("PUT", f"/pushrules/global/override/{room}", rule)
            await who.ask("PUT", f"/pushrules/global/override/{room}/enabled", {"enabled": False})
        new = await self.upgrade(self.alice, room, "12")
        self.assertEqual(await self.tags(self.bob, new), [])
        before = (await self.bob.sync())["next_batch"]
        await self.bob.join(new)
        for who in (self.alice, self.bob):
            self.assertEqual(await self.tags(who, new), ["m.favourite"])
            self.assertEqual(await self.direct(who), {"@x:localhost": [room, new], "y": 5})
            self.assertEqual(await self.rule_ids(who, "room"), [room, new])
            self.assertEqual(await self.rule_ids(who, "override"), [room, new])
            rule = await who.ask("GET", f"/pushrules/global/override/{new}")
            self.assertEqual(rule["conditions"][0]["pattern"], new)
            self.assertFalse(rule["enabled"])
        seen = await self.bob.sync(since=before)
        kinds = {each["type"] for each in seen["account_data"]["events"]}
        self.assertEqual(kinds, {"m.direct", "m.push_rules"})
        kept = seen["rooms"]["join"][new]["account_data"]["events"]
        self.assertEqual([each["type"] for each in kept], ["m.tag"])
        await self.alice.say(new, "Silence, please")
        seen = await self.bob.sync(since=seen["next_batch"])
        counts = seen["rooms"]["join"][new]["unread_notifications"]
        self.assertEqual(counts["notification_count"], 0)

    async def test_what_was_changed_later_stays(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        await self.bob.ask("PUT", f"/user/{self.bob.id}/rooms/{room}/tags/u.old", {})
        new = await self.upgrade(self.alice, room)
        await self.bob.ask("PUT", f"/user/{self.bob.id}/rooms/{new}/tags/u.new", {})
        await self.bob.join(new)
        self.assertEqual(await self.tags(self.bob, new), ["u.new"])
        await self.bob.ask("DELETE", f"/user/{self.bob.id}/rooms/{new}/tags/u.new")
        await self.bob.ask("PUT", f"/profile/{self.bob.id}/displayname", {"displayname": "Bobby"})
        self.assertEqual(await self.tags(self.bob, new), [])

    async def test_nobody_can_pass_a_room_off_as_the_next_one(self) -> None:
        room = await self.alice.create_room(is_direct=True, invite=[self.bob.id])
        await self.alice.ask(
            "PUT", f"/user/{self.alice.id}/account_data/m.direct", {self.bob.id: [room]}
        )
        ids = (room, "!no:localhost", "!\0", 5)
        for predecessor in (*({"room_id": each} for each in ids), "x"):
            false = await self.carol.create_room(
                name="Bob", preset="public_chat", creation_content={"predecessor": predecessor}
            )
            await self.alice.join(false)
        self.assertEqual(await self.direct(self.alice), {self.bob.id: [room]})

    async def test_joining_works_for_who_keeps_odd_things(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        await self.bob.ask(
            "PUT", f"/user/{self.bob.id}/rooms/{room}/account_data/m.tag", {"tags": 5}
        )
        await self.bob.ask("PUT", f"/user/{self.bob.id}/account_data/m.direct", {"a": {"b": "c"}})
        # The rules may search for no more than they do.
        rule: dict[str, Any] = {"actions": [], "pattern": "*" * 197}
        await self.bob.ask("PUT", "/pushrules/global/content/much", rule)
        condition = {"kind": "event_match", "key": "content.body", "pattern": "a *"}
        rule = {"actions": [], "conditions": [condition]}
        await self.bob.ask("PUT", f"/pushrules/global/override/{room}", rule)
        new = await self.upgrade(self.alice, room)
        await self.bob.join(new)
        self.assertEqual(await self.rule_ids(self.bob, "override"), [room])
