"""e2ee: keys go up, one person asks for everybody's, claims one of each, writes to every device."""

import asyncio
import os
from collections.abc import Mapping, Sequence

from attrs import frozen

from benchmarks.client.crowds import pool
from benchmarks.client.device_keys import ALGORITHMS, DeviceKeys, unpadded
from benchmarks.client.people import V3, Person
from benchmarks.client.polling import Live
from benchmarks.measure.figures import Figures, latencies, median
from benchmarks.scenario import Bench, Outcome, Scenario, option

TIMEOUT_MS = 30_000
CLAIMED = "signed_curve25519"


@frozen
class Options:
    users: int = option(500, "receivers")
    otks: int = option(50, "one-time keys of each")
    width: int = option(10, "uploads at a time")
    rounds: int = option(5, "how often each is asked, claimed and sent")
    shared_room: bool = option(False, "everybody shares a room, so key changes are announced")


async def run(bench: Bench, options: Options) -> Outcome:
    people = await bench.homeserver.people(options.users + 1)
    sender, *receivers = people
    if options.shared_room:
        await bench.homeserver.room(sender, people)
    devices = {person.user_id: DeviceKeys(person.user_id, person.device_id) for person in people}
    outcome = Outcome()
    wrong = await _upload(bench, people, devices, options, outcome)
    live = Live(receivers, TIMEOUT_MS)
    try:
        settle = await live.start()
        settle += await bench.calm(90)
        async with bench.window() as window:
            wrong += await _query(sender, receivers, devices, options, outcome)
            wrong += await _claim(sender, receivers, options, outcome)
            claimed_cpu = window.so_far()[0]
            await asyncio.sleep(1)
            await _send(sender, receivers, devices, options, live, outcome)
            sent_cpu = window.so_far()[0] - claimed_cpu
        spent = 1000 * sent_cpu / options.rounds
        outcome.metrics |= {
            "wrong_answers": wrong,
            "todevice_cpu_ms_per_round": spent if bench.probe else None,
            "settle_s": settle,
            **live.figures(),
        }
        outcome.env["keys and messages"] = window.env
        outcome.notes += live.notes()
        return outcome
    finally:
        live.stop()


async def _upload(
    bench: Bench,
    people: Sequence[Person],
    devices: Mapping[str, DeviceKeys],
    options: Options,
    outcome: Outcome,
) -> int:
    """How many were told another number of one-time keys than they have."""
    bodies = [(person, devices[person.user_id].upload(options.otks)) for person in people]
    await bench.calm()
    async with bench.window() as window:
        answers = await pool(
            bodies, options.width, lambda own: own[0].timed("POST", f"{V3}/keys/upload", own[1])
        )
        seconds = window.so_far()[1]
    uploads = [response.ms for _, response in answers]
    outcome.metrics |= {
        "upload_per_s": len(people) / seconds,
        **latencies("upload", uploads, (50, 99)),
        "upload_cpu_ms_per_user": window.cpu_ms_per(len(people)),
    }
    outcome.env["upload"] = window.env
    outcome.distribute("upload", uploads)
    counts = [answer.get("one_time_key_counts", {}).get(CLAIMED) for answer, _ in answers]
    return sum(1 for count in counts if count != options.otks)


async def _query(
    sender: Person,
    receivers: Sequence[Person],
    devices: Mapping[str, DeviceKeys],
    options: Options,
    outcome: Outcome,
) -> int:
    """How many keys came back wrong."""
    wanted = {"device_keys": {person.user_id: [] for person in receivers}, "timeout": 10000}
    times, wrong = [], 0
    for _ in range(options.rounds):
        answer, response = await sender.timed("POST", f"{V3}/keys/query", wanted)
        times.append(response.ms)
        for person in receivers:
            found = answer["device_keys"].get(person.user_id, {}).get(person.device_id, {})
            key = found.get("keys", {}).get(f"ed25519:{person.device_id}")
            wrong += key != devices[person.user_id].ed25519
    outcome.metrics |= {
        "query_first_ms": times[0],
        "query_p50_ms": median(times),
        "query_size_kb": len(response.body) / 1024,
    }
    return wrong


async def _claim(
    sender: Person, receivers: Sequence[Person], options: Options, outcome: Outcome
) -> int:
    """How many devices did not give exactly one key, or one that had been given before."""
    devices = {person.user_id: {person.device_id: CLAIMED} for person in receivers}
    times, wrong = [], 0
    given: set[tuple[str, str]] = set()
    for _ in range(options.rounds):
        answer, response = await sender.timed(
            "POST", f"{V3}/keys/claim", {"timeout": 10000, "one_time_keys": devices}
        )
        times.append(response.ms)
        for person in receivers:
            keys = answer["one_time_keys"].get(person.user_id, {}).get(person.device_id, {})
            now = {(person.user_id, key) for key in keys}
            wrong += len(now) != 1 or bool(now & given)
            given |= now
        await asyncio.sleep(0.5)
    outcome.metrics |= {"claim_first_ms": times[0], "claim_p50_ms": median(times)}
    return wrong


async def _send(
    sender: Person,
    receivers: Sequence[Person],
    devices: Mapping[str, DeviceKeys],
    options: Options,
    live: Live,
    outcome: Outcome,
) -> None:
    """One to-device message to every device, as when the keys of a room are shared."""
    puts, delays = [], []
    for number in range(options.rounds):
        messages = {
            person.user_id: {
                person.device_id: _olm_message(
                    devices[sender.user_id], devices[person.user_id], live.mark(number)
                )
            }
            for person in receivers
        }
        before = len(live.arrivals)
        path = f"{V3}/sendToDevice/m.room.encrypted/{sender.homeserver.transaction()}"
        _, response = await sender.timed("PUT", path, {"messages": messages})
        puts.append(response.ms)
        await live.wait(before + len(receivers))
        delays.append(
            [(each.at - response.sent_at) * 1000 for each in live.arrivals if each.number == number]
        )
        await asyncio.sleep(1)
    every = [delay for one in delays for delay in one]
    figures: Figures = {
        "todevice_put_first_ms": puts[0],
        "todevice_put_p50_ms": median(puts),
        **latencies("todevice_delivery", every, maximum=True),
        "todevice_last_p50_ms": median([max(one, default=0.0) for one in delays]),
        "todevice_lost": len(receivers) * options.rounds - len(every),
    }
    outcome.metrics |= figures
    outcome.distribute("to-device delivery", every)
    outcome.receive(delays)


def _olm_message(sender: DeviceKeys, receiver: DeviceKeys, mark: str) -> dict[str, object]:
    """The size and the shape of a room key; nobody can decrypt it."""
    body = {"type": 0, "body": unpadded(os.urandom(300)) + mark}
    return {
        "algorithm": ALGORITHMS[0],
        "sender_key": sender.curve25519,
        "ciphertext": {receiver.curve25519: body},
    }


SCENARIO = Scenario("e2ee", "keys up, query, claim, to-device to everybody", Options, run)
