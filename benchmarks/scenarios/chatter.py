"""chatter: many rooms, everybody in long-poll, messages, typing and receipts at a fixed rate.

The load is open: it comes when it is due, whether the server keeps up or not.
"""

from collections import defaultdict
from time import perf_counter

from attrs import frozen

from benchmarks.client.chat import Chat, Pace, Talk, chatrooms
from benchmarks.measure.figures import latencies, percentile
from benchmarks.measure.window import Window
from benchmarks.scenario import Bench, Outcome, Scenario, option


@frozen
class Options:
    users: int = option(100, "people")
    rooms: int = option(20, "rooms")
    members: int = option(10, "members of each room")
    rate: float = option(50.0, "messages per second, of all together")
    ephemeral: float = option(10.0, "typing notices and receipts per second")
    seconds: float = option(20.0, "how long")
    drain: float = option(60.0, "seconds after the last one is due until the queue is given up")


async def run(bench: Bench, options: Options) -> Outcome:
    chat = await chatrooms(bench.homeserver, options.users, options.rooms, options.members)
    live = chat.live
    try:
        settle = await chat.start()
        settle += await bench.calm(90)
        responses = live.responses
        pace = Pace(options.rate, options.ephemeral, options.seconds, options.drain)
        async with bench.window() as window:
            began = perf_counter()
            talk = await chat.talk(pace)
            done_at = max(answer.came_at for answer in talk.answers.values())
            await chat.heard(talk)
        outcome = _outcome(chat, talk, window)
        outcome.metrics |= {
            "achieved_per_s": len(talk.answers) / (done_at - began),
            "lost": chat.lost(talk),
            "sync_responses": live.responses - responses,
            "settle_s": settle,
            **live.figures(),
        }
        outcome.notes += live.notes()
        return outcome
    finally:
        live.stop()


def _outcome(chat: Chat, talk: Talk, window: Window) -> Outcome:
    """Delivery counts from the planned time of the message, so that queueing shows."""
    began = min(talk.planned.values())
    deliveries = []
    by_second = defaultdict(list)
    for arrival in chat.arrivals(talk):
        deliveries.append(talk.late(arrival))
        by_second[int(talk.planned[arrival.number] - began)].append(deliveries[-1])
    outcome = Outcome(
        metrics={
            **latencies("delivery", deliveries, maximum=True),
            **latencies("put", talk.put_ms),
            **latencies("typing_receipt", talk.ephemeral_ms, (50, 99)),
            "cpu_ms_per_event": window.cpu_ms_per(len(talk.answers)),
            "not_sent": talk.not_sent,
            "failed_calls": len(talk.failures),
        },
        env=window.env,
        notes=talk.failures[:3],
    )
    outcome.distribute("delivery", deliveries)
    outcome.distribute("put", talk.put_ms)
    for percent in (50, 99):
        outcome.seconds[f"delivery p{percent}"] = [
            (second, percentile(ms, percent) or 0.0) for second, ms in sorted(by_second.items())
        ]
    return outcome


SCENARIO = Scenario("chatter", "messages, typing, receipts at a fixed rate", Options, run)
