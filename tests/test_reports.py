"""Reports: kept for the organizer, and telling the reporter nothing."""

from typing import Any

from tests.support import Person, WireTest

REASON = {"reason": "This makes me sad"}


class ReportsTest(WireTest):
    """Client-server API, "Reporting Content"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def kept(self) -> list[tuple[Any, ...]]:
        sql = "SELECT reporter, room_id, event_id, user_id, reason FROM reports ORDER BY report_id"
        return await self.hearth.app.storage.store.read(lambda txn: txn.all(sql))

    async def report(self, who: Person, path: str, body: Any = REASON) -> tuple[int, str | None]:
        code, answer = await who.call("POST", path, body)
        return code, answer.get("errcode")

    async def test_reports_of_events_rooms_and_people_are_kept(self) -> None:
        room = await self.alice.create_room(preset="public_chat")
        event_id = await self.alice.say(room, "rude")
        await self.bob.join(room)
        await self.bob.ask("POST", f"/rooms/{room}/report/{event_id}", {"score": -100})
        await self.bob.ask("POST", f"/rooms/{room}/report", REASON)
        await self.bob.ask("POST", f"/users/{self.alice.id}/report", {"reason": ""})
        bob, alice, sad = self.bob.id, self.alice.id, REASON["reason"]
        await self.hearth.restart()
        self.assertEqual(
            await self.kept(),
            [
                (bob, room, event_id, alice, ""),
                (bob, room, None, None, sad),
                (bob, None, None, alice, ""),
            ],
        )

    async def test_an_event_is_reported_only_by_who_is_in_the_room_and_sees_it(self) -> None:
        room = await self.alice.create_room(
            preset="public_chat",
            initial_state=[
                {
                    "type": "m.room.history_visibility",
                    "state_key": "",
                    "content": {"history_visibility": "joined"},
                }
            ],
        )
        event_id = await self.alice.say(room, "secret")
        path = f"/rooms/{room}/report/{event_id}"
        missing = (404, "M_NOT_FOUND")
        self.assertEqual(await self.report(self.bob, path), missing)
        await self.bob.join(room)
        self.assertEqual(await self.report(self.bob, path), missing)
        world = [
            {
                "type": "m.room.history_visibility",
                "content": {"history_visibility": "world_readable"},
            }
        ]
        open_to_all = await self.alice.create_room(initial_state=world)
        event = await self.alice.say(open_to_all, "rude")
        await self.bob.ask("GET", f"/rooms/{open_to_all}/event/{event}")
        self.assertEqual(
            await self.report(self.bob, f"/rooms/{open_to_all}/report/{event}"), missing
        )
        other = await self.bob.create_room()
        for where in (f"{room}/report/$nothing", f"{other}/report/{event_id}", "!no:x/report/$a"):
            self.assertEqual(await self.report(self.bob, f"/rooms/{where}"), missing)
        self.assertEqual(await self.kept(), [])

    async def test_nobody_learns_what_exists(self) -> None:
        room = await self.alice.create_room()
        for path in (
            f"/rooms/{room}/report",
            "/rooms/!nothing:localhost/report",
            "/rooms/!nothing:elsewhere.org/report",
            f"/users/{self.alice.id}/report",
            "/users/@nobody:localhost/report",
            "/users/@somebody:elsewhere.org/report",
        ):
            self.assertEqual(await self.report(self.bob, path), (200, None), path)
        self.assertEqual(len(await self.kept()), 2)

    async def test_bad_reports_are_refused(self) -> None:
        user = f"/users/{self.alice.id}/report"
        for path, body, refusal in (
            (user, {}, (400, "M_MISSING_PARAM")),
            (user, {"reason": None}, (400, "M_BAD_JSON")),
            (user, {"reason": "x" * 5001}, (400, "M_BAD_JSON")),
            (user, {"reason": "\0"}, (400, "M_BAD_JSON")),
            ("/users/alice/report", REASON, (400, "M_INVALID_PARAM")),
            ("/rooms/x/report", REASON, (400, "M_INVALID_PARAM")),
            ("/rooms/x/report/$y", REASON, (400, "M_INVALID_PARAM")),
            ("/rooms/!x:y/report/$y", {"reason": 5}, (400, "M_BAD_JSON")),
        ):
            self.assertEqual(await self.report(self.bob, path, body), refusal, path)
        self.assertEqual(await self.kept(), [])

    async def test_nobody_fills_the_disk_nor_pushes_others_out(self) -> None:
        await self.alice.ask("POST", f"/users/{self.bob.id}/report", REASON)
        for number in range(203):
            body = {"reason": str(number)}
            await self.bob.ask("POST", f"/users/{self.alice.id}/report", body)
        reasons = [row[-1] for row in await self.kept()]
        self.assertEqual(reasons, [REASON["reason"], *(str(n) for n in range(3, 203))])
