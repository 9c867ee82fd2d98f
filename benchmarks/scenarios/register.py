"""register: sign-ups with m.login.dummy, then logins with the password."""

from time import perf_counter

from attrs import frozen

from benchmarks.client.connection import Connection
from benchmarks.client.crowds import spread
from benchmarks.client.people import Person
from benchmarks.measure.figures import latencies
from benchmarks.scenario import Bench, Outcome, Scenario, option


@frozen
class Options:
    users: int = option(200, "accounts to make")
    logins: int = option(100, "logins, by different people")
    width: int = option(10, "requests at a time")


async def run(bench: Bench, options: Options) -> Outcome:
    homeserver = bench.homeserver
    connections = [homeserver.connection() for _ in range(options.width)]
    names = [homeserver.name() for _ in range(options.users)]

    async def sign_up(number: int, connection: Connection) -> tuple[Person, float]:
        began = perf_counter()
        person, response = await homeserver.register(connection, names[number])
        return person, (response.came_at - began) * 1000

    async def log_in(number: int, connection: Connection) -> float:
        return (await homeserver.log_in(connection, made[number][0].user_id))[1].ms

    await bench.calm()
    async with bench.window() as window:
        made = await spread(options.users, connections, sign_up)
        register_s = window.so_far()[1]
        count = min(options.logins, options.users)
        began = perf_counter()
        logins = await spread(count, connections, log_in)
        login_s = perf_counter() - began
    registers = [ms for _, ms in made]
    outcome = Outcome(
        metrics={
            "register_per_s": options.users / register_s,
            **latencies("register", registers),
            "login_per_s": count / login_s,
            **latencies("login", logins),
            "cpu_ms_per_op": window.cpu_ms_per(options.users + count),
        },
        env=window.env,
    )
    outcome.distribute("register", registers)
    outcome.distribute("login", logins)
    return outcome


SCENARIO = Scenario("register", "sign-ups, then logins", Options, run)
