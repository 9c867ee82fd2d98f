"""Design promise 3, and more: what trickles in is what a new device sees.

Several people do whatever comes to their mind. Each has a device that syncs now and then and merges
the answers; in the end it must know the same as a device that syncs for the first time. On the way
the server restarts.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.following import FollowedRoom, Follower
from tests.junk import examples
from tests.olm_devices import Device
from tests.support import Person, Server, WireTest

STORIES = 6
STEPS = 90
NAMES = ("alice", "bob", "carol", "dave")
TYPES = ("m.read", "m.read.private", "m.fully_read")
STATES = (
    ("m.room.name", "name", ("Garden", "Kitchen", "")),
    ("m.room.topic", "topic", ("tea", "coffee")),
    ("m.room.history_visibility", "history_visibility", ("joined", "shared", "invited")),
    ("m.room.join_rules", "join_rule", ("public", "invite", "knock")),
)
# The more often a verb stands here, the more often it is done.
VERBS = [
    *["say"] * 6,
    *["sync"] * 5,
    *["join"] * 5,
    *["invite"] * 3,
    *["receipt"] * 3,
    *["state"] * 2,
    *["leave"] * 2,
    *["create", "kick", "ban", "unban", "redact", "redact_state", "account_data"],
    *["room_account_data", "tag", "untag", "rename", "device", "reply", "forget", "knock"],
]
steps = st.lists(
    st.tuples(st.sampled_from(VERBS), st.integers(0, 3), st.integers(0, 999)),
    min_size=STEPS,
    max_size=STEPS,
)


class Story:
    """What people do, drawn from numbers. Refusals are part of life."""

    def __init__(self, server: Server, people: list[Person]) -> None:
        self.server = server
        self.people = people
        self.rooms: list[str] = []
        self.sent: list[tuple[str, str]] = []
        self.keys = dict.fromkeys((person.id for person in people), 0)
        """How often each one's device list has changed."""
        self.told: list[str] = []

    async def do(self, verb: str, person: Person, dice: int) -> None:
        """One thing."""
        self.told.append(f"{person.id} {verb} {dice}")
        act: Callable[[Person, int], Any] = getattr(self, f"_{verb}")
        await act(person, dice)

    def _room(self, dice: int) -> str:
        return quote(self.rooms[dice % len(self.rooms)])

    def _other(self, dice: int) -> str:
        return self.people[dice // 7 % len(self.people)].id

    async def _create(self, person: Person, dice: int) -> None:
        preset = ("public_chat", "private_chat", "trusted_private_chat")[dice % 3]
        wish = {"preset": preset, "invite": [self._other(dice)], "is_direct": dice % 4 == 0}
        code, answer = await person.call("POST", "/createRoom", wish)
        if code == 200 and answer["room_id"] not in self.rooms:
            self.rooms.append(answer["room_id"])

    async def _join(self, person: Person, dice: int) -> None:
        await person.call("POST", f"/join/{self._room(dice)}")

    async def _knock(self, person: Person, dice: int) -> None:
        await person.call("POST", f"/knock/{self._room(dice)}")

    async def _leave(self, person: Person, dice: int) -> None:
        await person.call("POST", f"/rooms/{self._room(dice)}/leave")

    async def _forget(self, person: Person, dice: int) -> None:
        await person.call("POST", f"/rooms/{self._room(dice)}/forget")

    async def _about(self, verb: str, person: Person, dice: int) -> None:
        path = f"/rooms/{self._room(dice)}/{verb}"
        await person.call("POST", path, {"user_id": self._other(dice)})

    async def _invite(self, person: Person, dice: int) -> None:
        await self._about("invite", person, dice)

    async def _kick(self, person: Person, dice: int) -> None:
        await self._about("kick", person, dice)

    async def _ban(self, person: Person, dice: int) -> None:
        await self._about("ban", person, dice)

    async def _unban(self, person: Person, dice: int) -> None:
        await self._about("unban", person, dice)

    async def _say(self, person: Person, dice: int) -> None:
        content: dict[str, Any] = {"msgtype": "m.text", "body": f"number {len(self.told)}"}
        if dice % 5 == 0:
            content["m.mentions"] = {"user_ids": [self._other(dice)]}
        await self._send(person, self.rooms[dice % len(self.rooms)], content)

    async def _reply(self, person: Person, dice: int) -> None:
        if self.sent:
            room, event_id = self.sent[dice % len(self.sent)]
            relation = {"rel_type": "m.thread", "event_id": event_id}
            content = {"msgtype": "m.text", "body": "reply", "m.relates_to": relation}
            await self._send(person, room, content)

    async def _send(self, person: Person, room: str, content: Any) -> None:
        path = f"/rooms/{quote(room)}/send/m.room.message/{person.transaction()}"
        code, answer = await person.call("PUT", path, content)
        if code == 200:
            self.sent.append((room, answer["event_id"]))

    async def _state(self, person: Person, dice: int) -> None:
        event_type, key, values = STATES[dice % len(STATES)]
        content = {key: values[dice // 5 % len(values)]}
        await person.call("PUT", f"/rooms/{self._room(dice)}/state/{event_type}", content)

    async def _redact(self, person: Person, dice: int) -> None:
        if self.sent:
            room, event_id = self.sent[dice % len(self.sent)]
            await self._redact_event(person, room, event_id)

    async def _redact_state(self, person: Person, dice: int) -> None:
        code, state = await person.call("GET", f"/rooms/{self._room(dice)}/state")
        if code == 200:
            named = [e for e in state if e["type"] in ("m.room.name", "m.room.topic")]
            for event in named[:1]:
                await self._redact_event(person, self._room(dice), event["event_id"])

    async def _redact_event(self, person: Person, room: str, event_id: str) -> None:
        path = f"/rooms/{quote(room)}/redact/{quote(event_id)}/{person.transaction()}"
        await person.call("PUT", path)

    async def _receipt(self, person: Person, dice: int) -> None:
        if self.sent:
            room, event_id = self.sent[-1 - dice % min(len(self.sent), 5)]
            kind = TYPES[dice % 3]
            path = f"/rooms/{quote(room)}/receipt/{kind}/{quote(event_id)}"
            threaded = dice % 2 and kind != "m.fully_read"
            await person.call("POST", path, {"thread_id": "main"} if threaded else {})

    async def _account_data(self, person: Person, dice: int) -> None:
        path = f"/user/{person.id}/account_data/org.x.{dice % 3}"
        await person.call("PUT", path, {"n": dice} if dice % 4 else {})

    async def _room_account_data(self, person: Person, dice: int) -> None:
        path = f"/user/{person.id}/rooms/{self._room(dice)}/account_data/org.x.{dice % 3}"
        await person.call("PUT", path, {"n": dice} if dice % 4 else {})

    async def _tag(self, person: Person, dice: int) -> None:
        path = f"/user/{person.id}/rooms/{self._room(dice)}/tags/u.{dice % 3}"
        await person.call("PUT", path, {"order": 0.5})

    async def _untag(self, person: Person, dice: int) -> None:
        path = f"/user/{person.id}/rooms/{self._room(dice)}/tags/u.{dice % 3}"
        await person.call("DELETE", path)

    async def _rename(self, person: Person, dice: int) -> None:
        path = f"/profile/{person.id}/displayname"
        await person.call("PUT", path, {"displayname": f"{person.id[1]} {dice}"})

    async def _device(self, person: Person, dice: int) -> None:
        path = f"/devices/{person.device_id}"
        name = {"display_name": f"phone {len(self.told)}"}
        await person.ask("PUT", path, name)
        self.keys[person.id] += 1


class LiveEqualsFreshTest(WireTest):
    """Stories of which each is told to the end, whatever it brings."""

    maxDiff = None

    timeout = 240

    async def test_what_trickles_in_is_what_a_new_device_sees(self) -> None:
        for told in examples(steps, STORIES):
            await self._live_through(told)

    async def _live_through(self, told: list[tuple[str, int, int]]) -> None:
        server = await self.server(rooms={"self_room": False})
        people = await server.people(*NAMES)
        for person in people:
            device = Device(None, person)  # type: ignore[arg-type]
            await person.ask("POST", "/keys/upload", {"device_keys": device.device_keys()})
        story = Story(server, people)
        ways: list[dict[str, Any]] = [{}, {"state_after": True}, {"timeline_limit": 2}]
        ways += [{"timeline_limit": 1, "state_after": True}]
        followers = [Follower(person, **way) for person, way in zip(people, ways, strict=True)]
        fetched: list[dict[str, int]] = [{} for _ in followers]
        for index in range(len(followers)):
            await self._sync(story, followers[index], fetched[index])
        await story.do("create", people[0], 0)
        await story.do("create", people[1], 3)
        for number, (verb, who, dice) in enumerate(told):
            if verb == "sync":
                await self._sync(story, followers[who], fetched[who])
            else:
                await story.do(verb, people[who], dice)
            if number == STEPS // 2:
                await server.restart()
        for follower, known in zip(followers, fetched, strict=True):
            await self._sync(story, follower, known)
            await self._compare(story, follower, known)
        await server.stop()

    async def _sync(self, story: Story, follower: Follower, fetched: dict[str, int]) -> None:
        """The client asks for the keys of whoever has changed, at once."""
        is_first = follower.token is None
        await follower.sync()
        for user_id in follower.tracked if is_first else follower.changed:
            fetched[user_id] = story.keys[user_id]

    async def _compare(self, story: Story, follower: Follower, fetched: dict[str, int]) -> None:
        person = follower.person
        told = "\n".join([*story.told, f"seen by {person.id}"])
        again = await story.server.log_in(person)
        fresh = Follower(again, follower.state_after)
        await fresh.sync()
        self.assertEqual(set(follower.joined), set(fresh.joined), told)
        self.assertEqual(follower.invited, fresh.invited, told)
        self.assertEqual(follower.account_data, fresh.account_data, told)
        for room_id, room in follower.joined.items():
            await self._compare_rooms(again, room_id, room, fresh.joined[room_id], told)
        self.assertEqual(follower.tracked - {person.id}, fresh.sharing(), told)
        for user_id in fresh.sharing():
            self.assertEqual(fetched.get(user_id), story.keys[user_id], f"{told}\n{user_id}")

    async def _compare_rooms(
        self, person: Person, room_id: str, live: FollowedRoom, fresh: FollowedRoom, told: str
    ) -> None:
        told = f"{told}\nin {room_id}"
        ids = {key: event["event_id"] for key, event in live.state.items()}
        self.assertEqual(ids, {k: event["event_id"] for k, event in fresh.state.items()}, told)
        for key, event in fresh.state.items():
            if "redacted_because" not in event["unsigned"]:
                self.assertEqual(live.state[key]["content"], event["content"], told)
        self.assertEqual(live.account_data, fresh.account_data, told)
        self.assertEqual(live.receipts, fresh.receipts, told)
        self.assertEqual(live.counts, fresh.counts, told)
        self.assertEqual(live.summary, fresh.summary, told)
        seen = [event["event_id"] for event in live.timeline]
        self.assertEqual(len(seen), len(set(seen)), told)
        newest = [event["event_id"] for event in fresh.timeline]
        common = min(len(seen), len(newest))
        self.assertEqual(seen[len(seen) - common :], newest[len(newest) - common :], told)
        # Everything since the client came to know the room, once and in order.
        page = await person.messages(room_id, limit=len(seen))
        self.assertEqual(seen, [event["event_id"] for event in page["chunk"]][::-1], told)


class FoundTest(WireTest):
    """What the stories above have brought to light, told one by one."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)

    async def test_state_that_changed_out_of_sight_is_known_to_a_new_device(self) -> None:
        setting = {"history_visibility": "joined"}
        await self.alice.set_state(self.room, "m.room.history_visibility", setting)
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        event_id = await self.alice.set_state(self.room, "m.room.name", {"name": "Secret"})
        await self.bob.join(self.room)
        for way in (False, True):
            fresh = Follower(self.bob, state_after=way)
            await fresh.sync()
            room = fresh.joined[self.room]
            self.assertEqual(room.state["m.room.name", ""]["event_id"], event_id)
            self.assertNotIn(event_id, [event["event_id"] for event in room.timeline])

    async def test_who_was_away_between_two_syncs_sees_nothing_twice(self) -> None:
        bob = Follower(self.bob)
        await self.alice.say(self.room, "before")
        await bob.sync()
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        await self.alice.say(self.room, "while Bob is away")
        await self.bob.join(self.room)
        await self.alice.say(self.room, "after")
        await bob.sync()
        seen = [event["event_id"] for event in bob.joined[self.room].timeline]
        page = await self.bob.messages(self.room, limit=len(seen))
        self.assertEqual(seen, [event["event_id"] for event in page["chunk"]][::-1])

    async def test_a_room_left_and_forgotten_is_over_on_every_device(self) -> None:
        laptop = Follower(await self.hearth.log_in(self.bob))
        await laptop.sync()
        self.assertIn(self.room, laptop.joined)
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")
        await self.bob.ask("POST", f"/rooms/{self.room}/forget")
        await laptop.sync()
        self.assertNotIn(self.room, laptop.joined)


class TokenTest(WireTest):
    """Design promise 5: old tokens work, and those that nobody can honour lead to a full sync."""

    async def setUp(self) -> None:
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.room = await self.alice.create_room(invite=[self.bob.id])
        await self.bob.join(self.room)

    async def test_a_token_of_the_future_leads_to_a_full_sync_and_on(self) -> None:
        token = (await self.bob.sync())["next_batch"]
        position, ephemeral, to_device = token.removeprefix("s").split("_")
        far = 10**15
        for future in (
            f"s{far}_{ephemeral}_{to_device}",
            f"s{position}_{far}_{to_device}",
            f"s{position}_{ephemeral}_{far}",
            f"s{far}_{far}_{far}",
            f"s{'9' * 30}_{ephemeral}_{to_device}",
        ):
            whole = await self.bob.sync(since=future, timeout=30_000)
            self.assertIn(self.room, whole["rooms"]["join"], future)
            event_id = await self.alice.say(self.room, "hello")
            message = {self.bob.id: {self.bob.device_id: {"n": 1}}}
            path = f"/sendToDevice/m.test/{self.alice.transaction()}"
            await self.alice.ask("PUT", path, {"messages": message})
            more = await self.bob.sync(since=whole["next_batch"])
            events = more["rooms"]["join"][self.room]["timeline"]["events"]
            self.assertEqual([event["event_id"] for event in events], [event_id], future)
            self.assertEqual(len(more["to_device"]["events"]), 1, future)

    async def test_garbage_leads_to_a_full_sync(self) -> None:
        for garbage in ("x", "s", "s1", "s1_2", "s1_2_3_4", "s-1_0_0", "sa_b_c", "1" * 500, "t5"):
            whole = await self.bob.sync(since=garbage, timeout=30_000)
            self.assertIn(self.room, whole["rooms"]["join"], garbage)

    async def test_the_oldest_token_works_after_restarts(self) -> None:
        since = (await self.bob.sync())["next_batch"]
        said = []
        for _ in range(3):
            said += [await self.alice.say(self.room, "hello") for _ in range(3)]
            await self.hearth.restart()
        for _ in range(2):
            more = await self.bob.sync(since=since)
            events = more["rooms"]["join"][self.room]["timeline"]["events"]
            self.assertEqual([event["event_id"] for event in events], said)
