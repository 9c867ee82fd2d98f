"""The encrypted room: made, shared keys for, written in, left.

Client-server API, "Messaging Algorithms", m.megolm.v1.aes-sha2, and "Sharing keys between devices".
"""

from typing import Any
from urllib.parse import quote

from e2e.selftest.faults import check
from e2e.selftest.group import Delivery, Group, check_exactly
from e2e.selftest.member import Member
from e2e.selftest.olm_device import MEGOLM

ACCEPTED_GOAL_MS = 40.0
DELIVERED_GOAL_MS = 200.0

Json = dict[str, Any]


async def make_room(group: Group) -> None:
    """The writer makes an encrypted room and invites everybody; everybody joins."""
    writer = group.writer
    answer = await writer.ask(
        "POST",
        "/createRoom",
        {
            "preset": "private_chat",
            "name": "Encryption self-test",
            "invite": [member.user_id for member in group.members[1:]],
            "initial_state": [
                {
                    "type": "m.room.encryption",
                    "state_key": "",
                    "content": {"algorithm": MEGOLM},
                }
            ],
        },
    )
    group.room_id = answer["room_id"]
    writer.is_in_room = True
    room = quote(group.room_id)

    async def join(member: Member) -> None:
        await member.ask("POST", f"/join/{room}", {})
        member.is_in_room = True

    await group.all(join, group.members[1:])
    state = await group.members[-1].ask("GET", f"/rooms/{room}/state/m.room.encryption")
    check_exactly(state.get("algorithm"), MEGOLM, "The algorithm of the room")
    check_exactly(await _people_in_room(group), _everybody_in(group), "The members of the room")


async def share_room_key(group: Group) -> None:
    """The writer begins a Megolm session and sends its key to every device, in one request."""
    readers = group.readers
    delivery = await _share(group, readers)
    count, goal = f"{len(readers)} to-device messages", ACCEPTED_GOAL_MS
    group.ledger.note(f"{count} accepted", delivery.accepted_seconds, goal)
    group.ledger.note(f"{count}: the last is there", delivery.last_seconds, DELIVERED_GOAL_MS)


async def say_something(group: Group) -> None:
    """The writer says something, and everybody can read it."""
    delivery = await _say(group, group.readers, "Hello, neighbours")
    title = f"A message is read by the last of {len(group.readers)}"
    group.ledger.note(title, delivery.last_seconds, DELIVERED_GOAL_MS)


async def rotate_room_key(group: Group) -> None:
    """Somebody leaves, so a new session begins: the rest read on, who has left gets nothing."""
    leaver = group.members[-1]
    await group.catch_up([leaver])
    leaver.forget()
    await leaver.ask("POST", f"/rooms/{quote(group.room_id)}/leave", {})
    leaver.is_in_room = False
    check_exactly(await _people_in_room(group), _everybody_in(group), "The members of the room")
    await _share(group, group.readers)
    await _say(group, group.readers, "Now we are among ourselves")
    (event,) = group.readers[0].events
    await leaver.sync()
    check(not leaver.messages, "Who has left the room was sent the new room key")
    check(not leaver.events, "Who has left the room was sent a message of it")
    path = f"/rooms/{quote(group.room_id)}/event/{quote(event['event_id'])}"
    status, _ = await group.client.exchange("GET", path, token=leaver.token)
    check(status in (403, 404), "Who has left the room can still fetch its messages")


async def _share(group: Group, readers: list[Member]) -> Delivery:
    """Share a new Megolm session with readers, who must get its key once."""
    writer = group.writer
    (room_key,) = await group.compute(writer.olm.start_group, [group.room_id])

    def encrypt(reader: Member) -> Json:
        return writer.olm.encrypt_to(group.devices[reader.user_id], "m.room_key", room_key)

    contents = await group.compute(encrypt, readers)
    messages = {
        reader.user_id: {reader.olm.public.device_id: content}
        for reader, content in zip(readers, contents, strict=True)
    }
    delivery = await group.deliver(
        lambda: writer.send_to_devices(group.transaction(), messages),
        readers,
        lambda reader: bool(reader.messages),
        "their to-device message with the room key",
    )
    # The token of the next request acknowledges the message, which must not come again.
    await group.catch_up(readers)
    for reader in readers:
        check_exactly(
            len(reader.messages), 1, f"The number of to-device messages for {reader.user_id}"
        )

    def learn(reader: Member) -> None:
        plaintext = reader.olm.decrypt(reader.messages[0])
        check_exactly(plaintext["type"], "m.room_key", "The type of a to-device message")
        check_exactly(plaintext["content"], room_key, "The room key that has arrived")
        reader.olm.learn_group(plaintext["content"])

    await group.compute(learn, readers)
    return delivery


async def _say(group: Group, readers: list[Member], text: str) -> Delivery:
    """Send an encrypted message, which readers must get once and be able to read."""
    writer, room_id = group.writer, group.room_id
    said = {"msgtype": "m.text", "body": text}
    (content,) = await group.compute(
        lambda message: writer.olm.encrypt_for_room(room_id, "m.room.message", message), [said]
    )
    delivery = await group.deliver(
        lambda: writer.put_into_room(room_id, "m.room.encrypted", group.transaction(), content),
        readers,
        lambda reader: any(event["content"] == content for event in reader.events),
        "the message in the room",
    )
    await group.catch_up(readers)
    for reader in readers:
        check_exactly(len(reader.events), 1, f"The number of messages for {reader.user_id}")
    read = await group.compute(
        lambda reader: reader.olm.decrypt_from_room(reader.events[0]), readers
    )
    for plaintext in read:
        check_exactly(plaintext["content"], said, "The message that was decrypted")
        check_exactly(plaintext["room_id"], room_id, "The room that the message is for")
    return delivery


async def _people_in_room(group: Group) -> list[str]:
    path = f"/rooms/{quote(group.room_id)}/joined_members"
    return sorted((await group.writer.ask("GET", path)).get("joined", {}))


def _everybody_in(group: Group) -> list[str]:
    return sorted(member.user_id for member in group.members if member.is_in_room)
