"""Somebody is a nuisance: they are ignored, and the organizer is told."""

import subprocess
import sys

from twisted.internet.threads import deferToThread

from tests.daily_life.device import DailyLife
from tests.processes import ROOT, ServerProcess


class IgnoringTest(DailyLife):
    """What Mallory says does not reach Bob any more, and nobody else notices."""

    async def test_bob_has_had_enough_of_mallory(self) -> None:
        alice, bob, mallory = await self.people("alice", "bob", "mallory")
        tablet = await self.another_device(bob)
        street = await self.room(alice, bob, mallory)
        await self.everybody_looks()
        before = await mallory.mention(street, "You there!", bob)
        await self.everybody_looks()
        self.assertEqual(bob.badge(street), (1, 1))

        await bob.read(street, before)
        nobody_else = {"ignored_users": {mallory.id: {}}}
        await bob.ask("PUT", f"/user/{bob.id}/account_data/m.ignored_user_list", nobody_else)
        await mallory.mention(street, "Are you deaf?", bob)
        await mallory.person.create_room(invite=[bob.id])
        await alice.say(street, "Good morning")
        await self.everybody_looks()
        for device in (bob, tablet):
            self.assertEqual(device.account_data["m.ignored_user_list"], nobody_else)
            self.assertEqual(device.shown(street)[1:], ["Good morning"])
            self.assertEqual(device.badge(street), (1, 0))
            self.assertEqual(device.invited, set())

        await self.hearth.restart()

        # A device that Bob buys now does not even learn what Mallory said before.
        await mallory.say(street, "Hello?")
        newcomer = await self.another_device(bob)
        await self.everybody_looks()
        self.assertEqual(newcomer.shown(street), ["Good morning"])
        self.assertEqual(newcomer.badge(street), (1, 0))
        everything = ["You there!", "Are you deaf?", "Good morning", "Hello?"]
        for device in (alice, mallory):
            self.assertEqual(device.shown(street), everything)
        self.assertEqual(mallory.membership(street, bob), "join")

        # They make up. What was said meanwhile is there after all.
        await bob.ask(
            "PUT", f"/user/{bob.id}/account_data/m.ignored_user_list", {"ignored_users": {}}
        )
        await mallory.say(street, "Sorry")
        await self.everybody_looks()
        self.assertEqual(tablet.shown(street)[-1:], ["Sorry"])
        fresh = await self.another_device(bob)
        await fresh.sync()
        self.assertEqual(fresh.shown(street), [*everything, "Sorry"])


class ReportingTest(DailyLife):
    """A message, a person and a room are reported, and the organizer reads it."""

    async def setUp(self) -> None:
        await super().setUp()
        await self.hearth.stop()
        self.process = ServerProcess(self, {})
        self.addCleanup(self.process.kill)
        self.hearth = await self.process.start()

    async def organizer(self, *words: str) -> list[list[str]]:
        """What ``hearth reports`` prints, beside the running server: lines of fields."""
        command = [sys.executable, "-m", "homeserver", "reports", *words]
        command += ["--config", str((self.process.data / "hearth.yaml").resolve())]
        run = await deferToThread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        return [line.split("\t") for line in run.stdout.splitlines()]

    async def test_bob_tells_the_organizer(self) -> None:
        bob, mallory = await self.people("bob", "mallory")
        street = await self.room(mallory, preset="public_chat", name="Bargains")
        await bob.person.join(street)
        offer = await mallory.say(street, "Cheap bicycles, no questions")
        await self.everybody_looks()

        stolen = {"reason": "That is my bicycle"}
        await bob.ask("POST", f"/rooms/{street}/report/{offer}", stolen)
        await bob.ask("POST", f"/users/{mallory.id}/report", {"reason": "A thief"})

        await self.hearth.restart()

        await bob.ask("POST", f"/rooms/{street}/report", {"reason": "All stolen"})
        # Mallory takes the offer back, which helps as little as it would help to have heard of it.
        await mallory.redact(street, offer)
        await self.everybody_looks()
        self.assertNotIn("bicycle", str(mallory.news))

        listed = await self.organizer("list")
        self.assertEqual([row[2] for row in listed], [bob.id] * 3)
        self.assertEqual(
            [(row[3], row[4]) for row in listed],
            [
                (f"a message of {mallory.id}", "That is my bicycle"),
                (mallory.id, "A thief"),
                (f"the room {street}", "All stolen"),
            ],
        )
        facts = dict(row for row in await self.organizer("show", "1") if len(row) == 2)
        self.assertEqual((facts["Room name"], facts["Event"]), ("Bargains", offer))
        self.assertIn("no questions", facts["Content"])
        self.assertTrue(facts["Content"].startswith("redacted since"))
        await self.organizer("done", "1", "2", "3")
        self.assertEqual(await self.organizer("list"), [])
