"""Makes a family conversation the way the families service does, while the server is down.

family_room.py CONFIG NAME USER_ID=ROLE ...     prints the room id
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from homeserver.app import build
from homeserver.config import load


async def make(reactor: Any, config: Path, name: str, roster: dict[str, str]) -> None:
    app = build(load(config), reactor)
    await app.start()
    try:
        families = app.rooms.families
        room_id = await app.storage.store.write(lambda txn: families.create(txn, name, roster))
    finally:
        await app.stop()
    print(room_id)


def main(reactor: Any) -> "Deferred[None]":
    _, config, name, *people = sys.argv
    roster = dict(person.rsplit("=", 1) for person in people)
    return Deferred.fromCoroutine(make(reactor, Path(config), name, roster))


react(main)
