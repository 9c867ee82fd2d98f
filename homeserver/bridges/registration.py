"""Registrations: what the file of a bridge or bot says, read strictly.

Application service API, "Registration". A mistake stops the start with one sentence that names the
file and the key; tokens are in no sentence and in no log.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import re2
import yaml
from attrs import field, frozen

from federation_disabled.guard import Guard
from homeserver.config import Config
from homeserver.settings import ConfigError
from schema.errors import InvalidUsername
from schema.ids import LONGEST_ID, check_new_localpart

LARGEST_FILE = 1024 * 1024
SHORTEST_TOKEN = 8
MOST_NAMES = 20_000
"""How many names each namespace remembers the answer for."""

_DEVICES = "org.matrix.msc3202"
_EPHEMERAL = ("receive_ephemeral", "de.sorunome.msc2409.push_ephemeral")
_KEYS = (
    *("id", "url", "as_token", "hs_token", "sender_localpart", "namespaces"),
    *("rate_limited", "protocols", "receive_ephemeral"),
)
_NEEDED = _KEYS[:6]
_KINDS = ("users", "aliases", "rooms")


class Namespaces:
    """Which names of one kind a service is interested in, and which nobody else may have.

    As elsewhere in the Matrix world, an expression has to match from the beginning of the name and
    need not reach its end. The engine is linear in the length of the name, whatever the expression:
    people choose the names, so a careless one must not let them stop the server.
    """

    def __init__(self, given: Sequence[tuple[str, bool]]) -> None:
        """Pairs of an expression and whether it is exclusive.

        Raises:
            ValueError: an expression cannot be used.
        """
        options = re2.Options()
        options.log_errors = False
        try:
            patterns = [(re2.compile(regex, options), exclusive) for regex, exclusive in given]
        except re2.error as error:
            reason = error.args[0] if error.args else "it is none"
            reason = reason.decode() if isinstance(reason, bytes) else reason
            raise ValueError(str(reason)) from None
        self._covering = [pattern for pattern, _ in patterns]
        self._reserving = [pattern for pattern, exclusive in patterns if exclusive]
        self.covers: Callable[[str], bool] = lru_cache(MOST_NAMES)(self._covers)
        """Whether the service is interested in a name."""

    def __bool__(self) -> bool:
        return bool(self._covering)

    def reserves(self, name: str) -> bool:
        """Whether nobody else may have a name."""
        return any(pattern.match(name) for pattern in self._reserving)

    def _covers(self, name: str) -> bool:
        return any(pattern.match(name) for pattern in self._covering)


@frozen(eq=False)
class Registration:
    """One application service, as its file describes it."""

    id: str
    url: str | None
    """Where it is reached, without a slash at the end; None if it wants no traffic."""
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender: str
    """The user id of its own user."""
    users: Namespaces
    aliases: Namespaces
    rooms: Namespaces
    is_rate_limited: bool
    """Whether the users that it acts as are limited as people are; its own user never is."""
    receives_ephemeral: bool
    """It wants typing notices, receipts and presence, and what is sent to its users' devices."""
    knows_old_name: bool
    """It asked for that by the name that this had before version 1.13 of the specification."""
    tracks_devices: bool
    """It encrypts by what it gets in transactions (MSC3202): lists of devices, counts of keys."""
    protocols: Sequence[str]

    def covers_user(self, user_id: str) -> bool:
        """Whether it may act as a user of this server, and hears what concerns them."""
        return user_id == self.sender or self.users.covers(user_id)

    def reserves_user(self, user_id: str) -> bool:
        """Whether nobody else may have this user id."""
        return user_id == self.sender or self.users.reserves(user_id)


def host_of(service: Registration) -> str | None:
    """The host that a service's address names."""
    return None if service.url is None else urlsplit(service.url).hostname


def load_registrations(config: Config) -> list[Registration]:
    """Read every file that the configuration names; paths are relative to the configuration.

    Raises:
        ConfigError: a file cannot be read or used, or two of them contradict each other.
    """
    read: list[tuple[Path, Registration]] = []
    for name in config.application_services:
        file = (config.file.parent / name).resolve()
        new = _File(file, config.server_name).read()
        for other_file, other in read:
            for key in ("id", "as_token", "sender"):
                if getattr(new, key) == getattr(other, key):
                    named = "sender_localpart" if key == "sender" else key
                    raise ConfigError(f"{file}: {named} must not be the same as in {other_file}")
        read.append((file, new))
    return [registration for _, registration in read]


