"""Checks answers of the server against the response schemas of the Matrix specification.

    validator = ResponseValidator(find_spec())
    problems = validator.check("GET", "/_matrix/client/v3/account/whoami", 200, body)

``python -m tests.spec.validate`` checks the specification's own examples, which shows that the
schemas are read as they are meant.
"""

import posixpath
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from attrs import define, frozen
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.spec import MISSING, find_spec

BASE = "http://spec/"
APIS = ("client-server", "application-service", "push-gateway")
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
JSON = "application/json"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@frozen
class Operation:
    """One method of one path of the specification."""

    method: str
    path: str
    """With the base path, e.g. ``/_matrix/client/v3/rooms/{roomId}/leave``."""
    api: str
    uri: str
    pointer: str
    definition: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.definition["operationId"])

    @property
    def parameters(self) -> list[str]:
        """The names in the path."""
        return re.findall(r"\{(.+?)\}", self.path)

    @property
    def needs_token(self) -> bool:
        ways = self.definition.get("security", [])
        return bool(ways) and all(any("ccessToken" in name for name in way) for way in ways)

    @property
    def literal(self) -> int:
        """How much of the path is fixed: of two that fit, the one with more of it is meant."""
        return len(re.sub(r"\{.+?\}", "", self.path))


@define(slots=False)
class _Matcher:
    operation: Operation

    @cached_property
    def regex(self) -> re.Pattern[str]:
        # A state key may be empty, then also its slash may be missing.
        path = self.operation.path.removesuffix("/{stateKey}")
        parts = re.split(r"\{.+?\}", path)
        pattern = "[^/]+".join(re.escape(part) for part in parts)
        if path != self.operation.path:
            pattern += "(?:/[^/]*)?"
        elif not parts[-1]:
            pattern = pattern.removesuffix("+") + "*"
        return re.compile(pattern)


