"""People find, enter and move rooms: a space, a knock at the door, a room that is replaced."""

from tests.daily_life.device import DailyLife, Device, quoted

V1 = "/_matrix/client/v1"


class SpaceTest(DailyLife):
    """A space shows its rooms, and lets its members into them."""

    async def test_carol_comes_into_the_space_and_through_it_into_its_rooms(self) -> None:
        alice, carol, stranger = await self.people("alice", "carol", "stranger")
        tablet = await self.another_device(carol)
        house = await alice.person.create_room(name="House 7", creation_content={"type": "m.space"})
        for_members = {
            "join_rule": "restricted",
            "allow": [{"type": "m.room_membership", "room_id": house}],
        }
        rules = {"type": "m.room.join_rules", "state_key": "", "content": for_members}
        stairs = await self.room(alice, name="Stairs", initial_state=[rules])
        cellar = await self.room(alice, name="Cellar", initial_state=[rules])
        closet = await self.room(alice, name="Alice's closet")
        for order, room in (("b", stairs), ("a", cellar), ("c", closet)):
            child = {"via": ["localhost"], "order": order}
            await alice.person.set_state(house, "m.space.child", child, room)
        await self.everybody_looks()

        # Before she belongs to the house she neither sees its rooms nor comes in.
        self.assertEqual(await carol.tries("POST", f"/join/{stairs}"), (403, "M_FORBIDDEN"))
        await alice.ask("POST", f"/rooms/{house}/invite", {"user_id": carol.id})
        await self.everybody_looks()
        self.assertEqual((carol.invited, tablet.invited), ({house}, {house}))
        await tablet.person.join(house)
        await self.everybody_looks()
        self.assertEqual(carol.state(house, "m.room.create")["type"], "m.space")

        await self.hearth.restart()

        # Now both open rooms are listed, in the order that Alice has given them.
        page = await carol.ask("GET", f"{V1}/rooms/{house}/hierarchy")
        names = [room["name"] for room in page["rooms"]]
        self.assertEqual(names, ["House 7", "Cellar", "Stairs"])
        await carol.person.join(stairs)
        await alice.say(stairs, "Welcome")
        await self.everybody_looks()
        for device in (carol, tablet):
            self.assertEqual(set(device.joined), {house, stairs})
            self.assertEqual(device.shown(stairs), ["Welcome"])
        self.assertEqual(alice.membership(stairs, carol), "join")
        self.assertEqual(await carol.tries("POST", f"/join/{closet}"), (403, "M_FORBIDDEN"))
        self.assertEqual(await stranger.tries("POST", f"/join/{stairs}"), (403, "M_FORBIDDEN"))

        # Who leaves the house stays on the stairs, but finds the cellar locked.
        await carol.ask("POST", f"/rooms/{house}/leave")
        self.assertEqual(await carol.tries("POST", f"/join/{cellar}"), (403, "M_FORBIDDEN"))
        await self.everybody_looks()
        self.assertEqual(set(tablet.joined), {stairs})


class KnockTest(DailyLife):
    """Somebody outside asks to be let in."""

    async def test_bob_knocks_and_is_let_in(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        kitchen = await self.room(alice, name="Kitchen", initial_state=[rules])
        await alice.say(kitchen, "Between us")
        await self.everybody_looks()

        self.assertEqual(await bob.tries("POST", f"/join/{kitchen}"), (403, "M_FORBIDDEN"))
        await bob.ask("POST", f"/knock/{kitchen}", {"reason": "It is Bob"})
        await self.everybody_looks()
        for device in (bob, tablet):
            stripped = device.news["rooms"]["knock"][kitchen]["knock_state"]["events"]
            self.assertIn({"name": "Kitchen"}, [event["content"] for event in stripped])
        knock = alice.room(kitchen).state["m.room.member", bob.id]
        self.assertEqual(knock["content"]["membership"], "knock")
        self.assertEqual(knock["content"]["reason"], "It is Bob")

        await self.hearth.restart()

        await alice.ask("POST", f"/rooms/{kitchen}/invite", {"user_id": bob.id})
        await self.everybody_looks()
        self.assertEqual((bob.invited, tablet.invited), ({kitchen}, {kitchen}))
        await tablet.person.join(kitchen)
        await alice.say(kitchen, "Come in")
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.invited, set())
            self.assertEqual(device.shown(kitchen)[-1:], ["Come in"])
        self.assertEqual(alice.membership(kitchen, bob), "join")

    async def test_a_knock_is_turned_away(self) -> None:
        alice, mallory = await self.people("alice", "mallory")
        tablet = await self.another_device(mallory)
        rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        kitchen = await self.room(alice, initial_state=[rules])
        await mallory.ask("POST", f"/knock/{kitchen}")
        await self.everybody_looks()
        await self.hearth.restart()
        no = {"user_id": mallory.id, "reason": "Not today"}
        await alice.ask("POST", f"/rooms/{kitchen}/kick", no)
        await self.everybody_looks()
        for device in (mallory, tablet):
            events = device.news["rooms"]["leave"][kitchen]["timeline"]["events"]
            events += device.news["rooms"]["leave"][kitchen]["state"]["events"]
            self.assertIn("Not today", [event["content"].get("reason") for event in events])
        self.assertEqual(alice.membership(kitchen, mallory), "leave")


