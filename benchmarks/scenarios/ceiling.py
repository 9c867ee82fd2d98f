"""ceiling: the generator's own limit, against an nginx that answers 200 at once."""

import asyncio
from time import perf_counter

import orjson
from attrs import frozen

from benchmarks.client.connection import Connection
from benchmarks.client.crowds import pool, together
from benchmarks.measure.figures import latencies, percentile
from benchmarks.scenario import Bench, Outcome, Scenario, option
from benchmarks.targets.nginx import nginx


@frozen
class Options:
    conns: int = option(40, "connections that send one request after the other")
    seconds: float = option(5.0, "how long")
    burst: int = option(500, "connections that ask at the same moment")


async def run(bench: Bench, options: Options) -> Outcome:
    connections = [bench.homeserver.connection() for _ in range(options.burst)]
    body = orjson.dumps({"msgtype": "m.text", "body": "x" * 100})
    times: list[float] = []
    await pool(connections, 16, lambda connection: connection.request(b"GET", b"/"))

    async def write(connection: Connection) -> None:
        while perf_counter() < end:
            path = b"/_matrix/client/v3/rooms/x/send/m.room.message/%d" % len(times)
            response = await connection.request(b"PUT", path, body, b"Authorization: Bearer x\r\n")
            times.append(response.ms)

    async with bench.window() as window:
        end = perf_counter() + options.seconds
        await together(write(connection) for connection in connections[: options.conns])
        wall, count = window.so_far()[1], len(times)
    lasts = [await _burst(connections) for _ in range(30)]
    outcome = Outcome(
        metrics={
            "requests_per_s": count / wall,
            **latencies("request", times),
            "gen_cpu_us_per_request": 1e6 * window.env["gen_cpu_s"] / count,
            "requests_per_gen_core_per_s": count / window.env["gen_cpu_s"],
            "burst_last_p50_ms": percentile(lasts, 50),
            "burst_last_max_ms": max(lasts),
        },
        env=window.env,
        notes=[f"burst: {options.burst} connections at once, request and answer"],
    )
    outcome.distribute("request", times)
    return outcome


async def _burst(connections: list[Connection]) -> float:
    """Everybody asks at the same moment; how late is the last answer?"""
    began = perf_counter()
    answers = await together(
        connection.request(b"GET", b"/_matrix/client/v3/sync?since=x") for connection in connections
    )
    await asyncio.sleep(0.05)
    return (max(answer.came_at for answer in answers) - began) * 1000


SCENARIO = Scenario("ceiling", "the generator's own limit, against nginx", Options, run, nginx)
