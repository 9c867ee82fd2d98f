"""Ten people with twenty devices, while people, devices and the server itself come and go.

What a device must have in the end is worded so that only the server can be at fault. A device
*stands* while every standing device has synced past its arrival, and until it says farewell. It is
entitled to a message if it stood when the send began and still did when the server acknowledged it.
Whoever goes says farewell first, and settles the account: all it is entitled to is there and
readable, once each. So nothing depends on what a client cannot know yet, or shows no more.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial

from device import Device
from nio_device import NioDevice
from people import JS, NIO, Neighbourhood, Person, ready_to_talk, room_of
from waiting import until

SECONDS = float(os.environ.get("HEARTH_CHAOS_SECONDS", "12"))
SETTLES_WITHIN = 60.0
AWAY_AT_MOST = 3
BETWEEN_MESSAGES = (0.3, 2.5)
BETWEEN_KILLS = (1.5, 5.0)
DOWN = (0.0, 1.0)
TRY_AGAIN_AFTER = 0.2
NAMES = ("anna", "bernd", "clara", "david", "emma", "franz", "greta", "hans", "ida", "jakob")


async def a_neighbourhood_in_chaos(town: Neighbourhood) -> None:
    """ten people, twenty devices: all come and go, the server is killed, nobody misses a message"""
    seed = os.environ.get("HEARTH_CHAOS_SEED") or secrets.token_hex(4)
    people = await town.people(**dict.fromkeys(NAMES, (JS, NIO)))
    chaos = Chaos(town, await room_of(town, people), people, seed)
    try:
        await chaos.run()
    except BaseException:
        print(f"        HEARTH_CHAOS_SEED={seed} brings these moments back; {chaos.summary()};")
        print(f"        the last: {chaos.last_change}", flush=True)
        raise
    print(f"        seed {seed}: {chaos.summary()}", flush=True)


a_neighbourhood_in_chaos.may_take = SECONDS + 120  # type: ignore[attr-defined]


class Chaos:
    """One room; ``people[0]`` is in charge of it and never leaves."""

    def __init__(self, town: Neighbourhood, room: str, people: list[Person], seed: str) -> None:
        self._town = town
        self._room = room
        self._people = people
        self._away: list[Person] = []
        self._seed = seed
        self._chance = random.Random(seed)
        self._end = asyncio.get_running_loop().time() + SECONDS
        self._standing: set[Device] = set()
        self._talks: dict[Device, asyncio.Task[None]] = {}
        self._speaking: defaultdict[Device, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._said: dict[str, str] = {}
        self._entitled: dict[str, frozenset[Device]] = {}
        self._accounts: list[tuple[Device, list[str]]] = []
        self._kills = 0
        self._changes: list[str] = []

    @property
    def last_change(self) -> str:
        return self._changes[-1] if self._changes else "nothing"

    def summary(self) -> str:
        owed = sum(map(len, self._entitled.values()))
        happened = f"{self._kills} kills, {len(self._changes)} changes"
        return f"{len(self._said)} messages owed {owed} times, {happened}"

    async def run(self) -> None:
        killing = asyncio.create_task(self._cut_the_power())
        try:
            await self._stand([device for person in self._people for device in person.devices])
            while asyncio.get_running_loop().time() < self._end:
                await self._change()
            await killing
            reader = next(d for d in self._standing if isinstance(d, NioDevice))
            await self._farewell(list(self._standing))
            self._check_order(list(reversed(await reader.history(self._room))))
        finally:
            self._end = 0.0
            for talk in self._talks.values():
                talk.cancel()
            await asyncio.gather(killing, *self._talks.values(), return_exceptions=True)

    async def _cut_the_power(self) -> None:
        """Kill the server again and again; it runs afterwards."""
        chance = random.Random(f"{self._seed} kills")
        while asyncio.get_running_loop().time() < self._end:
            await asyncio.sleep(chance.uniform(*BETWEEN_KILLS))
            try:
                await self._town.server.kill()
                await asyncio.sleep(chance.uniform(*DOWN))
            finally:
                await self._town.server.start()
            self._kills += 1
            devices = [device for person in self._people for device in person.devices]
            await asyncio.gather(*(device.wake() for device in devices))

    # What happens to people and devices, one thing at a time

    async def _change(self) -> None:
        kinds: list[Callable[[], Awaitable[None]]] = [self._somebody_gets_a_new_device]
        if len(self._away) < AWAY_AT_MOST:
            kinds.append(self._somebody_leaves)
        if self._away:
            kinds.append(self._somebody_returns)
        await self._chance.choice(kinds)()

    async def _somebody_leaves(self) -> None:
        person = self._chance.choice([p for p in self._people[1:] if p not in self._away])
        self._changes.append(f"{person.user} leaves")
        await self._farewell(person.devices)
        self._away.append(person)

        async def gone() -> bool:
            members = [await device.joined_members(self._room) for device in person.devices]
            return not any(members)

        await insist(f"{person.user} leaves", partial(person.devices[0].leave, self._room), gone)
        await self._settled()

    async def _somebody_returns(self) -> None:
        person = self._away.pop(self._chance.randrange(len(self._away)))
        self._changes.append(f"{person.user} returns")
        device = person.devices[0]
        for each in person.devices:
            each.arrivals.clear()  # what they knew before comes again with the room
        invite = partial(self._people[0].devices[0].invite, self._room, person.user_id)
        invited = partial(device.is_invited, self._room)
        await insist(f"{person.user} is invited", invite, invited)

        async def back() -> bool:
            return bool(await device.joined_members(self._room))

        await insist(f"{person.user} returns", partial(device.join, self._room), back)
        await self._settled()
        await self._stand(person.devices)

    async def _somebody_gets_a_new_device(self) -> None:
        person = self._chance.choice(self._people)
        old = self._chance.choice(person.devices)
        self._changes.append(f"{old.name} is replaced")
        person.devices.remove(old)
        if person in self._away:
            await until(f"{old.name} signs out", partial(signed_out, old), SETTLES_WITHIN)
            await self._sign_in(person, old.kind)
            return
        await self._farewell([old])
        await until(f"{old.name} signs out", partial(signed_out, old), SETTLES_WITHIN)
        for other in self._standing:
            await until(f"{other.name} forgets {old.name}", partial(forgot, other, old))
        new = await self._sign_in(person, old.kind)
        await self._settled()
        await self._stand([new])

    async def _sign_in(self, person: Person, kind: str) -> Device:
        """A power cut in the middle may leave a device behind that never works."""
        before = list(person.devices)

        async def signed_in() -> Device | None:
            try:
                return await self._town.sign_in(person, NIO if kind == NIO else JS)
            except AssertionError:
                person.devices[:] = before
                await asyncio.sleep(TRY_AGAIN_AFTER)
                return None

        device = await until(f"{person.user} signs in", signed_in, SETTLES_WITHIN)
        assert isinstance(device, Device)
        return device

    async def _settled(self) -> None:
        await ready_to_talk(self._room, [p for p in self._people if p not in self._away])

    # Messages

    async def _stand(self, devices: list[Device]) -> None:
        await asyncio.gather(*(self._renew(d) for d in self._standing if isinstance(d, NioDevice)))
        self._standing.update(devices)
        for device in devices:
            self._talks[device] = asyncio.create_task(self._talk(device))

    async def _renew(self, device: NioDevice) -> None:
        """Between two messages: nio leaves devices out that come while it shares a session."""
        async with self._speaking[device]:
            await device.renew_keys(self._room)

    async def _talk(self, device: Device) -> None:
        chance = random.Random(f"{self._seed} {device.name}")
        number = 0
        while device in self._standing:
            await asyncio.sleep(chance.uniform(*BETWEEN_MESSAGES))
            number += 1
            text = f"{device.name}, message {number} of its talk"
            async with self._speaking[device]:
                listeners = frozenset(self._standing)
                event_id = await device.say(self._room, text)
            if event_id in self._said:
                raise AssertionError(f"{text!r} has the event id of {self._said[event_id]!r}")
            self._said[event_id] = text
            self._entitled[event_id] = listeners & self._standing

    async def _farewell(self, devices: list[Device]) -> None:
        """Nothing more is sent by them or owed to them; what is owed so far is there."""
        self._standing.difference_update(devices)
        await asyncio.gather(*(self._talks[device] for device in devices))
        await asyncio.gather(*(self._settle_account(device) for device in devices))

    async def _settle_account(self, device: Device) -> None:
        settled = {e for each, events in self._accounts if each is device for e in events}
        owed = {e for e, entitled in self._entitled.items() if device in entitled} - settled
        for event_id in owed:
            await device.reads(event_id, self._said[event_id])
        if twice := [self._said[e] for e in owed if device.arrivals[e] != 1]:
            raise AssertionError(f"{device.name} was not told exactly once: {twice}")
        self._accounts.append((device, [e for e in device.arrivals if e in owed]))

    def _check_order(self, history: list[str]) -> None:
        """The room holds what was said, once each, and every account is in the room's order."""
        if len(history) != len(set(history)):
            raise AssertionError("The history has doubled events")
        if strange := set(history) ^ self._said.keys():
            raise AssertionError(f"Only in the history or only acknowledged: {strange}")
        place = {event_id: number for number, event_id in enumerate(history)}
        for device, events in self._accounts:
            if events != sorted(events, key=place.__getitem__):
                raise AssertionError(f"{device.name} got {len(events)} messages out of order")


async def insist(
    what: str, deed: Callable[[], Awaitable[None]], shown: Callable[[], Awaitable[bool]]
) -> None:
    """Do it, again after a failure, until /sync shows it: the answer may be lost in a power cut."""
    acknowledged = False

    async def done() -> bool:
        nonlocal acknowledged
        try:
            if not acknowledged:
                await deed()
                acknowledged = True
        except AssertionError:
            await asyncio.sleep(TRY_AGAIN_AFTER)
        return await shown()

    await until(what, done, SETTLES_WITHIN)


async def signed_out(device: Device) -> bool:
    try:
        await device.sign_out()
    except AssertionError as error:
        await asyncio.sleep(TRY_AGAIN_AFTER)
        return "M_UNKNOWN_TOKEN" in str(error)  # an earlier try went through
    return True


async def forgot(device: Device, other: Device) -> bool:
    return not await device.knows(other)
