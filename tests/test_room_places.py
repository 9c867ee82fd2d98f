"""Positions of the stream, and the numbers of a room's events at them."""

from typing import Any

from storage import events
from tests.support import Server, WireTest

MANY = 400


class PlacesTest(WireTest):
    """How far a room had come: what every /sync that comes back late asks first."""

    async def test_every_position_has_its_place_in_each_room(self) -> None:
        hearth = await self.server()
        alice = await hearth.person("alice")
        rooms = [await alice.create_room() for _ in range(2)]
        for number in range(10):
            await alice.say(rooms[number % 2], f"message {number}")

        def places(txn: Any) -> None:
            top = txn.value("SELECT MAX(position) FROM events")
            for room in [*rooms, "!nowhere"]:
                where = "FROM events WHERE room_id = ? AND position <= ?"
                for position in range(top + 2):
                    obvious = txn.value(f"SELECT COUNT(*) {where}", room, position)
                    self.assertEqual(events.seq_at(txn, room, position), obvious)

        await hearth.app.storage.store.read(places)

    async def test_a_long_room_is_not_looked_through(self) -> None:
        hearth = await self.server()
        if hearth.app.storage.store._engine.name != "sqlite":
            self.skipTest("Only SQLite counts its steps")
        alice = await hearth.person("alice")
        room = await alice.create_room()
        first = await self.newest(hearth)
        for number in range(MANY):
            await alice.say(room, f"message {number}")
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        def look(txn: Any) -> None:
            connection = txn._cursor.connection
            connection.set_progress_handler(step, 1)
            events.seq_at(txn, room, first)
            connection.set_progress_handler(None, 1)

        await hearth.app.storage.store.read(look)
        self.assertLess(steps, 2 * MANY)

    async def newest(self, hearth: Server) -> int:
        position: int = await hearth.app.storage.store.read(
            lambda txn: txn.value("SELECT MAX(position) FROM events")
        )
        return position