class UpgradeTest(DailyLife):
    """A room is replaced by one of a newer version, and life goes on there."""

    def silenced(self, device: Device) -> set[str]:
        """The rooms whose messages the owner wants no notifications of."""
        rules = device.account_data["m.push_rules"]["global"]["room"]
        return {rule["rule_id"] for rule in rules if not rule["actions"]}

    async def test_the_street_moves_with_everybody_and_everything(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        old = await self.room(
            alice, preset="public_chat", name="Our street", room_alias_name="street"
        )
        await bob.person.join(old)
        await bob.ask("PUT", f"/user/{bob.id}/rooms/{old}/tags/m.favourite", {"order": 0.5})
        await bob.ask("PUT", f"/pushrules/global/room/{quoted(old)}", {"actions": []})
        last = await alice.say(old, "We are moving")
        await self.everybody_looks()
        self.assertEqual(tablet.badge(old), (0, 0))

        answer = await alice.ask("POST", f"/rooms/{old}/upgrade", {"new_version": "12"})
        new = answer["replacement_room"]
        await self.everybody_looks()
        for device in (alice, bob, tablet):
            tombstone = device.state(old, "m.room.tombstone")
            self.assertEqual(tombstone["replacement_room"], new)
        self.assertEqual(alice.state(new, "m.room.create")["predecessor"]["room_id"], old)

        # The old room is closed for talk, and can still be read.
        path = f"/rooms/{old}/send/m.room.message/1"
        message = {"msgtype": "m.text", "body": "Still here?"}
        self.assertEqual(await bob.tries("PUT", path, message), (403, "M_FORBIDDEN"))
        found = await bob.ask("GET", f"/rooms/{old}/event/{last}")
        self.assertEqual(found["content"]["body"], "We are moving")

        await self.hearth.restart()

        # Bob follows, as his client does when he taps on the tombstone. The street's address
        # leads to the new room already.
        resolved = await bob.ask("GET", f"/directory/room/{quoted('#street:localhost')}")
        self.assertEqual(resolved["room_id"], new)
        await bob.person.join(new)
        await alice.say(new, "Nice here")
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.state(new, "m.room.name"), {"name": "Our street"})
            self.assertEqual(device.shown(new), ["Nice here"])
            tags = device.room(new).account_data["m.tag"]["tags"]
            self.assertEqual(tags, {"m.favourite": {"order": 0.5}})
            self.assertEqual(self.silenced(device), {old, new})
            self.assertEqual(device.badge(new), (0, 0))
        self.assertEqual(alice.membership(new, bob), "join")

    async def test_a_private_room_moves_with_an_invitation_for_everybody(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        old = await self.room(alice, bob, name="Choir")
        await bob.note(old, "m.tag", {"tags": {"u.music": {}}})
        answer = await alice.ask("POST", f"/rooms/{old}/upgrade", {"new_version": "11"})
        new = answer["replacement_room"]
        await self.everybody_looks()
        self.assertEqual(await bob.tries("POST", f"/join/{new}"), (403, "M_FORBIDDEN"))

        await self.hearth.restart()

        # Alice's client invites who was in the old room, and the tombstone waits to be read.
        await alice.ask("POST", f"/rooms/{new}/invite", {"user_id": bob.id})
        await self.everybody_looks()
        self.assertEqual((bob.invited, tablet.invited), ({new}, {new}))
        self.assertEqual(tablet.badge(old), (1, 1))
        await tablet.person.join(new)
        await tablet.read(old, tablet.room(old).state["m.room.tombstone", ""]["event_id"])
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.badge(old), (0, 0))
            tags = device.room(new).account_data["m.tag"]["tags"]
            self.assertEqual(tags, {"u.music": {}})