class _File:
    """Reads one registration."""

    def __init__(self, file: Path, server_name: str) -> None:
        self._file = file
        self._server_name = server_name

    def read(self) -> Registration:
        content = self._content()
        for key in content:
            # Names with a dot belong to somebody's extension, which may mean nothing here.
            if key not in _KEYS and not (isinstance(key, str) and "." in key):
                self._refuse(f"{key} is no key of a registration; known are {', '.join(_KEYS)}")
        for key in _NEEDED:
            if key not in content:
                self._refuse(f"{key} is missing")
        namespaces = self._namespaces(content["namespaces"])
        return Registration(
            id=self._text(content, "id"),
            url=self._url(content["url"]),
            as_token=self._token(content, "as_token"),
            hs_token=self._token(content, "hs_token"),
            sender=self._sender(self._text(content, "sender_localpart")),
            users=namespaces["users"],
            aliases=namespaces["aliases"],
            rooms=namespaces["rooms"],
            is_rate_limited=self._flag(content, "rate_limited", True),
            receives_ephemeral=self._flag(content, _EPHEMERAL[0], False)
            | self._flag(content, _EPHEMERAL[1], False),
            knows_old_name=self._flag(content, _EPHEMERAL[1], False),
            tracks_devices=self._flag(content, _DEVICES, False),
            protocols=self._protocols(content.get("protocols")),
        )

    def _content(self) -> Mapping[Any, Any]:
        try:
            with self._file.open("rb") as stream:
                text = stream.read(LARGEST_FILE + 1)
            if len(text) > LARGEST_FILE:
                self._refuse("is too large for a registration")
            content = yaml.safe_load(text)
        except OSError as error:
            raise ConfigError(
                f"The registration {self._file} cannot be read: {error.strerror}"
            ) from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{self._file}, line {line}: {error.problem}") from error
        except (yaml.YAMLError, UnicodeDecodeError):
            self._refuse("it is not a YAML file")
        if not isinstance(content, dict):
            self._refuse("a registration consists of keys and values")
        return content

    def _text(self, content: Mapping[Any, Any], key: str) -> str:
        value = content[key]
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID or "\0" in value:
            self._refuse(f"{key} must be text of 1 to {LONGEST_ID} characters")
        return value

    def _token(self, content: Mapping[Any, Any], key: str) -> str:
        value = content[key]
        if (
            not isinstance(value, str)
            or not SHORTEST_TOKEN <= len(value) <= 4096
            or not all("!" <= letter <= "~" for letter in value)
        ):
            self._refuse(
                f"{key} must be a long random text: at least {SHORTEST_TOKEN} letters and digits,"
                " without spaces"
            )
        return value

    def _flag(self, content: Mapping[Any, Any], key: str, default: bool) -> bool:
        value = content.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._refuse(f"{key} must be true or false")
        return value

    def _url(self, value: Any) -> str | None:
        if value is None or value == "":
            return None
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            Guard([parts.hostname or ""])
        except (ValueError, AttributeError, TypeError):
            usable = False
        if not usable or parts.query or parts.fragment or "@" in parts.netloc:
            self._refuse("url must be an address such as http://127.0.0.1:29328, or null")
        return str(value).rstrip("/")

    def _sender(self, localpart: str) -> str:
        user_id = f"@{localpart}:{self._server_name}"
        try:
            check_new_localpart(localpart)
        except InvalidUsername as error:
            self._refuse(f"sender_localpart cannot be a user name: {error.error}")
        if len(user_id) > LONGEST_ID:
            self._refuse("sender_localpart is too long")
        return user_id

    def _namespaces(self, given: Any) -> Mapping[str, Namespaces]:
        if not isinstance(given, dict) or not set(given) <= set(_KINDS):
            self._refuse(f"namespaces may hold {', '.join(_KINDS)}, each a list")
        return {kind: self._namespace(f"namespaces.{kind}", given.get(kind)) for kind in _KINDS}

    def _namespace(self, key: str, given: Any) -> Namespaces:
        entries = [] if given is None else given
        if not isinstance(entries, list):
            self._refuse(f"{key} must be a list")
        pairs = []
        for entry in entries:
            if (
                not isinstance(entry, dict)
                or not isinstance(entry.get("regex"), str)
                or not isinstance(entry.get("exclusive"), bool)
            ):
                self._refuse(f"{key}: each entry has a regex and says whether it is exclusive")
            pairs.append((entry["regex"], entry["exclusive"]))
        try:
            return Namespaces(pairs)
        except ValueError as error:
            self._refuse(f"{key}: a regex cannot be used: {error}")

    def _protocols(self, given: Any) -> Sequence[str]:
        names = [] if given is None else given
        if not isinstance(names, list) or not all(
            isinstance(name, str) and 0 < len(name) <= LONGEST_ID for name in names
        ):
            self._refuse("protocols must be a list of names")
        return tuple(dict.fromkeys(names))

    def _refuse(self, sentence: str) -> NoReturn:
        raise ConfigError(f"{self._file}: {sentence}")
