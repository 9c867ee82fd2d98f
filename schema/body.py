"""Request bodies: the one module that compiles and applies the schemas of ``schema/requests``.

A schema says which types and sizes the server bears; what the values mean is the domain's part.
Unknown keys pass. ``null`` passes for optional strings (clients send it for "no value"), so a
handler reads ``body.get("reason")`` and treats None as absent.
"""

from collections.abc import Callable, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson

from schema import faults
from schema.errors import MatrixError
from schema.hot import HOT

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_NUL_FREE = "^[^\\u0000]*$"
_WORDS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "maxLength": lambda limit, _: faults.too_long(limit),
    "maxItems": lambda limit, _: faults.too_many(limit),
    "maxProperties": lambda limit, _: faults.too_many(limit),
    "minProperties": lambda limit, _: faults.too_few(limit),
    "minimum": lambda limit, _: faults.too_small(limit),
    "maximum": lambda limit, _: faults.too_large(limit),
    "enum": lambda choices, _: faults.not_one_of(choices),
    "pattern": lambda _, schema: f"must be {schema['title']}",
}


class Schemas:
    """All schemas of request bodies, compiled by ``prepare`` or when one is first needed.

    Built once by the composition root. Bodies are JSON as orjson reads it: no lone surrogates,
    integers of at most 64 bits.
    """

    def __init__(self) -> None:
        self._files = {
            entry.name.removesuffix(".json"): entry
            for entry in (resources.files("schema") / "requests").iterdir()
            if entry.name.endswith(".json")
        }
        self._compiled: dict[str, Validator] = {}

    def names(self) -> frozenset[str]:
        """Every schema there is, so that the routes can be checked when the server starts."""
        return frozenset(self._files)

    def check(self, name: str, value: Any) -> None:
        """Refuse a body that its schema does not allow, naming the place that is wrong.

        Raises:
            MissingParam: a required key is not there.
            BadJson: a value has the wrong type, or goes beyond a limit.
        """
        hot = HOT.get(name)
        if hot is not None:
            hot(value)
            return
        refusal = next(self.refusals(name, value), None)
        if refusal is not None:
            raise refusal

    def prepare(self) -> None:
        """Compile them all, so that no request has to wait for it. Takes a while: for a thread."""
        for name in self._files.keys() - HOT.keys():
            self._validator(name)

    def refusals(self, name: str, value: Any) -> Iterator[MatrixError]:
        """Everything that the schema itself has against a body, hand-written check or not."""
        return map(_refusal, self._validator(name).iter_errors(value))

    def _validator(self, name: str) -> "Validator":
        found = self._compiled.get(name)
        if found is None:
            found = _compile(orjson.loads(self._files[name].read_bytes()))
            self._compiled[name] = found
        return found


def _compile(schema: dict[str, Any]) -> "Validator":
    # Imported late: it takes longer than all the rest of the server's start together.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # JSON Schema counts 1.0 as an integer; the domain would get a float.
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return extend(Draft202012Validator, type_checker=types)(schema)


def _refusal(error: Any) -> MatrixError:
    """Our own sentence for what the engine found; its wording never reaches a client."""
    place, rule, limit = tuple(error.absolute_path), error.validator, error.validator_value
    if rule == "required":
        return faults.missing(place, next(key for key in limit if key not in error.instance))
    if rule == "type":
        return faults.wrong_type(place, limit, error.instance)
    words = faults.NUL if limit == _NUL_FREE else _WORDS[rule](limit, error.schema)
    if "propertyNames" in error.absolute_schema_path:
        return faults.wrong_key(place, error.instance, words)
    return faults.wrong_value(place, words)
