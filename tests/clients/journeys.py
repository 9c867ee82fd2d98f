"""The stories: what people do with the clients, told in one language.

Each takes the neighbourhood it happens in, and fails with a sentence that says what did not happen.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from bots import an_encrypted_bot
from chaos import a_neighbourhood_in_chaos
from device import Device, Received
from js_device import JsDevice
from nio_device import NioDevice
from people import (
    JS,
    NIO,
    PASSWORD,
    Neighbourhood,
    Person,
    RoomMaker,
    accept_invite,
    direct_room,
    everybody_talks,
    group_room,
    ready_to_talk,
    room_of,
)
from waiting import until

MESSAGES = 15
NEW_KEYS_EVERY = 5

Journey = Callable[[Neighbourhood], Awaitable[None]]


def check(fact: object, sentence: str) -> None:
    if not fact:
        raise AssertionError(sentence)


async def two_people(town: Neighbourhood, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    alice, bob = await town.people(alice=first, bob=second)
    room = await room_of(town, [alice, bob], direct_room)
    await everybody_talks(room, [alice, bob])


async def two_people_on_nio(town: Neighbourhood) -> None:
    """two people with two devices each talk in a direct room (nio)"""
    await two_people(town, (NIO, NIO), (NIO, NIO))


async def two_people_on_js_sdk(town: Neighbourhood) -> None:
    """two people with two devices each talk in a direct room (js-sdk)"""
    await two_people(town, (JS, JS), (JS, JS))


async def two_people_on_both(town: Neighbourhood) -> None:
    """two people with two devices each talk in a direct room (nio and js-sdk mixed)"""
    await two_people(town, (JS, NIO), (NIO, JS))


async def a_room_of_five(town: Neighbourhood, make: RoomMaker = group_room) -> None:
    """five people share a room and read each other"""
    five = await town.people(anna=(JS,), bernd=(NIO,), clara=(JS,), david=(NIO,), emma=(NIO,))
    room = await room_of(town, five, make)
    await everybody_talks(room, five)


async def room_of_version(version: str, _: Neighbourhood, people: list[Person]) -> str:
    maker, guest = people
    room = await cast(NioDevice, maker.devices[0]).create_room([guest.user_id], version=version)
    await accept_invite(room, guest)
    return room


async def rooms_of_all_versions(town: Neighbourhood) -> None:
    """two people talk encrypted in rooms of all versions, and take something back"""
    alice, bob = await town.people(alice=(NIO,), bob=(JS,))
    reader = cast(JsDevice, bob.devices[0])
    for number in range(1, 13):
        room = await room_of(town, [alice, bob], partial(room_of_version, str(number)))
        await everybody_talks(room, [alice, bob])
        await redactions(room, alice.devices[0], reader, reader)


async def family_room(town: Neighbourhood, people: list[Person]) -> str:
    """The families service puts everybody in; nobody has to be invited."""
    roles = ["guardian", "guardian", "adult", "child", "child"]
    roster = {person.user_id: role for person, role in zip(people, roles, strict=True)}
    return await town.server.make_family("The five", roster)


async def a_family_of_five(town: Neighbourhood) -> None:
    """a family of five share their conversation and read each other"""
    await a_room_of_five(town, family_room)


async def a_later_device(town: Neighbourhood) -> None:
    """a device that signs in later gets the later messages"""
    alice, bob = await town.people(alice=(JS, NIO), bob=(NIO,))
    room = await room_of(town, [alice, bob])
    await everybody_talks(room, [alice, bob])

    for kind in (JS, NIO):
        await town.sign_in(bob, kind)
        await ready_to_talk(room, [alice, bob])
        await everybody_talks(room, [alice, bob])


async def the_login_page(town: Neighbourhood) -> None:
    """a device signs in on the server's own login page, as who opened it wants"""
    alice, bob = await town.people(alice=(JS,), bob=(NIO,))
    pad = cast(JsDevice, town.new_device(alice, JS))
    query = {"device_id": "PAGE", "initial_device_display_name": "Alice's & Bob's pad"}
    refused = await pad.sign_in_on_page("a wrong password", **query)
    check(not refused["handedOver"], "the page hands over a login with a wrong password")
    check("password is wrong" in refused["shown"], f"the page shows {refused['shown']!r}")

    done = await pad.sign_in_on_page(PASSWORD, **query, refresh_token="true")
    check(len(done["handedOver"]) == 1, f"the page hands over {len(done['handedOver'])} logins")
    check("refresh_token" in done["handedOver"][0], "the page does not ask for a refresh token")
    check("You are logged in" in done["shown"], f"the page shows {done['shown']!r}")
    names = await pad.own_devices()
    check(names.get("PAGE") == "Alice's & Bob's pad", f"the devices are {names}")
    await everybody_talks(await room_of(town, [alice, bob]), [alice, bob])


