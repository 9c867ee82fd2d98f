"""Routing: a route is a value; one trie finds it, one function answers it.

Only this module and ``server`` know HTTP. Whatever a handler raises ends here: a MatrixError
becomes its JSON, anything else is logged and answered ``500 M_UNKNOWN`` without details.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from enum import Enum
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from attrs import Factory, define, field, frozen

from federation_disabled.routes import check_path
from schema.errors import InvalidParam, MethodNotAllowed, MissingParam, Unrecognized

JSON_LIMIT = 4 * 1024 * 1024


class Access(Enum):
    """Who may call a route."""

    PUBLIC = "anybody"
    OPTIONAL = "anybody; a token says who"
    OR_SERVICE = "anybody; a token says which application service"
    USER = "whoever has an access token, but no guests"
    GUEST = "whoever has an access token"
    EVEN_LOCKED = "the same, also while the account is locked"
    ADMIN = "administrators"


@define
class Answer:
    """An answer that is more than a JSON object with status 200."""

    body: "Mapping[str, Any] | list[Any] | bytes | AsyncIterator[bytes]" = Factory(dict)
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = Factory(dict)


class Query:
    """The query parameters of one call, read with the errors that the specification wants."""

    def __init__(self, raw: bytes) -> None:
        self._values: dict[str, list[str]] = {}
        for part in raw.split(b"&"):
            if part:
                name, _, value = part.partition(b"=")
                self._values.setdefault(_plain(name, plus=True), []).append(
                    _plain(value, plus=True)
                )

    def text(self, name: str) -> str | None:
        """The parameter, or None."""
        values = self._values.get(name)
        return values[0] if values else None

    def needed(self, name: str) -> str:
        """The parameter; without it ``M_MISSING_PARAM``."""
        value = self.text(name)
        if value is None:
            raise MissingParam(f"The query parameter `{name}` is missing")
        return value

    def every(self, name: str) -> list[str]:
        """All values of a parameter that may be repeated."""
        return self._values.get(name, [])

    def others(self, known: Collection[str]) -> dict[str, str]:
        """Every parameter but those that are known, with its first value."""
        return {name: values[0] for name, values in self._values.items() if name not in known}

    def integer(self, name: str, default: int, *, least: int = 0, most: int = 2**53 - 1) -> int:
        """The parameter as a whole number, brought into its bounds."""
        value = self.text(name)
        if value is None:
            return default
        try:
            return max(least, min(most, int(value)))
        except ValueError:
            raise InvalidParam(
                f"The query parameter `{name}` must be a whole number, not {value[:50]!r}"
            ) from None

    def flag(self, name: str) -> bool:
        """The parameter as true or false; false when it is absent."""
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise InvalidParam(f"The query parameter `{name}` must be true or false")
        return value == "true"

    def choice(self, name: str, choices: Collection[str], default: str | None = None) -> str:
        """The parameter, which must be one of ``choices``."""
        value = self.text(name)
        if value is None:
            value = self.needed(name) if default is None else default
        if value not in choices:
            raise InvalidParam(f"The query parameter `{name}` must be one of {', '.join(choices)}")
        return value


@define
class Call:
    """One request on its way to a handler."""

    method: str
    path: dict[str, str]
    query: Query
    headers: Callable[[str], str | None]
    address: str
    """Where the client is; the proxy's word counts only when the proxy is on this machine."""
    uri: str = ""
    """The path as it was asked for; transaction ids belong to it."""
    body: Any = field(factory=dict)
    content: "IO[bytes] | None" = None
    """The raw body of an upload."""
    requester: Any = None
    """Who asks: a ``homeserver.requester.Requester``; None on public routes."""
    service: Any = None
    """On routes for anybody or a service: the registration of the service that asks."""


Handler = Callable[[Call], Awaitable["Mapping[str, Any] | list[Any] | Answer"]]


