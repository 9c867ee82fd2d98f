"""Calls every operation of the client-server API once and judges the answers.

    python -m tests.spec.check_routes            on a scratch server, started for this
    python -m tests.spec.check_routes URL        on that one; registration must be open

Each operation must be served, unless ``not_served.txt`` names it; the answer must not be a 5xx,
must fit the specification's schema and carry the CORS header; where a token is needed, a missing
and a wrong one must be refused with their error codes; and a browser's preflight must pass.
"""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.spec import MISSING, find_spec
from tests.spec.calls import Call, Neighbourhood
from tests.spec.people import V3, Answer, Client
from tests.spec.validate import Operation, ResponseValidator
from tests.tools.scratch_server import scratch_server

# Last, because they end what others need.
LATE = ("deactivateAccount", "logout_all", "logout", "upgradeRoom")
# The gateway did not answer, or an upload is not there yet: served, and truthfully so.
HONEST_5XX = (502, 504)


class RouteCheck:
    def __init__(self, client: Client, validator: ResponseValidator) -> None:
        self._client = client
        self._validator = validator
        self._here = Neighbourhood(client)
        lines = Path(__file__).with_name("not_served.txt").read_text().splitlines()
        self._left_out = {line.partition("#")[0].strip() for line in lines} - {""}

    def operations(self) -> list[Operation]:
        """What to call, in an order in which no call spoils another one."""
        ours = [each for each in self._validator.operations if each.api == "client-server"]
        return sorted(ours, key=lambda each: (each.id in LATE, each.method == "DELETE"))

    def problems(self, operation: Operation) -> Iterator[str]:
        """What is wrong with this operation."""
        name = f"{operation.method} {operation.path}"
        call = self._here.call_for(operation)
        answer = self._client.call(
            call.operation.method, call.path, call.token, call.body, call.query, call.content_type
        )
        served = not _is_missing(answer)
        if served == (name in self._left_out):
            yield f"served, but in not_served.txt: {name}" if served else f"not served: {name}"
        if not served:
            return
        if answer.status == 0 or (answer.status >= 500 and answer.status not in HONEST_5XX):
            yield f"{name}: {answer.status} {answer.text[:200]}"
            return
        if "access-control-allow-origin" not in answer.headers:
            yield f"{name}: no CORS header"
        yield from self._validator.check(
            operation.method, operation.path, answer.status, answer.body
        )
        for event in _events(answer.body):
            for problem in self._validator.check_event(event):
                yield f"{name}: {problem}"
        yield from self._preflight(call)
        if operation.needs_token:
            yield from self._tokens(call)

    def _preflight(self, call: Call) -> Iterator[str]:
        answer = self._client.call("OPTIONS", call.path)
        allowed = answer.headers.get("access-control-allow-headers", "").lower()
        complete = (
            answer.status in (200, 204)
            and "access-control-allow-origin" in answer.headers
            and "access-control-allow-methods" in answer.headers
            and "authorization" in allowed
        )
        if not complete:
            yield f"OPTIONS {call.operation.path}: {answer.status} {answer.headers}"

    def _tokens(self, call: Call) -> Iterator[str]:
        # With an empty body: nobody learns what a request needs before it is known who asks.
        body = None if call.body is None else {}
        for token, expected in ((None, "M_MISSING_TOKEN"), ("not_a_token", "M_UNKNOWN_TOKEN")):
            answer = self._client.call(call.operation.method, call.path, token, body)
            if (answer.status, answer.errcode) != (401, expected):
                got = f"{answer.status} {answer.errcode}"
                name = f"{call.operation.method} {call.operation.path}"
                yield f"{name} with token {token}: {got}, not 401 {expected}"


def _is_missing(answer: Answer) -> bool:
    no_matrix_answer = answer.status == 404 and answer.errcode in (None, "M_UNRECOGNIZED")
    return no_matrix_answer or answer.status in (405, 501)


def _events(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in an answer that looks like an event."""
    if isinstance(value, dict):
        if {"type", "content", "event_id", "sender"} <= value.keys():
            yield value
        for each in value.values():
            yield from _events(each)
    elif isinstance(value, list):
        for each in value:
            yield from _events(each)


def main(urls: list[str]) -> int:
    spec = find_spec()
    if spec is None:
        print(MISSING)
        return 0
    passed = failed = 0
    with nullcontext(urls[0]) if urls else scratch_server() as url:
        client = Client(url)
        unknown = client.call("GET", f"{V3}/no_such_thing")
        if (unknown.status, unknown.errcode) != (404, "M_UNRECOGNIZED"):
            failed += 1
            print(f"an unknown path is answered {unknown.status} {unknown.errcode}")
        check = RouteCheck(client, ResponseValidator(spec))
        for operation in check.operations():
            problems = sorted(set(check.problems(operation)))
            print(*problems, sep="\n", end="\n" if problems else "")
            passed += not problems
            failed += bool(problems)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
