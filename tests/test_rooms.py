"""Rooms: creating them, coming and going, state and power, aliases and the directory."""

from typing import Any
from urllib.parse import quote

from tests.support import Person, WireTest, bodies, timeline

MESSAGE = {"msgtype": "m.text", "body": "hello"}


class CreationTest(WireTest):
    """createRoom with its presets and options."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def state(self, room: str, event_type: str) -> dict[str, object]:
        return dict(await self.alice.ask("GET", f"/rooms/{room}/state/{event_type}"))

    async def test_everything_that_was_wished_for_is_there(self) -> None:
        room = await self.alice.create_room(
            preset="public_chat",
            visibility="public",
            room_alias_name="street",
            name="Our street",
            topic="What happens here",
            invite=[self.bob.id],
            creation_content={"m.federate": False},
            power_level_content_override={"events_default": 10},
            initial_state=[
                {"type": "m.room.avatar", "state_key": "", "content": {"url": "mxc://localhost/a"}}
            ],
        )
        self.assertEqual(await self.state(room, "m.room.name"), {"name": "Our street"})
        self.assertEqual((await self.state(room, "m.room.topic"))["topic"], "What happens here")
        self.assertEqual(await self.state(room, "m.room.join_rules"), {"join_rule": "public"})
        self.assertEqual(
            await self.state(room, "m.room.canonical_alias"), {"alias": "#street:localhost"}
        )
        self.assertEqual(await self.state(room, "m.room.avatar"), {"url": "mxc://localhost/a"})
        levels = await self.state(room, "m.room.power_levels")
        self.assertEqual(levels["events_default"], 10)
        self.assertEqual(levels["users"], {self.alice.id: 100})
        create = await self.state(room, "m.room.create")
        self.assertEqual((create["m.federate"], create["room_version"]), (False, "11"))
        listed = await self.bob.ask("GET", "/publicRooms")
        self.assertEqual([each["room_id"] for each in listed["chunk"]], [room])
        found = await self.bob.ask("GET", "/directory/room/%23street:localhost")
        self.assertEqual(found["room_id"], room)
        invited = await self.bob.sync()
        self.assertIn(room, invited["rooms"]["invite"])

    async def test_each_version_works(self) -> None:
        for version in ("10", "11", "12"):
            room = await self.alice.create_room(
                room_version=version, invite=[self.bob.id], preset="trusted_private_chat"
            )
            await self.bob.join(room)
            event_id = await self.bob.say(room, "hello")
            await self.bob.set_state(room, "m.room.name", {"name": version})
            redaction = f"/rooms/{room}/redact/{event_id}/{self.alice.transaction()}"
            await self.alice.ask("PUT", redaction, {"reason": "why not"})
            event = await self.bob.ask("GET", f"/rooms/{room}/event/{event_id}")
            self.assertEqual(event["content"], {}, version)
            self.assertEqual(event["unsigned"]["redacted_because"]["content"]["reason"], "why not")
            create = await self.state(room, "m.room.create")
            self.assertEqual(create["room_version"], version)
            self.assertEqual(":" in room, version != "12")

    async def test_an_impossible_wish_leaves_nothing_behind(self) -> None:
        before = await self.alice.sync()
        event = {"type": "m.room.power_levels", "state_key": "", "content": {"ban": "much"}}
        for wish in (
            {"room_version": "99"},
            {"initial_state": [event]},
            {"power_level_content_override": {"users": {"nobody": 1}}},
            {"invite": ["@stranger:elsewhere.org"]},
            {"invite": ["@nobody:localhost"]},
            {"room_alias_name": "with space"},
            {"room_alias_name": "taken?", "initial_state": [event]},
        ):
            code, answer = await self.alice.call("POST", "/createRoom", wish)
            self.assertIn(code, (400, 403, 404), wish)
            self.assertTrue(answer["error"], wish)
        after = await self.alice.sync(since=before["next_batch"])
        self.assertNotIn("rooms", after)
        code, _ = await self.alice.call("GET", "/directory/room/%23taken%3F:localhost")
        self.assertEqual(code, 404)

    async def test_an_alias_exists_once(self) -> None:
        await self.alice.create_room(room_alias_name="here")
        code, answer = await self.bob.call("POST", "/createRoom", {"room_alias_name": "here"})
        self.assertEqual((code, answer["errcode"]), (400, "M_ROOM_IN_USE"))


class MembershipTest(WireTest):
    """Join, invite, leave, kick, ban, knock, forget, restricted rooms."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob, self.carol = await self.hearth.people("alice", "bob", "carol")

    async def about(self, who: Person, verb: str, room: str, target: Person) -> int:
        body = {"user_id": target.id, "reason": "because"}
        code, answer = await who.call("POST", f"/rooms/{room}/{verb}", body)
        self.assertTrue(code == 200 or answer["error"], answer)
        return code

    async def test_nobody_joins_uninvited(self) -> None:
        room = await self.alice.create_room()
        code, answer = await self.bob.call("POST", f"/join/{room}")
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        self.assertEqual(await self.about(self.alice, "invite", room, self.bob), 200)
        await self.bob.join(room)
        await self.bob.join(room)
        joined = await self.bob.ask("GET", "/joined_rooms")
        self.assertEqual(joined["joined_rooms"], [room])

    async def test_nobody_is_invited_who_is_not_here(self) -> None:
        room = await self.alice.create_room()
        stranger = "@nobody:localhost"
        for method, path, body in (
            ("POST", f"/rooms/{room}/invite", {"user_id": stranger}),
            ("PUT", f"/rooms/{room}/state/m.room.member/{stranger}", {"membership": "invite"}),
        ):
            code, answer = await self.alice.call(method, path, body)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"), path)

    async def test_an_invite_can_be_declined(self) -> None:
        room = await self.alice.create_room(invite=[self.bob.id], name="Party")
        seen = await self.bob.sync()
        shown = seen["rooms"]["invite"][room]["invite_state"]["events"]
        self.assertIn({"name": "Party"}, [event["content"] for event in shown])
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        gone = await self.bob.sync(since=seen["next_batch"])
        self.assertIn(room, gone["rooms"]["leave"])
        self.assertNotIn("rooms", await self.bob.sync())

    async def test_kicked_banned_and_forgiven(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        self.assertEqual(await self.about(self.bob, "kick", room, self.alice), 403)
        self.assertEqual(await self.about(self.alice, "kick", room, self.bob), 200)
        self.assertEqual(await self.about(self.alice, "kick", room, self.bob), 403)
        await self.bob.join(room)
        self.assertEqual(await self.about(self.alice, "ban", room, self.bob), 200)
        code, _ = await self.bob.call("POST", f"/join/{room}")
        self.assertEqual(code, 403)
        self.assertEqual(await self.about(self.alice, "invite", room, self.bob), 403)
        self.assertEqual(await self.about(self.alice, "unban", room, self.bob), 200)
        self.assertEqual(await self.about(self.alice, "unban", room, self.bob), 403)
        await self.bob.join(room)

    async def test_who_is_removed_sees_that_and_nothing_after_it(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        seen = await self.bob.sync()
        await self.alice.say(room, "before")
        await self.about(self.alice, "kick", room, self.bob)
        await self.alice.say(room, "after")
        gone = await self.bob.sync(since=seen["next_batch"])
        left = gone["rooms"]["leave"][room]["timeline"]["events"]
        self.assertEqual(bodies(left), ["before"])
        self.assertEqual(left[-1]["content"]["membership"], "leave")
        page = await self.bob.messages(room)
        self.assertEqual(bodies(page["chunk"]), ["before"])

    async def test_knock_and_be_let_in(self) -> None:
        rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        room = await self.alice.create_room(initial_state=[rules])
        await self.bob.ask("POST", f"/knock/{room}", {"reason": "It is me"})
        knocking = await self.bob.sync()
        self.assertIn(room, knocking["rooms"]["knock"])
        members = await self.alice.ask("GET", f"/rooms/{room}/members?membership=knock")
        self.assertEqual(members["chunk"][0]["content"]["reason"], "It is me")
        await self.about(self.alice, "invite", room, self.bob)
        await self.bob.join(room)

    async def test_members_of_a_space_come_in_where_they_are_admitted(self) -> None:
        space = await self.alice.create_room(
            creation_content={"type": "m.space"}, invite=[self.bob.id]
        )
        allow = [{"type": "m.room_membership", "room_id": space}]
        content = {"join_rule": "restricted", "allow": allow}
        rules = {"type": "m.room.join_rules", "state_key": "", "content": content}
        room = await self.alice.create_room(initial_state=[rules])
        code, _ = await self.bob.call("POST", f"/join/{room}")
        self.assertEqual(code, 403)
        await self.bob.join(space)
        await self.bob.join(room)
        code, _ = await self.carol.call("POST", f"/join/{room}")
        self.assertEqual(code, 403)

    async def test_nobody_vouches_for_themselves(self) -> None:
        space = await self.alice.create_room(creation_content={"type": "m.space"})
        content = {
            "join_rule": "restricted",
            "allow": [{"type": "m.room_membership", "room_id": space}],
        }
        rules = {"type": "m.room.join_rules", "state_key": "", "content": content}
        room = await self.alice.create_room(initial_state=[rules])
        member = {
            "membership": "join",
            "join_authorised_via_users_server": self.alice.id,
        }
        code, answer = await self.bob.call(
            "PUT", f"/rooms/{room}/state/m.room.member/{self.bob.id}", member
        )
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))

    async def test_forgotten_rooms_are_gone(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        code, _ = await self.bob.call("POST", f"/rooms/{room}/forget")
        self.assertEqual(code, 400)
        await self.bob.ask("POST", f"/rooms/{room}/leave")
        await self.bob.ask("POST", f"/rooms/{room}/forget")
        await self.hearth.restart()
        everything = await self.bob.sync(filter={"room": {"include_leave": True}})
        self.assertNotIn("rooms", everything)
        await self.bob.join(room)
        self.assertIn(room, (await self.bob.sync())["rooms"]["join"])


class StateTest(WireTest):
    """State and power levels."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)

    async def test_setting_what_is_set_changes_nothing(self) -> None:
        first = await self.alice.set_state(self.room, "org.example", {"a": 1})
        self.assertEqual(await self.alice.set_state(self.room, "org.example", {"a": 1}), first)
        second = await self.alice.set_state(self.room, "org.example", {"a": 2})
        event = await self.alice.ask("GET", f"/rooms/{self.room}/event/{second}")
        self.assertEqual(event["unsigned"]["prev_content"], {"a": 1})
        self.assertEqual(event["unsigned"]["replaces_state"], first)

    async def test_state_keys_may_be_empty_or_odd(self) -> None:
        for key in ("", "with space", "a/b", "ünïcode"):
            await self.alice.set_state(self.room, "org.example", {"key": key}, key)
            path = f"/rooms/{self.room}/state/org.example/{quote(key, safe='')}"
            self.assertEqual(await self.bob.ask("GET", path), {"key": key})
        whole = await self.bob.ask("GET", f"/rooms/{self.room}/state/org.example?format=event")
        self.assertEqual((whole["state_key"], whole["sender"]), ("", self.alice.id))

    async def test_members_cannot_do_what_takes_a_moderator(self) -> None:
        path = f"/rooms/{self.room}/state/m.room.name"
        code, answer = await self.bob.call("PUT", path, {"name": "Bob's"})
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        levels = await self.alice.ask("GET", f"/rooms/{self.room}/state/m.room.power_levels")
        levels["users"][self.bob.id] = 50
        await self.alice.set_state(self.room, "m.room.power_levels", levels)
        await self.bob.set_state(self.room, "m.room.name", {"name": "Bob's"})
        levels["users"][self.bob.id] = 100
        code, _ = await self.bob.call(
            "PUT", f"/rooms/{self.room}/state/m.room.power_levels", levels
        )
        self.assertEqual(code, 403)

    async def test_only_the_sender_or_a_moderator_redacts(self) -> None:
        hers = await self.alice.say(self.room, "hers")
        his = await self.bob.say(self.room, "his")
        path = f"/rooms/{self.room}/redact/{hers}/{self.bob.transaction()}"
        code, answer = await self.bob.call("PUT", path, {})
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        for who in (self.bob, self.alice):
            await who.ask("PUT", f"/rooms/{self.room}/redact/{his}/{who.transaction()}", {})
        page = await self.bob.messages(self.room)
        self.assertEqual(bodies(page["chunk"]), ["hers"])

    async def test_a_redacted_state_event_is_redacted_everywhere(self) -> None:
        first = await self.alice.set_state(self.room, "m.room.topic", {"topic": "secret"})
        second = await self.alice.set_state(self.room, "m.room.topic", {"topic": "open"})
        path = f"/rooms/{self.room}/redact"
        await self.alice.ask("PUT", f"{path}/{first}/{self.alice.transaction()}", {})
        event = await self.bob.ask("GET", f"/rooms/{self.room}/event/{second}")
        self.assertEqual(event["unsigned"]["prev_content"], {})
        await self.alice.ask("PUT", f"{path}/{second}/{self.alice.transaction()}", {})
        topic = await self.bob.ask("GET", f"/rooms/{self.room}/state/m.room.topic")
        self.assertEqual(topic, {})
        await self.hearth.restart()
        topic = await self.bob.ask("GET", f"/rooms/{self.room}/state/m.room.topic")
        self.assertEqual(topic, {})

    async def test_what_a_state_event_replaced_is_shown_to_who_may_see_it(self) -> None:
        await self.set_visibility("joined")
        since = {who.id: (await who.sync())["next_batch"] for who in (self.alice, self.bob)}
        await self.alice.set_state(self.room, "m.room.name", {"name": "before"})
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        await self.alice.say(self.room, "He is gone")
        renamed = await self.alice.set_state(self.room, "m.room.name", {"name": "after"})
        await self.alice.set_state(self.room, "m.room.topic", {"topic": "secret"})
        known = await self.alice.set_state(self.room, "m.room.topic", {"topic": "known"})
        for user_id, deed in ((self.bob.id, "ban"), (self.bob.id, "unban")):
            await self.alice.ask("POST", f"/rooms/{self.room}/{deed}", {"user_id": user_id})
        await self.set_visibility("invited")
        opened = await self.set_visibility("world_readable")
        await self.set_visibility("joined")
        await self.bob.join(self.room)
        later = await self.alice.set_state(self.room, "m.room.name", {"name": "newest"})
        for _ in range(2):
            for who in (self.alice, self.bob):
                shown = await self.everything(who, since[who.id], later)
                is_alice = who is self.alice
                self.assertEqual("secret" in str(shown), is_alice)
                for event_id, past, always in (
                    (renamed, {"name": "before"}, True),
                    (known, {"topic": "secret"}, is_alice),
                    (opened, {"history_visibility": "invited"}, is_alice),
                    (later, {"name": "after"}, True),
                ):
                    found = [event for event in shown if event["event_id"] == event_id]
                    self.assertGreater(len(found), 1)
                    for event in found:
                        expected = past if always else None
                        self.assertEqual(event["unsigned"].get("prev_content"), expected)
                        self.assertIn("replaces_state", event["unsigned"])
                own = [event for event in shown if event.get("state_key") == self.bob.id]
                for event in own:
                    if event["content"]["membership"] == "join":
                        continue
                    self.assertIn("prev_content", event["unsigned"])
            await self.hearth.restart()

    async def set_visibility(self, setting: str) -> str:
        content = {"history_visibility": setting}
        return await self.alice.set_state(self.room, "m.room.history_visibility", content)

    async def everything(self, who: Person, since: str, event_id: str) -> list[Any]:
        """What somebody is shown of the room, by every way of reading it."""
        shown: list[Any] = []
        small = {"room": {"timeline": {"limit": 1}}}
        for answer in (
            await who.sync(),
            await who.sync(filter=small),
            await who.sync(since=since),
            await who.sync(since=since, filter=small),
        ):
            shown += timeline(answer, self.room)
            shown += answer["rooms"]["join"][self.room]["state"]["events"]
        path = f"/rooms/{self.room}"
        shown += (await who.messages(self.room))["chunk"]
        shown += await who.ask("GET", f"{path}/state")
        shown += [await who.ask("GET", f"{path}/event/{event_id}")]
        context = await who.ask("GET", f"{path}/context/{event_id}")
        shown += [context["event"], *context["state"]]
        shown += (await who.ask("GET", "/events", query={"from": since}))["chunk"]
        return shown

    async def test_one_reaction_of_a_kind_is_enough(self) -> None:
        event_id = await self.alice.say(self.room, "cake?")

        async def react(who: Person, key: str) -> tuple[int, str | None]:
            relates = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
            path = f"/rooms/{self.room}/send/m.reaction/{who.transaction()}"
            code, answer = await who.call("PUT", path, {"m.relates_to": relates})
            return code, answer.get("errcode")

        self.assertEqual(await react(self.bob, "👍"), (200, None))
        self.assertEqual(await react(self.bob, "👍"), (400, "M_DUPLICATE_ANNOTATION"))
        self.assertEqual(await react(self.bob, "🎂"), (200, None))
        self.assertEqual(await react(self.alice, "👍"), (200, None))

    async def test_strangers_see_and_send_nothing(self) -> None:
        room = await self.alice.create_room()
        event_id = await self.alice.say(room, "private")
        for method, path in (
            ("GET", f"/rooms/{room}/messages?dir=b"),
            ("GET", f"/rooms/{room}/state"),
            ("GET", f"/rooms/{room}/state/m.room.name"),
            ("GET", f"/rooms/{room}/members"),
            ("GET", f"/rooms/{room}/joined_members"),
            ("GET", f"/rooms/{room}/context/{event_id}"),
            ("GET", f"/rooms/{room}/aliases"),
            ("PUT", f"/rooms/{room}/send/m.room.message/1"),
            ("PUT", f"/rooms/{room}/state/m.room.name"),
            ("PUT", f"/rooms/{room}/typing/{self.bob.id}"),
            ("POST", f"/rooms/{room}/receipt/m.read/{event_id}"),
        ):
            body = {"typing": True, **MESSAGE} if method != "GET" else None
            code, answer = await self.bob.call(method, path, body)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), path)
        code, answer = await self.bob.call("GET", f"/rooms/{room}/event/{event_id}")
        self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))


class AliasTest(WireTest):
    """Aliases and the directory of rooms."""

    async def test_an_alias_comes_and_goes(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(preset="public_chat")
        path = "/directory/room/%23corner:localhost"
        await alice.ask("PUT", path, {"room_id": room})
        code, answer = await alice.call("PUT", path, {"room_id": room})
        self.assertEqual(code, 409, answer)
        await alice.set_state(room, "m.room.canonical_alias", {"alias": "#corner:localhost"})
        code, answer = await alice.call(
            "PUT",
            f"/rooms/{room}/state/m.room.canonical_alias",
            {"alias": "#elsewhere:localhost"},
        )
        self.assertEqual((code, answer["errcode"]), (400, "M_BAD_ALIAS"))
        await bob.join("#corner:localhost")
        aliases = await bob.ask("GET", f"/rooms/{room}/aliases")
        self.assertEqual(aliases["aliases"], ["#corner:localhost"])
        code, _ = await bob.call("DELETE", path)
        self.assertEqual(code, 403)
        await alice.ask("DELETE", path)
        code, _ = await bob.call("GET", path)
        self.assertEqual(code, 404)
        content = await bob.ask("GET", f"/rooms/{room}/state/m.room.canonical_alias")
        self.assertNotIn("alias", content)

    async def test_the_directory_is_searched_and_paged(self) -> None:
        hearth = await self.server()
        alice = await hearth.person("alice")
        rooms = [await alice.create_room(visibility="public", name=f"Garden {n}") for n in range(3)]
        await alice.create_room(visibility="public", name="Garage")
        await alice.create_room(name="Garden of secrets")
        wanted = {"filter": {"generic_search_term": "garden"}, "limit": 2}
        first = await alice.ask("POST", "/publicRooms", wanted)
        second = await alice.ask("POST", "/publicRooms", {**wanted, "since": first["next_batch"]})
        found = [each["room_id"] for each in first["chunk"] + second["chunk"]]
        self.assertEqual(sorted(found), sorted(rooms))
        self.assertEqual(first["total_room_count_estimate"], 3)


class ProfileTest(WireTest):
    """A name changes in every room that somebody is in."""

    async def test_a_new_name_reaches_everybody(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        seen = await alice.sync()
        await bob.ask("PUT", f"/profile/{bob.id}/displayname", {"displayname": "Bob B."})
        [event] = timeline(await alice.sync(since=seen["next_batch"]), room)
        self.assertEqual(event["content"]["displayname"], "Bob B.")
        self.assertEqual(await alice.ask("GET", f"/profile/{bob.id}"), {"displayname": "Bob B."})
        code, answer = await alice.call(
            "PUT", f"/profile/{bob.id}/displayname", {"displayname": "x"}
        )
        self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
        found = await alice.ask("POST", "/user_directory/search", {"search_term": "bob b"})
        self.assertEqual([each["user_id"] for each in found["results"]], [bob.id])
