"""The story of a bot that is an application service."""

from __future__ import annotations

import asyncio

from device import Device
from echo_bot import USER_ID, EchoBot
from people import NIO, Neighbourhood
from waiting import until


async def an_encrypted_bot(town: Neighbourhood) -> None:
    """a bot on mautrix's application service reads and answers, also what it missed (nio)"""
    alice = await town.person("alice", NIO, NIO)
    bot = EchoBot(town.server.url, town.server.echo)
    await bot.start()
    try:
        phone = alice.devices[0]
        room = await phone.create_room([USER_ID])
        for device in alice.devices:
            await has_met(device, room)
        first = [f"message {number}" for number in range(5)]
        for number, text in enumerate(first):
            await alice.devices[number % 2].say(room, text)
        for device in alice.devices:
            await hears_echoes(device, first)
        # The bot is down, then the server; each message needs a key that the bot has not got yet.
        await bot.stop()
        missed = [f"missed {number}" for number in range(6)]
        for number, text in enumerate(missed):
            if number == 3:
                await town.server.kill()
                await town.server.start()
                await asyncio.gather(*(device.wake() for device in alice.devices))
            await phone.renew_keys(room)
            await phone.say(room, text)
        await bot.start()
        await until("the bot has read everything", lambda: len(bot.heard) == len(first + missed))
        for device in alice.devices:
            await hears_echoes(device, missed)
        if bot.problems or bot.heard[len(first) :] != missed:
            raise AssertionError(f"The bot has read {bot.heard}, but: {bot.problems}")
    finally:
        await bot.stop()


async def has_met(device: Device, room: str) -> None:
    async def is_here() -> bool:
        return USER_ID in await device.joined_members(room)

    await until(f"{device.name} sees the bot in the room", is_here)


async def hears_echoes(device: Device, texts: list[str]) -> None:
    wanted = {f"echo of {text}" for text in texts}

    def shown() -> bool:
        readable = (seen for seen in device.received.values() if seen.readable)
        return wanted <= {seen.content.get("body") for seen in readable}

    await until(f"{device.name} reads every echo", shown)
