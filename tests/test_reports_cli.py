"""`hearth reports`: what the organizer reads, beside the running server."""

import subprocess
import sys
from io import StringIO

from rich.console import Console
from twisted.internet.threads import deferToThread

from homeserver.cli.reports import print_list, print_one
from homeserver.reports import Subject
from storage.reports import KeptReport, Report
from tests.processes import ROOT, ServerProcess
from tests.support import WireTest

RUDE = "\x1b[31mrude\n[bold]to[/bold] me"


class CommandTest(WireTest):
    """Bob reports, and Olga, who runs the server, reads."""

    async def test_reports_are_listed_read_and_done(self) -> None:
        hearth = ServerProcess(self, {})
        self.addCleanup(hearth.kill)
        self.hearth = await hearth.start()
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(preset="public_chat", name="The street")
        await bob.join(room)
        said = await alice.say(room, "Get lost")
        secret = await alice.send(room, "m.room.encrypted", {"ciphertext": "x"})
        await bob.ask("POST", f"/rooms/{room}/report/{said}", {"reason": RUDE})
        await bob.ask("POST", f"/rooms/{room}/report/{secret}", {})
        await bob.ask("POST", f"/rooms/{room}/report", {"reason": "noise"})
        await bob.ask("POST", f"/users/{alice.id}/report", {"reason": "spam"})
        code, listed = await self.run_command("list")
        rows = [line.split("\t") for line in listed.splitlines()]
        self.assertEqual((code, [row[0] for row in rows]), (0, ["1", "2", "3", "4"]))
        about = [f"a message of {alice.id}", f"a message of {alice.id}", f"the room {room}"]
        self.assertEqual([row[3] for row in rows], [*about, alice.id])
        self.assertEqual({row[2] for row in rows}, {bob.id})
        self.assertEqual(rows[0][4], " [31mrude [bold]to[/bold] me")
        _, shown = await self.run_command("show", "1")
        facts = dict(line.split("\t", 1) for line in shown.splitlines())
        self.assertEqual((facts["Room name"], facts["Event"]), ("The street", said))
        self.assertIn("Get lost", facts["Content"])
        _, shown = await self.run_command("show", "2")
        self.assertIn("only the people in the room can read it", shown)
        self.assertEqual((await self.run_command("done", "1", "3"))[0], 0)
        _, listed = await self.run_command("list")
        self.assertEqual([line.split("\t")[0] for line in listed.splitlines()], ["2", "4"])
        _, listed = await self.run_command("list", "--all")
        done = [bool(line.split("\t")[5]) for line in listed.splitlines()]
        self.assertEqual(done, [True, False, True, False])
        for arguments in (("show", "9"), ("done", "2", "9")):
            code, answer = await self.run_command(*arguments)
            self.assertEqual((code, answer), (1, "There is no report number 9\n"))
        _, listed = await self.run_command("list")
        self.assertEqual(len(listed.splitlines()), 2, "a refusal has done nothing")

    async def run_command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of the command."""
        command = [sys.executable, "-m", "homeserver", "reports", *arguments]
        command += ["--config", str((self.hearth.data / "hearth.yaml").resolve())]
        run = await deferToThread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        return run.returncode, run.stdout + run.stderr


class TerminalTest(WireTest):
    """On a terminal there are tables, and nobody's words command it."""

    def setUp(self) -> None:
        self.screen = StringIO()
        self.console = Console(file=self.screen, force_terminal=True, color_system=None, width=120)

    def test_a_table_shows_words_as_they_are(self) -> None:
        report = Report("@bob:localhost", 0, None, None, "@alice:localhost", RUDE)
        print_list(self.console, [KeptReport(7, report, None)], also_done=False)
        print_one(self.console, KeptReport(7, report, None), Subject(None, None))
        shown = self.screen.getvalue()
        self.assertEqual(shown.count(" [31mrude [bold]to[/bold] me"), 2)
        self.assertNotIn("\x1b", shown)
        self.assertIn("┃ Number ┃", shown)

    def test_nothing_is_said_in_words(self) -> None:
        print_list(self.console, [], also_done=False)
        self.assertIn("Nobody has reported anything", self.screen.getvalue())