async def an_attachment(town: Neighbourhood) -> None:
    """an attachment is encrypted, uploaded, downloaded and decrypted"""
    alice, bob = await town.people(alice=(JS,), bob=(NIO,))
    room = await room_of(town, [alice, bob])
    for sender, receiver in ((alice, bob), (bob, alice)):
        photo = os.urandom(300_000)
        file = await sender.devices[0].upload(photo)
        content = {"msgtype": "m.file", "body": "photo", "file": file}
        event_id = await sender.devices[0].send(room, "m.room.message", content)
        seen = await receiver.devices[0].reads(event_id, "photo")
        got = await receiver.devices[0].download(seen.content["file"])
        check(got == photo, f"{receiver.devices[0].name} got another file than was sent")


async def verification_on_nio(town: Neighbourhood) -> None:
    """two devices compare emoji over to-device messages (nio)"""
    alice, bob = await town.people(alice=(NIO,), bob=(NIO,))
    await room_of(town, [alice, bob])
    one, two = cast(list[NioDevice], alice.devices + bob.devices)
    await one.start_verification(two)
    await until("both show emoji", lambda: one.emoji() and two.emoji())
    check(one.emoji() == two.emoji(), f"Different emoji: {one.emoji()} and {two.emoji()}")
    await asyncio.gather(one.confirm_emoji(), two.confirm_emoji())
    await until("both trust", lambda: one.has_verified(two) and two.has_verified(one))


async def verification_on_js_sdk(town: Neighbourhood) -> None:
    """cross-signing: a new device is verified by an old one, then one person by another (js-sdk)"""
    alice, bob = await town.people(alice=(JS,), bob=(JS,))
    room = await room_of(town, [alice, bob])
    old, bobs = cast(list[JsDevice], alice.devices + bob.devices)
    await old.ask("setUpCrossSigning", user=alice.user, password=PASSWORD)
    await bobs.ask("setUpCrossSigning", user=bob.user, password=PASSWORD)

    new = cast(JsDevice, await town.sign_in(alice, JS))
    await ready_to_talk(room, [alice, bob])
    check(not await is_cross_signed(old, new), "A device that nobody verified counts as verified")
    await new.ask("verifyMyself")
    await compare_emoji(asked=old, asking=new)
    for device in (old, new, bobs):
        await until(f"{device.name} sees the signature", partial(is_signed, device, new))
    await until("the new device has the secrets", lambda: new.ask("hasCrossSigningSecrets"))

    await new.ask("verifyInRoom", user=bob.user_id, room=room)
    await compare_emoji(asked=bobs, asking=new)
    for device in (old, new):
        await until(f"{device.name} trusts bob", partial(trusts, device, bobs))
    await until("bob trusts alice", lambda: trusts(bobs, new))

    await bobs.ask("setUpCrossSigning", user=bob.user, password=PASSWORD, again=True)
    await until("alice notices bob's new identity", lambda: trusts_no_longer(old, bobs))


async def compare_emoji(asked: JsDevice, asking: JsDevice) -> None:
    async def phase(device: JsDevice) -> str:
        return str((await device.ask("verification"))["phase"])

    async def reaches(device: JsDevice, wanted: str) -> None:
        async def reached() -> bool:
            return await phase(device) == wanted

        await until(f"{device.name} is at {wanted!r} of the verification", reached)

    async def emoji(device: JsDevice) -> list[str]:
        return list((await device.ask("verification"))["emoji"])

    await reaches(asked, "Requested")
    await asked.ask("acceptVerification")
    await reaches(asking, "Ready")
    await asking.ask("startSas")
    first = await until(f"{asking.name} shows emoji", lambda: emoji(asking))
    second = await until(f"{asked.name} shows emoji", lambda: emoji(asked))
    check(first == second, f"Different emoji: {first} and {second}")
    await asyncio.gather(asking.ask("confirmSas"), asked.ask("confirmSas"))
    await asyncio.gather(reaches(asking, "Done"), reaches(asked, "Done"))


async def is_signed(watcher: JsDevice, device: Device) -> bool:
    trust = await watcher.ask("deviceTrust", user=device.user_id, device=device.device_id)
    return bool(trust["signedByOwner"])


async def is_cross_signed(watcher: JsDevice, device: Device) -> bool:
    trust = await watcher.ask("deviceTrust", user=device.user_id, device=device.device_id)
    return bool(trust["crossSigned"])


