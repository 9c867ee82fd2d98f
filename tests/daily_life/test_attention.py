"""What asks for somebody's attention: mentions, badges, and what they keep for later."""

from tests.daily_life.device import DailyLife

LATER = "m.marked_unread"


class BadgeTest(DailyLife):
    """The numbers on a room: what is unread, and what is meant for its reader."""

    async def test_a_mention_lights_up_and_goes_out_on_every_device(self) -> None:
        alice, bob, carol = await self.people("alice", "bob", "carol")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob, carol)
        await self.everybody_looks()

        # Bob is named twice; that somebody merely writes of him does not count as a mention.
        await alice.say(street, "Has anybody seen bob?")
        await alice.mention(street, "There you are", bob)
        ladder = await carol.mention(street, "Will you two bring the ladder?", alice, bob)
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.badge(street), (3, 2))
        self.assertEqual(alice.badge(street), (1, 1))
        self.assertEqual(carol.badge(street), (0, 0))

        await self.hearth.restart()

        newcomer = await self.another_device(bob)
        await newcomer.sync()
        self.assertEqual(newcomer.badge(street), (3, 2))
        await tablet.read(street, ladder)
        await self.everybody_looks()
        for device in (bob, tablet, newcomer):
            self.assertEqual(device.badge(street), (0, 0))
        self.assertEqual(carol.receipts_of(street, bob), {"": ladder})
        self.assertEqual(alice.badge(street), (1, 1))

        # To answer is to have read.
        await alice.say(street, "I do")
        await self.everybody_looks()
        self.assertEqual(alice.badge(street), (0, 0))
        self.assertEqual(bob.badge(street), (1, 0))

    async def test_what_was_taken_back_or_edited_is_counted_no_more_nor_twice(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob)
        await self.everybody_looks()
        await alice.say(street, "Good morning")
        slip = await alice.mention(street, "Bob, you forgot your", bob)
        await self.everybody_looks()
        self.assertEqual(tablet.badge(street), (2, 1))
        await self.hearth.restart()
        await alice.redact(street, slip)
        hat = await alice.say(street, "There is a hat")
        await alice.edit(street, hat, "There is a hat in the hall")
        await alice.react(street, hat, "🎩")
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.badge(street), (2, 0))

    async def test_calling_the_whole_room_takes_the_level_for_it(self) -> None:
        alice, bob, carol = await self.people("alice", "bob", "carol")
        tablet = await self.another_device(carol)
        street = await self.room(alice, bob, carol)
        await self.everybody_looks()
        everybody = {"m.mentions": {"room": True}}
        await bob.say(street, "@room I am bored", **everybody)
        await self.everybody_looks()
        for device in (carol, tablet):
            self.assertEqual(device.badge(street), (1, 0))
        await self.hearth.restart()
        await alice.say(street, "@room The water will be off", **everybody)
        await self.everybody_looks()
        for device in (carol, tablet):
            self.assertEqual(device.badge(street), (2, 1))
        self.assertEqual(bob.badge(street), (1, 1))

        # Alice lets everybody do so.
        levels = alice.state(street, "m.room.power_levels")
        await alice.person.set_state(
            street, "m.room.power_levels", {**levels, "notifications": {"room": 0}}
        )
        await bob.say(street, "@room Thank you", **everybody)
        await self.everybody_looks()
        self.assertEqual(tablet.badge(street)[1], 2)

    async def test_a_silenced_room_shows_only_what_is_meant_for_its_reader(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob)
        await bob.ask("PUT", f"/pushrules/global/room/{street}", {"actions": []})
        await self.everybody_looks()
        await alice.say(street, "Chatter")
        await alice.mention(street, "Bob, your bath is running over", bob)
        await self.hearth.restart()
        await alice.say(street, "More chatter")
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.badge(street), (1, 1))


class LaterTest(DailyLife):
    """Marking a room as unread, to come back to it."""

    async def test_bob_keeps_a_room_for_the_evening(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob)
        form = await alice.say(street, "Please fill in this form")
        await bob.read(street, form)
        await bob.note(street, LATER, {"unread": True})
        await self.everybody_looks()
        await self.hearth.restart()
        newcomer = await self.another_device(bob)
        await newcomer.sync()
        for device in (bob, tablet, newcomer):
            self.assertEqual(device.room(street).account_data[LATER], {"unread": True})
            self.assertEqual(device.badge(street), (0, 0))

        # In the evening he takes the tablet. Alice never learns of any of it.
        await tablet.note(street, LATER, {"unread": False})
        await self.everybody_looks()
        for device in (bob, tablet, newcomer):
            self.assertEqual(device.room(street).account_data[LATER], {"unread": False})
        self.assertNotIn(LATER, alice.room(street).account_data)