class ResponseValidator:
    """Schemas are read when needed and kept: one instance is enough for a whole test run.

    Do not use it on answers to a request whose filter has ``event_fields``: those events are
    partial by wish of the client.
    """

    def __init__(self, spec: Path) -> None:
        self._spec = spec
        self._documents: dict[str, Any] = {}
        self._validators: dict[str, Draft202012Validator] = {}
        self._registry: Registry[Any] = Registry(retrieve=self._retrieve)
        self.operations = [each for api in APIS for each in self._operations(api)]
        by_length = sorted(self.operations, key=lambda each: -each.literal)
        self._matchers = [_Matcher(each) for each in by_length]

    def check(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What is wrong with this answer, in sentences; nothing when all is well."""
        path = urlsplit(path).path
        operations = self._find(method, path)
        if not operations:
            specified = path.startswith(("/_matrix/", "/.well-known/matrix/"))
            if not specified or "/unstable/" in path:
                return []
            return [f"{method} {path}: not an endpoint of the specification"]
        # The specification has two operations for a few paths; the answer must fit one of them.
        return min((self._check_one(each, status, body) for each in operations), key=len)

    def check_event(self, event: dict[str, Any]) -> list[str]:
        """The same for an event in the format of clients; events of types unknown here are free."""
        kind, content = event.get("type"), event.get("content")
        special = f"{kind}${content.get('msgtype')}" if isinstance(content, dict) else kind
        names = [n for n in (special, kind) if isinstance(n, str) and self._event_file(n).exists()]
        redacted = "redacted_because" in event.get("unsigned", {})
        if not names or (redacted and not content and kind != "m.room.create"):
            return []
        if "event_id" in event:
            event = {"room_id": "!left-out:in.sync", **event}
        schema = f"{BASE}data/event-schemas/schema/{names[0]}.yaml"
        return [f"event {kind}: {problem}" for problem in self._problems(schema, event)]

    def check_pdu(self, room_version: str, pdu: dict[str, Any]) -> list[str]:
        """The same for an event in the format of servers, which changed with some versions."""
        changed = max(each for each in (1, 3, 4, 6, 11, 12) if each <= int(room_version))
        if changed == 12 and pdu.get("type") == "m.room.create":
            # The schema wants what its own text says is left out.
            pdu = {"room_id": "!of-this-event", **pdu}
        schema = f"{BASE}data/api/server-server/definitions/pdu_v{changed}.yaml"
        return self._problems(schema, pdu)

    def check_examples(self) -> tuple[int, list[str]]:
        """How many answers the specification gives as examples, and what is wrong with them."""
        count, found = 0, []
        for operation in self.operations:
            for code in operation.definition["responses"]:
                pointer = f"{operation.pointer}/responses/{code}"
                uri, pointer, response = self._locate(operation.uri, pointer)
                for name in response.get("content", {}).get(JSON, {}).get("examples", {}):
                    where = f"{pointer}/content/{_escaped(JSON)}/examples/{_escaped(name)}"
                    uri_of_example, _, example = self._locate(uri, where)
                    if "value" in example and str(code).isdigit():
                        count += 1
                        body = self._expanded(example["value"], uri_of_example)
                        found += self._check_one(operation, int(code), body)
        return count, found

    def _operations(self, api: str) -> list[Operation]:
        found = []
        for file in sorted((self._spec / "data/api" / api).glob("*.yaml")):
            uri = f"{BASE}data/api/{api}/{file.name}"
            document = self._document(uri)
            base = document["servers"][0]["variables"]["basePath"]["default"]
            for path, item in document["paths"].items():
                for method in METHODS:
                    if method in item:
                        pointer = f"/paths/{_escaped(path)}/{method}"
                        # Two paths end in a blank, to be different from another one.
                        full, name = base + path.strip(), method.upper()
                        found.append(Operation(name, full, api, uri, pointer, item[method]))
        return found

    def _find(self, method: str, path: str) -> list[Operation]:
        path = re.sub(r"^/_matrix/client/(r0|unstable)/", "/_matrix/client/v3/", path)
        path = re.sub(r"^/_matrix/media/(r0|v1)/(?!create)", "/_matrix/media/v3/", path)
        fitting = [
            each.operation
            for each in self._matchers
            if each.operation.method == method and each.regex.fullmatch(path)
        ]
        return [each for each in fitting if each.literal == fitting[0].literal]

    def _check_one(self, operation: Operation, status: int, body: Any) -> list[str]:
        tag = f"{operation.method} {operation.path} -> {status}"
        responses = operation.definition["responses"]
        keys = [key for key in (str(status), f"{status // 100}XX", "default") if key in responses]
        if not keys and status < 400:
            return [f"{tag}: status not listed (listed: {', '.join(responses)})"]
        content: dict[str, Any] = {}
        if keys:
            pointer = f"{operation.pointer}/responses/{keys[0]}"
            uri, pointer, response = self._locate(operation.uri, pointer)
            content = response.get("content", {})
        if JSON not in content:
            return _error_problems(tag, status, body) if status >= 400 else []
        if "schema" not in content[JSON]:
            return []
        problems = self._problems(f"{uri}#{pointer}/content/{_escaped(JSON)}/schema", body)
        if problems and status == 401 and isinstance(body, dict) and "flows" not in body:
            return _error_problems(tag, status, body)  # of the token, not of interactive auth
        return [f"{tag}: {problem}" for problem in problems]

    def _problems(self, schema: str, body: Any) -> list[str]:
        if schema not in self._validators:
            validator = Draft202012Validator({"$ref": schema}, registry=self._registry)
            self._validators[schema] = validator
        errors = self._validators[schema].iter_errors(body)
        return sorted({sentence for error in errors for sentence in _explained(error)})

    def _event_file(self, name: str) -> Path:
        return self._spec / "data/event-schemas/schema" / f"{posixpath.basename(name)}.yaml"

    def _document(self, uri: str) -> Any:
        if uri not in self._documents:
            text = (self._spec / uri.removeprefix(BASE)).read_text("utf-8")
            self._documents[uri] = yaml.load(text, Loader=LOADER)
        return self._documents[uri]

    def _retrieve(self, uri: str) -> Resource[Any]:
        return Resource(contents=self._document(uri), specification=DRAFT202012)

    def _locate(self, uri: str, pointer: str) -> tuple[str, str, Any]:
        """What ``uri#pointer`` leads to, after every ``$ref``, and where that stands."""
        value = self._at(uri, pointer)
        while isinstance(value, dict) and "$ref" in value:
            uri, pointer = _resolved(value["$ref"], uri)
            value = self._at(uri, pointer)
        return uri, pointer, value

    def _at(self, uri: str, pointer: str) -> Any:
        value = self._document(uri)
        for key in filter(None, pointer.split("/")):
            value = value[key.replace("%25", "%").replace("~1", "/").replace("~0", "~")]
        return value

    def _expanded(self, value: Any, uri: str) -> Any:
        """An example with the examples that it is put together from."""
        if isinstance(value, list):
            return [self._expanded(each, uri) for each in value]
        if not isinstance(value, dict):
            return value
        own = {key: self._expanded(each, uri) for key, each in value.items() if key != "$ref"}
        if "$ref" not in value:
            return own
        source, pointer = _resolved(value["$ref"], uri)
        base = self._expanded(self._at(source, pointer), source)
        return {**base, **own} if isinstance(base, dict) else base


def _resolved(reference: str, uri: str) -> tuple[str, str]:
    file, _, pointer = reference.partition("#")
    if file:
        folder = posixpath.dirname(uri.removeprefix(BASE))
        uri = BASE + posixpath.normpath(posixpath.join(folder, file))
    return uri, pointer


def _escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1").replace("%", "%25")


def _error_problems(tag: str, status: int, body: Any) -> list[str]:
    """client-server API, "Standard error response"."""
    if not isinstance(body, dict) or not (isinstance(body.get("errcode"), str) or "flows" in body):
        return [f"{tag}: no errcode in {str(body)[:80]!r}"]
    if not isinstance(body.get("error", ""), str):
        return [f"{tag}: error is not a string"]
    if status == 429 and not isinstance(body.get("retry_after_ms", 0), int):
        return [f"{tag}: retry_after_ms is not an integer"]
    return []


def _explained(error: ValidationError) -> list[str]:
    if error.validator == "oneOf" and not error.context:
        return []  # several branches fit, because the specification's own branches overlap
    if error.validator in ("oneOf", "anyOf") and error.context:
        branches: dict[Any, list[ValidationError]] = {}
        for cause in error.context:
            branches.setdefault(cause.schema_path[0], []).append(cause)
        nearest = min(branches.values(), key=len)
        return [line for cause in nearest for line in _explained(cause)]
    return [f"{error.json_path}: {error.message[:300]}"]


def main() -> int:
    spec = find_spec()
    if spec is None:
        print(MISSING)
        return 0
    validator = ResponseValidator(spec)
    count, problems = validator.check_examples()
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{count - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