async def trusts(watcher: JsDevice, other: Device) -> bool:
    return bool(await watcher.ask("userTrust", user=other.user_id))


async def trusts_no_longer(watcher: JsDevice, other: Device) -> bool:
    return not await trusts(watcher, other)


async def key_backup(town: Neighbourhood) -> None:
    """a key backup made on one device is restored on a fresh one (js-sdk)"""
    alice, bob = await town.people(alice=(JS,), bob=(NIO,))
    room = await room_of(town, [alice, bob])
    device = cast(JsDevice, alice.devices[0])
    recovery_key = await device.ask("setUpBackup", user=alice.user, password=PASSWORD)
    mine, his = await device.say(room, "mine"), await bob.devices[0].say(room, "his")
    await device.reads(his, "his")

    async def both_saved() -> bool:
        return int(await device.ask("backupCount")) >= 2

    await until("both sessions are in the backup", both_saved)
    await device.ask("signOut")

    fresh = cast(JsDevice, await town.sign_in(alice, JS))
    await until("the old messages are here", lambda: {mine, his} <= fresh.received.keys())
    check(not fresh.received[mine].readable, "A fresh device reads old messages without the key")
    answer = await fresh.ask("restoreBackup", recoveryKey=recovery_key)
    check(answer["imported"] == answer["total"] >= 2, f"Restored too little: {answer}")
    await fresh.reads(mine, "mine")
    await fresh.reads(his, "his")
    await until("the fresh device is verified", lambda: is_cross_signed(fresh, fresh))


async def a_shared_history(town: Neighbourhood) -> None:
    """who is invited gets the keys of what was said before they came (js-sdk)"""
    alice, bob = await town.people(alice=(JS,), bob=(JS,))
    alices, bobs = cast(list[JsDevice], alice.devices + bob.devices)
    for device, person in ((alices, alice), (bobs, bob)):
        await device.ask("setUpCrossSigning", user=person.user, password=PASSWORD)
    room = await group_room(town, [alice])
    await ready_to_talk(room, [alice])
    before = [await alices.say(room, f"before you came, {number}") for number in range(3)]
    await alices.invite(room, bob.user_id)
    await until("bob is invited", lambda: bobs.is_invited(room))
    await bobs.join(room)
    for number, event_id in enumerate(before):
        await bobs.reads(event_id, f"before you came, {number}")
    await ready_to_talk(room, [alice, bob])
    await everybody_talks(room, [alice, bob])


async def small_talk(town: Neighbourhood) -> None:
    """typing, receipts, edits, reactions, redactions and threads reach the other client"""
    alice, bob = await town.people(alice=(JS,), bob=(NIO,))
    room = await room_of(town, [alice, bob])
    js, nio = cast(JsDevice, alice.devices[0]), cast(NioDevice, bob.devices[0])
    for sender, receiver in ((js, nio), (nio, js)):
        await typing_and_receipts(room, sender, receiver)
        await edits_and_reactions(room, sender, receiver, js)
        await redactions(room, sender, receiver, js)
        await threads(room, sender, receiver, js, nio)


async def typing_and_receipts(room: str, sender: Device, receiver: Device) -> None:
    async def types() -> bool:
        return sender.user_id in await receiver.typing(room)

    async def rests() -> bool:
        return not await types()

    async def read() -> bool:
        return receiver.user_id in await sender.readers(room, event_id)

    await sender.set_typing(room, True)
    await until(f"{receiver.name} sees {sender.name} typing", types)
    await sender.set_typing(room, False)
    await until(f"{receiver.name} sees {sender.name} rest", rests)
    event_id = await sender.say(room, "did you read it?")
    await receiver.reads(event_id, "did you read it?")
    await receiver.mark_read(room, event_id)
    await until(f"{sender.name} sees the receipt", read)