@frozen
class Route:
    """One endpoint: who may call it, what its body must look like, and who answers."""

    method: str
    path: str
    handler: Handler
    access: Access = Access.USER
    body: str | None = None
    """The name of the JSON Schema of the body."""
    limit: str = "other"
    """The rate limit that it spends from."""
    max_body: int = JSON_LIMIT
    upload: bool = False
    """The body is a file, not JSON."""
    waits: bool = False
    """The answer may come long after the question, so the token is looked at once more."""

    operation: str = field(init=False)
    """Its name in metrics and logs: the method and the path without the prefix."""

    @operation.default
    def _name(self) -> str:
        path = self.path.removeprefix("/_matrix/client/").removeprefix("/_matrix/")
        return f"{self.method} {path}"


@define
class _Node:
    literal: "dict[str, _Node]" = Factory(dict)
    parameter: "_Node | None" = None
    routes: dict[str, tuple[Route, tuple[str, ...]]] = Factory(dict)


class Router:
    """Finds the route of a request. Old names of stable routes lead to the same place."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._fixed: dict[tuple[str, str], Route] = {}
        for route in routes:
            self._add(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route for ``path`` (still percent-encoded), and its path parameters.

        Raises:
            Unrecognized: nothing is there.
            MethodNotAllowed: something is there, but not under this method.
        """
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed, {}
        segments = _current_name(path).split("/")[1:]
        found = self._walk(self._root, segments, 0, ())
        if found is None:
            check_path(path)
            raise Unrecognized(f"There is no endpoint {path[:200]}")
        node, values = found
        if method not in node.routes:
            allowed = ", ".join(sorted(node.routes))
            raise MethodNotAllowed(f"{method} is not possible here, only {allowed}")
        route, names = node.routes[method]
        return route, dict(zip(names, (_plain(value.encode()) for value in values), strict=True))

    def _add(self, route: Route) -> None:
        node, names = self._root, []
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment.strip("{}"))
                if node.parameter is None:
                    node.parameter = _Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(segment, _Node())
        if route.method in node.routes:
            raise ValueError(f"Two routes for {route.method} {route.path}")
        node.routes[route.method] = (route, tuple(names))
        if not names:
            self._fixed[route.method, route.path] = route

    def _walk(
        self, node: _Node, segments: list[str], index: int, values: tuple[str, ...]
    ) -> tuple[_Node, tuple[str, ...]] | None:
        """Literal segments win over parameters; an empty segment is only ever a state key."""
        if index == len(segments):
            return (node, values) if node.routes else None
        segment = segments[index]
        child = node.literal.get(segment)
        if child is not None:
            found = self._walk(child, segments, index + 1, values)
            if found is not None:
                return found
        child = node.parameter
        if child is None or (not segment and not _takes_empty(child)):
            return None
        return self._walk(child, segments, index + 1, (*values, segment))


def _takes_empty(node: _Node) -> bool:
    return any(names and names[-1] == "state_key" for _, names in node.routes.values())


_UNSTABLE_NAMES_OF_STABLE_ROUTES = ("keys/", "room_keys/", "pushrules/", "rooms/", "sendToDevice/")


def _current_name(path: str) -> str:
    """``r0`` is a second name of ``v3``, and some stable routes kept their unstable one."""
    if path.startswith("/_matrix/client/r0/"):
        return "/_matrix/client/v3/" + path[19:]
    if path == "/_matrix/client/api/v1/publicRooms":
        return "/_matrix/client/v3/publicRooms"
    if path.startswith("/_matrix/client/unstable/"):
        rest = path[25:]
        if rest.startswith("rooms/") and "/relations/" in rest:
            return "/_matrix/client/v1/" + rest
        if rest.startswith(_UNSTABLE_NAMES_OF_STABLE_ROUTES):
            return "/_matrix/client/v3/" + rest
    if path.startswith(("/_matrix/media/r0/", "/_matrix/media/v1/")) and path[18:] != "create":
        return "/_matrix/media/v3/" + path[18:]
    return path


def _plain(encoded: bytes, *, plus: bool = False) -> str:
    """Percent-decode; U+0000 and broken UTF-8 are refused here for every path and query."""
    if plus:
        encoded = encoded.replace(b"+", b" ")
    try:
        text = (unquote_to_bytes(encoded) if b"%" in encoded else encoded).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidParam("The address of the request is not UTF-8") from None
    if "\0" in text:
        raise InvalidParam("The address of the request must not hold the character U+0000")
    return text
