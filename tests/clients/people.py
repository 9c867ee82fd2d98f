"""People with their devices, and how they meet in a room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from device import Device
from js_device import JsDevice, Node
from nio_device import NioDevice
from server import Server
from waiting import until

PASSWORD = "correct horse battery staple"
NIO, JS = "nio", "js"


@dataclass
class Person:
    user: str
    devices: list[Device] = field(default_factory=list)

    @property
    def user_id(self) -> str:
        return self.devices[0].user_id


class Neighbourhood:
    """The people of one story. Their names carry the story's, so that stories share a server."""

    def __init__(self, story: str, server: Server, node: Node) -> None:
        self.server = server
        self.devices: list[Device] = []
        self._story = story
        self._node = node

    async def person(self, name: str, *kinds: str) -> Person:
        """Register, and sign in on one device of each kind named."""
        person = Person(f"{name}.{self._story}")
        await self.new_device(person, kinds[0]).register(PASSWORD)
        for kind in kinds[1:]:
            await self.sign_in(person, kind)
        return person

    async def people(self, **kinds: tuple[str, ...]) -> list[Person]:
        return list(await asyncio.gather(*(self.person(n, *k) for n, k in kinds.items())))

    async def sign_in(self, person: Person, kind: str) -> Device:
        """A further device of somebody who is registered."""
        device = self.new_device(person, kind)
        await device.sign_in(PASSWORD)
        return device

    def new_device(self, person: Person, kind: str) -> NioDevice | JsDevice:
        """A device that nobody has signed in on yet."""
        number = sum(device.owner == person.user for device in self.devices) + 1
        label = f"device {number}"
        device = (
            NioDevice(person.user, label, self.server.url)
            if kind == NIO
            else JsDevice(person.user, label, self.server.url, self._node)
        )
        person.devices.append(device)
        self.devices.append(device)
        return device

    async def close(self) -> None:
        await asyncio.gather(*(device.close() for device in self.devices), return_exceptions=True)


RoomMaker = Callable[[Neighbourhood, list[Person]], Awaitable[str]]
"""Makes a room in which all the people are joined; the first of them is in charge."""


async def group_room(_: Neighbourhood, people: list[Person]) -> str:
    """The first person makes a private group and invites the others, who join."""
    return await invite_everyone(people, direct=False)


async def direct_room(_: Neighbourhood, people: list[Person]) -> str:
    """The first person makes a direct room and invites the other one, who joins."""
    return await invite_everyone(people, direct=True)


async def room_of(town: Neighbourhood, people: list[Person], make: RoomMaker = group_room) -> str:
    """A room of the people, all of them in it and ready to talk."""
    room = await make(town, people)
    await ready_to_talk(room, people)
    return room


async def invite_everyone(people: list[Person], direct: bool) -> str:
    first, *others = people
    room = await first.devices[0].create_room([person.user_id for person in others], direct)
    await asyncio.gather(*(accept_invite(room, person) for person in others))
    return room


async def accept_invite(room: str, person: Person) -> None:
    device = person.devices[0]
    await until(f"{device.name} sees the invite", lambda: device.is_invited(room))
    await device.join(room)


async def ready_to_talk(room: str, people: Iterable[Person]) -> None:
    """Wait until every device sees everybody in the room and knows every other device."""
    people = list(people)
    everybody = {person.user_id for person in people}
    devices = [device for person in people for device in person.devices]

    async def settle(device: Device) -> None:
        async def sees_everybody() -> bool:
            return await device.joined_members(room) == everybody

        try:
            await until(f"{device.name} sees all members of {room}", sees_everybody)
        except AssertionError as error:
            seen = await device.joined_members(room)
            raise AssertionError(f"{error}; only one side has {seen ^ everybody}") from None
        for other in devices:
            if other is not device:
                await until(f"{device.name} knows {other.name}", partial(device.knows, other))

    await asyncio.gather(*(settle(device) for device in devices))


async def everybody_talks(room: str, people: Iterable[Person]) -> None:
    """Each device says something; every device reads all of it."""
    devices = [device for person in people for device in person.devices]
    said = {}
    for device in devices:
        text = f"{device.name} says hello"
        said[await device.say(room, text)] = text
    await asyncio.gather(*(d.reads(e, text) for d in devices for e, text in said.items()))
