"""People talk: replies, edits, reactions, second thoughts, and threads of their own."""

from tests.daily_life.device import DailyLife

MAIN = "main"


class TalkingTest(DailyLife):
    """One conversation, on every device alike."""

    async def test_alice_replies_edits_reacts_and_takes_back(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob)
        await self.everybody_looks()

        cake = await alice.say(street, "There is cake at six")
        answer = await bob.reply(street, cake, "I bring tea")
        await alice.react(street, answer, "🫖")
        slip = await bob.react(street, cake, "👎")
        await bob.react(street, cake, "🎂")
        await self.everybody_looks()
        for device in (alice, bob, tablet):
            self.assertEqual(device.shown(street), ["There is cake at six", "I bring tea"])
            self.assertEqual(device.reactions(street, cake), {"👎": 1, "🎂": 1})

        await self.hearth.restart()

        # Bob's thumb had slipped, and Alice is late.
        await bob.redact(street, slip)
        await alice.edit(street, cake, "There is cake at seven")
        await alice.edit(street, cake, "There is cake at eight")
        rude = await bob.say(street, "Typical!")
        await bob.redact(street, rude)
        await self.everybody_looks()
        newcomer = await self.another_device(alice)
        await newcomer.sync()
        for device in (alice, bob, tablet):
            self.assertEqual(device.shown(street), ["There is cake at eight", "I bring tea"])
            self.assertEqual(device.reactions(street, cake), {"🎂": 1})
            self.assertEqual(device.reactions(street, answer), {"🫖": 1})

        # A device that was not there finds the same, with the newest edit and what is left of
        # the words that were taken back: nothing.
        found = await newcomer.ask("GET", f"/rooms/{street}/event/{cake}")
        newest = found["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]
        self.assertEqual(newest["body"], "There is cake at eight")
        self.assertEqual(newcomer.shown(street)[-1:], ["I bring tea"])
        gone = await newcomer.ask("GET", f"/rooms/{street}/event/{rude}")
        self.assertEqual(gone["content"], {})
        self.assertIn("redacted_because", gone["unsigned"])

    async def test_nobody_edits_or_takes_back_what_somebody_else_said(self) -> None:
        alice, bob = await self.people("alice", "bob")
        street = await self.room(alice, bob)
        words = await alice.say(street, "My words")
        await self.everybody_looks()
        await self.hearth.restart()
        path = f"/rooms/{street}/redact/{words}/1"
        self.assertEqual(await bob.tries("PUT", path), (403, "M_FORBIDDEN"))
        await bob.edit(street, words, "Bob's words")
        await self.everybody_looks()
        for device in (alice, bob):
            self.assertEqual(device.shown(street), ["My words"])
            found = await device.ask("GET", f"/rooms/{street}/event/{words}")
            self.assertNotIn("m.replace", found["unsigned"].get("m.relations", {}))


class ThreadTest(DailyLife):
    """A thread has unread counts and receipts of its own."""

    async def test_bob_reads_the_thread_and_the_street_one_by_one(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob)
        await self.everybody_looks()

        party = await alice.say(street, "A party?")
        await alice.say_in_thread(street, party, "On Saturday?")
        to_bob = {"m.mentions": {"user_ids": [bob.id]}}
        saturday = await alice.say_in_thread(street, party, "Bob, you too?", **to_bob)
        noise = await alice.say(street, "Who lost a key?")
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.shown(street), ["A party?", "Who lost a key?"])
            self.assertEqual(device.badge(street), (2, 0))
            self.assertEqual(device.thread_badges(street), {party: (2, 1)})

        # Bob reads the thread on his tablet. His phone knows, and so does Alice.
        await tablet.read(street, saturday, party)
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.badge(street), (2, 0))
            self.assertEqual(device.thread_badges(street), {})
        self.assertEqual(alice.receipts_of(street, bob), {party: saturday})

        await self.hearth.restart()

        await bob.read(street, noise, MAIN)
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.badge(street), (0, 0))
        self.assertEqual(alice.receipts_of(street, bob), {party: saturday, MAIN: noise})

        # He answers in the thread: that is unread for Alice, and for nobody else.
        await bob.say_in_thread(street, party, "With pleasure")
        await self.everybody_looks()
        self.assertEqual(alice.thread_badges(street), {party: (1, 0)})
        self.assertEqual(alice.badge(street), (0, 0))
        self.assertEqual(tablet.thread_badges(street), {})
        threads = await alice.ask("GET", f"/_matrix/client/v1/rooms/{street}/threads")
        [thread] = threads["chunk"]
        about = thread["unsigned"]["m.relations"]["m.thread"]
        self.assertEqual(thread["event_id"], party)
        self.assertEqual(about["count"], 3)
        self.assertEqual(about["latest_event"]["content"]["body"], "With pleasure")

    async def test_reading_everything_at_once_covers_the_threads(self) -> None:
        alice, bob = await self.people("alice", "bob")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob)
        party = await alice.say(street, "A party?")
        last = await alice.say_in_thread(street, party, "On Saturday?")
        await self.hearth.restart()
        await self.everybody_looks()
        self.assertEqual(tablet.thread_badges(street), {party: (1, 0)})
        await bob.read(street, last)
        await self.everybody_looks()
        self.assertEqual(tablet.thread_badges(street), {})
        self.assertEqual(tablet.badge(street), (0, 0))
