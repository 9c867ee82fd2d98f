"""What tests throw at the server: any JSON, good bodies gone wrong, at every route."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rest.routing import Route
from tests.support import Server

DEEP = 300
"""Deeper than what orjson writes (254), not deeper than what it reads (1024)."""

_WORDS = [
    "",
    " ",
    "\0",
    "a\0b",
    "x" * 300,
    "x" * 70_000,
    "ü\u2028🏡",
    "null",
    "true",
    "@nobody:localhost",
    "@far:elsewhere.example",
    "@:localhost",
    "!none:localhost",
    "!far:elsewhere.example",
    "$none",
    "#none:localhost",
    "mxc://localhost/none",
    "mxc://elsewhere.example/none",
    "*",
    "../..",
    "%00",
    "m.room.member",
    "m.room.redaction",
    "ed25519:A",
    "signed_curve25519:AAAAAQ",
]
_NUMBERS = [0, -1, 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, 1e308, -0.0]


def deep(levels: int) -> Any:
    """Objects in lists in objects."""
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_NUMBERS),
    st.sampled_from(_WORDS),
    st.text(max_size=8),
)
any_json = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_WORDS), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn, good: Any) -> Any:
    """A good body in which one or two things are not as they should be."""
    value = orjson.loads(orjson.dumps(good))
    for _ in range(draw(st.integers(1, 2))):
        places = [place for place in _places(value) if place]
        if not places:
            return draw(any_json)
        *way, last = draw(st.sampled_from(places))
        holder = value
        for step in way:
            holder = holder[step]
        change = draw(st.sampled_from(["replace", "replace", "replace", "leave out", "add"]))
        if change == "leave out":
            del holder[last]
        elif change == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(_WORDS))] = holder[last]
        else:
            holder[last] = draw(any_json)
    return value


def examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """``count`` values, the same ones in every run."""
    found: list[Any] = []

    @seed(20)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def routes_of(server: Server) -> list[Route]:
    """Every route of the running server."""

    def walk(node: Any) -> Iterator[Route]:
        for route, _ in node.routes.values():
            yield route
        for child in node.literal.values():
            yield from walk(child)
        if node.parameter is not None:
            yield from walk(node.parameter)

    router: Any = server.app.site.handler._router
    return sorted(walk(router._root), key=lambda route: (route.path, route.method))


def parameters(route: Route) -> list[str]:
    """The names of its path parameters."""
    return [part.strip("{}") for part in route.path.split("/") if part.startswith("{")]


def filled(route: Route, values: dict[str, str]) -> str:
    """The path of a route with values for its parameters."""
    parts = [
        quote(values[part.strip("{}")], safe="") if part.startswith("{") else part
        for part in route.path.split("/")
    ]
    return "/".join(parts)


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*way, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, (*way, index))