async def edits_and_reactions(
    room: str, sender: Device, receiver: Device, viewer: JsDevice
) -> None:
    event_id = await sender.say(room, "see you at sewen")
    await receiver.reads(event_id, "see you at sewen")
    edit_id = await sender.send(
        room,
        "m.room.message",
        {
            "msgtype": "m.text",
            "body": "* see you at seven",
            "m.new_content": {"msgtype": "m.text", "body": "see you at seven"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        },
    )
    edit = await receiver.reads(edit_id, "* see you at seven")
    check(edit.content["m.new_content"]["body"] == "see you at seven", f"A broken edit: {edit}")
    reaction = {"rel_type": "m.annotation", "event_id": event_id, "key": "👍"}
    reaction_id = await receiver.send(room, "m.reaction", {"m.relates_to": reaction})
    await until(f"{sender.name} gets the reaction", lambda: reaction_id in sender.received)
    check(
        sender.received[reaction_id].content["m.relates_to"] == reaction,
        f"A broken reaction: {sender.received[reaction_id]}",
    )

    async def drawn() -> bool:
        look = await viewer.look(room, event_id)
        return look["body"] == "see you at seven" and look["reactions"] == [["👍", 1]]

    await until(f"{viewer.name} draws the edit and the reaction", drawn)


async def redactions(room: str, sender: Device, receiver: Device, viewer: JsDevice) -> None:
    event_id = await sender.say(room, "a slip of the tongue")
    await receiver.reads(event_id, "a slip of the tongue")
    await sender.redact(room, event_id)

    def told() -> bool:
        return any(event_id == redacted_by(each) for each in receiver.received.values())

    async def drawn() -> bool:
        return bool((await viewer.look(room, event_id))["redacted"])

    await until(f"{receiver.name} hears of the redaction", told)
    await until(f"{viewer.name} draws the redaction", drawn)


def redacted_by(event: Received) -> str | None:
    """The id that a redaction names."""
    return event.content.get("redacts") if event.type == "m.room.redaction" else None


async def threads(
    room: str, sender: Device, receiver: Device, viewer: JsDevice, reader: NioDevice
) -> None:
    root = await sender.say(room, "who brings cake?")
    await receiver.reads(root, "who brings cake?")
    answers: list[str] = []

    async def drawn() -> bool:
        return bool((await viewer.look(room, root))["thread"] == answers)

    for author, listener, text in ((receiver, sender, "I do"), (sender, receiver, "thank you")):
        relation = {"rel_type": "m.thread", "event_id": root, "is_falling_back": True}
        relation["m.in_reply_to"] = {"event_id": root}
        content = {"msgtype": "m.text", "body": text, "m.relates_to": relation}
        await listener.reads(await author.send(room, "m.room.message", content), text)
        answers.append(text)
        await until(f"{viewer.name} draws the thread {answers}", drawn)
    check(root in await reader.thread_roots(room), "The server does not list the thread")
    check(len(await reader.thread(room, root)) == 2, "The server does not list the answers")


async def a_killed_server(town: Neighbourhood) -> None:
    """the server is killed three times amid traffic: nothing lost, doubled or undecryptable"""
    alice, bob = await town.people(alice=(JS, NIO), bob=(NIO, JS))
    room = await room_of(town, [alice, bob], direct_room)
    said: dict[str, str] = {}

    async def talk(device: Device) -> None:
        for number in range(MESSAGES):
            if number % NEW_KEYS_EVERY == 0:
                await device.renew_keys(room)
            text = f"{device.name}, message {number}"
            said[await device.say(room, text)] = text

    def reached(part: int) -> bool:
        return len(said) >= part

    total = MESSAGES * len(town.devices)
    talks = asyncio.gather(*(talk(device) for device in town.devices))
    try:
        for part in (total // 4, total // 2, total * 3 // 4):
            await until(f"{part} messages are sent", partial(reached, part))
            await town.server.kill()
            await town.server.start()
            await asyncio.gather(*(device.wake() for device in town.devices))
        await talks
    finally:
        talks.cancel()
    check(len(said) == total, f"{total - len(said)} messages share an event id with another")

    await asyncio.gather(*(d.reads(e, text) for d in town.devices for e, text in said.items()))
    await everybody_talks(room, [alice, bob])
    for device in town.devices:
        twice = [text for event_id, text in said.items() if device.arrivals[event_id] != 1]
        check(not twice, f"{device.name} was told more than once: {twice}")
        extra = {e for e, seen in device.received.items() if seen.encrypted} - said.keys()
        check(len(extra) == len(town.devices), f"{device.name} got events nobody sent: {extra}")
    history = await cast(NioDevice, alice.devices[1]).history(room)
    check(len(history) == len(set(history)), "The history has doubled events")
    check(len(history) == total + len(town.devices), f"The history has {len(history)} messages")


JOURNEYS: list[Journey] = [
    two_people_on_nio,
    two_people_on_js_sdk,
    two_people_on_both,
    a_room_of_five,
    a_family_of_five,
    rooms_of_all_versions,
    a_later_device,
    the_login_page,
    an_attachment,
    verification_on_nio,
    verification_on_js_sdk,
    key_backup,
    a_shared_history,
    small_talk,
    a_killed_server,
    an_encrypted_bot,
    a_neighbourhood_in_chaos,
]
