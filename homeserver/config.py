"""The configuration file: typed settings, each with the sentence that explains it.

The first start writes the file with every setting and its default. Unknown keys and wrong values
stop the start with one sentence that names the line and the key (``settings`` reads the file).
"""

from pathlib import Path
from typing import Literal

from attrs import field, fields, frozen

from federation_disabled.guard import Guard, is_host_name
from homeserver.previews.hosts import host_name
from homeserver.rooms.versions import VERSIONS
from homeserver.setting_texts import (
    is_database,
    is_endpoint,
    is_language,
    is_opaque,
    is_rate,
    is_relay,
    is_sender,
    is_server_name,
    split_url,
)
from homeserver.settings import Reader, needed, read_yaml, section, setting, written_out

KINDS = ("direct", "self", "group", "family", "space")
LONGEST_PREVIEW = 60
SHORTEST_CALL = 60


@frozen
class Policy:
    id: str = needed("a name for programs, such as privacy_policy")
    version: str = needed("which version of the document it is")
    language: str = needed("the language of this text, such as en")
    name: str = needed("what people call the document")
    url: str = needed("where it can be read")


@frozen
class Registration:
    mode: Literal["token", "open", "closed"] = setting(
        "token",
        "Who may sign up: with a sign-up token, anybody (for tests only), or nobody.",
    )
    shared_secret: str | None = setting(
        None,
        "Lets tools create accounts at /_synapse/admin/v1/register. Long and random, or null.",
    )
    email: Literal["never", "optional", "required"] = setting(
        "optional", "Whether who signs up proves an e-mail address, where there is e-mail at all."
    )
    guests: bool = setting(
        False,
        "Let anybody in without a password, to read what the world may read and to join rooms that"
        " let guests in. Who is away for 30 days is forgotten; false: there are no new ones.",
    )
    terms: list[Policy] = setting(
        [],
        "What who signs up must accept: a list, each {id, version, language, name, url}; one id may"
        " stand there in several languages.",
    )


@frozen
class RateLimits:
    enabled: bool = setting(True, "Switch every limit below on or off.")
    login: list[float] = setting([0.2, 20], "Attempts to log in, per address.")
    registration: list[float] = setting([0.2, 20], "New accounts, per address.")
    guests: list[float] = setting([0.01, 5], "New guests, per address; also new accounts.")
    email: list[float] = setting([0.05, 30], "E-mails asked for, per address that asks.")
    email_recipient: list[float] = setting([0.003, 5], "E-mails sent, per e-mail address.")
    message: list[float] = setting([10, 100], "Events sent, per person.")
    join: list[float] = setting([2, 100], "Rooms joined, per person.")
    invite: list[float] = setting([2, 100], "Invitations, per person.")
    create_room: list[float] = setting([0.5, 50], "Rooms created, per person.")
    keys: list[float] = setting([20, 200], "Encryption requests, per device.")
    media: list[float] = setting([5, 100], "Uploads, per person.")
    previews: list[float] = setting([0.5, 30], "Previews of links, per person.")
    search: list[float] = setting([2, 30], "Searches in the history, per person.")
    other: list[float] = setting([50, 500], "Every other request, per person or address.")


@frozen
class Rooms:
    default_version: str = setting("11", "The version of new rooms.")
    self_room: bool = setting(True, "Give everybody a room for notes to themselves.")
    encrypt: list[str] = setting(
        ["direct", "self", "group", "family"],
        "Conversation types whose new rooms are encrypted unless they are public.",
    )
    require_encryption: list[str] = setting(
        [], "Conversation types in which a message that is not encrypted is refused."
    )
    keep_redacted_days: int = setting(
        7,
        "For how many days the database keeps what a redacted event said; 0: not at all. Only"
        " whoever runs the server can read it there. A file that was shown unencrypted goes so many"
        " days after its uploader's last message with it was redacted.",
    )


@frozen
class Devices:
    expire_after_days: int = setting(
        0,
        "Log out devices that have not been used for so many days, at least 7; 0: never. What was"
        " waiting for them is lost.",
    )


@frozen
class Media:
    max_upload_bytes: int = setting(52_428_800, "The largest file that can be uploaded.")
    max_image_pixels: int = setting(50_000_000, "Larger pictures get no thumbnail.")
    person_quota_bytes: int = setting(
        5_368_709_120, "How much one person may store altogether; 0: no limit."
    )
    family_quota_bytes: int = setting(0, "How much the people of one family may; 0: no limit.")
    server_quota_bytes: int = setting(
        0, "How much everybody together may store; 0: until the disk is full."
    )
    sealing_key_variable: str | None = setting(
        None,
        "The environment variable with the key that seals new files on the disk, as from"
        " `openssl rand -base64 32`; null: none. Without their key sealed files are lost for ever.",
    )


@frozen
class Email:
    host: str | None = setting(
        None,
        "The mail server that takes our letters; null: people have no e-mail addresses here, and"
        " whoever forgets their password needs the organizer.",
    )
    port: int = setting(587, "Its port: mostly 587 for starttls, 465 for tls, 25 for none.")
    security: Literal["starttls", "tls", "none"] = setting(
        "starttls", "How the connection is encrypted; none only for a mail server next to this one."
    )
    certificates: str | None = setting(
        None,
        "A PEM file with whom to trust instead of the public authorities; relative to this file.",
    )
    user: str | None = setting(None, "Who we are to the mail server; null: it asks nobody.")
    password: str | None = setting(None, "The password that goes with the user.")
    password_file: str | None = setting(
        None, "A file with that password, instead of having it here; relative to this file."
    )
    sender: str | None = setting(
        None, "Whom letters come from: hearth@example.org or Elm Street <hearth@example.org>."
    )


@frozen
class Previews:
    enabled: bool = setting(
        False,
        "Fetch the pages that people link to, for their title and picture. Those pages learn the"
        " address of this server, and this server learns the links.",
    )
    allow: list[str] = setting(
        [], "If there are any, only these hosts and those below them, e.g. wikipedia.org."
    )
    deny: list[str] = setting([], "Never these hosts, nor those below them.")
    max_bytes: int = setting(5_242_880, "The largest page or picture that is fetched.")
    seconds: float = setting(10, "How long page and picture may take together.")
    keep_hours: int = setting(24, "How long a preview is kept.")


@frozen
class TurnSettings:
    uris: list[str] = setting(
        [],
        "Where the relay is, such as coturn: turn:turn.example.org?transport=udp, turns: with TLS;"
        " without any, calls only work between phones that reach each other.",
    )
    secret_variable: str | None = setting(
        None, "The environment variable with the secret that the relay knows (static-auth-secret)."
    )
    secret_file: str | None = setting(
        None, "A file with that secret instead; relative to this file."
    )
    lifetime_seconds: int = setting(86_400, "How long the credentials of a call are good.")


@frozen
class Metrics:
    listen: str | None = setting(
        "127.0.0.1:9008", "Where Prometheus reads, host:port; null switches it off."
    )
    token: str | None = setting(
        None, "Prometheus must send this bearer token. Needed beyond the loopback interface."
    )


@frozen
class Config:
    server_name: str = setting("localhost", "The part after the colon of every id. For ever.")
    public_url: str = setting("http://127.0.0.1:8008/", "Where clients reach this server.")
    listen: list[str] = setting(
        ["127.0.0.1:8008"], "host:port or unix:/path. Plain HTTP; TLS is the proxy's business."
    )
    data_dir: str = setting(
        "data",
        "Signing key, secrets, media and the SQLite file; relative to this file.",
    )
    database: str = setting(
        "sqlite:hearth.db",
        "sqlite:FILE (inside data_dir) or postgresql://user:password@host:port/name.",
    )
    redis: str | None = setting(
        None, "redis://host:port/0 when several processes run. Not used yet: one serves all."
    )
    registration: Registration = section(Registration, "How people get accounts.")
    rate_limits: RateLimits = section(
        RateLimits, "Each limit is [per second, at once]: a steady rate and a burst."
    )
    rooms: Rooms = section(Rooms, "Rooms and their types.")
    devices: Devices = section(Devices, "Where people are logged in.")
    application_services: list[str] = setting(
        [], "Registration files of bridges and bots; relative to this file."
    )
    media: Media = section(Media, "Files and pictures.")
    email: Email = section(
        Email, "E-mail: addresses that people prove, new passwords for who forgot theirs."
    )
    previews: Previews = section(Previews, "Previews of links.")
    turn: TurnSettings = section(TurnSettings, "The relay for calls.")
    metrics: Metrics = section(Metrics, "Numbers for Prometheus.")
    allow_private_addresses: list[str] = setting(
        [],
        "Private networks that this server may send requests to, e.g. 192.168.1.0/24.",
    )
    file: Path = field(default=Path("hearth.yaml"), metadata={"internal": True})

    @property
    def unused(self) -> list[str]:
        """Settings that say something which this version does not do yet."""
        said = {"redis": self.redis}
        return [name for name, value in said.items() if value]

    def beside(self, name: str) -> Path:
        """A path as this file means it."""
        return (self.file.parent / name).resolve()

    @property
    def data(self) -> Path:
        """The data folder, as an absolute path."""
        return self.beside(self.data_dir)


def load(file: Path) -> Config:
    """Read the configuration from ``file``.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or wrong.
    """
    node = read_yaml(file)
    reader = Reader(file)
    config: Config = reader.build(Config, node, "", {"file": file.resolve()})
    _check(config, reader)
    return config


def default_text(data_dir: str) -> str:
    """The commented file that the first start writes."""
    lines = ["# Hearth's configuration. Restart the server after a change.", ""]
    return "\n".join(lines + written_out(Config, {"data_dir": data_dir}))


def _check(config: Config, reader: Reader) -> None:
    """What the types cannot say."""
    refuse = reader.refuse
    if not is_server_name(config.server_name):
        refuse("server_name", f"{config.server_name!r} is not a host name, with or without a port")
    url = split_url(config.public_url)
    if url is None or url.scheme not in ("http", "https") or not url.hostname:
        refuse("public_url", "must be an address that begins with http:// or https://")
    if not config.listen or not all(map(is_endpoint, config.listen)):
        refuse("listen", "must be a list, each host:port or unix:/path")
    if not is_database(config.database):
        refuse("database", "must be sqlite:FILE or postgresql://user:password@host:port/name")
    redis = None if config.redis is None else split_url(config.redis)
    if config.redis is not None and (redis is None or redis.scheme not in ("redis", "rediss")):
        refuse("redis", "must be redis://host:port/0 or null")
    secret = config.registration.shared_secret
    if secret is not None and len(secret) < 16:
        refuse("registration.shared_secret", "must have at least 16 characters")
    _check_terms(config, reader)
    for attribute in fields(RateLimits):
        value = getattr(config.rate_limits, attribute.name)
        if isinstance(value, list) and (len(value) != 2 or not all(map(is_rate, value))):
            refuse(f"rate_limits.{attribute.name}", "must be [per second, at once], both above 0")
    if config.rooms.default_version not in VERSIONS:
        refuse("rooms.default_version", f"must be one of {', '.join(VERSIONS)}")
    for key in ("encrypt", "require_encryption"):
        strange = set(getattr(config.rooms, key)) - set(KINDS)
        if strange:
            refuse(f"rooms.{key}", f"names {sorted(strange)}; the types are {', '.join(KINDS)}")
    if config.rooms.keep_redacted_days < 0:
        refuse("rooms.keep_redacted_days", "must not be below 0")
    if config.devices.expire_after_days != 0 and config.devices.expire_after_days < 7:
        refuse("devices.expire_after_days", "must be 0, for never, or at least 7")
    for key in ("max_upload_bytes", "max_image_pixels"):
        if getattr(config.media, key) < 1:
            refuse(f"media.{key}", "must be above 0")
    _check_email(config, reader)
    for key in ("person_quota_bytes", "family_quota_bytes", "server_quota_bytes"):
        if getattr(config.media, key) < 0:
            refuse(f"media.{key}", "must be 0, for no limit, or a number of bytes")
    for key in ("max_bytes", "keep_hours"):
        if getattr(config.previews, key) < 1:
            refuse(f"previews.{key}", "must be above 0")
    if not 0 < config.previews.seconds <= LONGEST_PREVIEW:
        refuse("previews.seconds", f"must be above 0, and at most {LONGEST_PREVIEW}")
    for key in ("allow", "deny"):
        if not all(is_host_name(host_name(host)) for host in getattr(config.previews, key)):
            refuse(f"previews.{key}", "must be a list of host names, without schemes and paths")
    _check_turn(config, reader)
    if config.metrics.listen is not None and not is_endpoint(config.metrics.listen):
        refuse("metrics.listen", "must be host:port, unix:/path or null")
    try:
        Guard(config.allow_private_addresses)
    except ValueError as error:
        refuse("allow_private_addresses", f"is wrong: {error}")


def _check_terms(config: Config, reader: Reader) -> None:
    versions: dict[str, str] = {}
    texts: set[tuple[str, str]] = set()
    for index, policy in enumerate(config.registration.terms):
        path = f"registration.terms[{index}]"
        url = split_url(policy.url)
        for key in ("id", "version"):
            if not is_opaque(getattr(policy, key)):
                reader.refuse(f"{path}.{key}", "must consist of 0-9 A-Z a-z . _ ~ -")
        if not is_language(policy.language):
            reader.refuse(f"{path}.language", "must be a code such as en or pt-BR")
        if url is None or url.scheme not in ("http", "https") or not url.hostname:
            reader.refuse(f"{path}.url", "must begin with https:// or http://")
        if versions.setdefault(policy.id, policy.version) != policy.version:
            reader.refuse(f"{path}.version", "differs from that in another language")
        if (policy.id, policy.language) in texts:
            reader.refuse(f"{path}.language", "stands there already for this id")
        texts.add((policy.id, policy.language))


def _check_email(config: Config, reader: Reader) -> None:
    email, refuse = config.email, reader.refuse
    if email.host is None:
        if config.registration.email == "required":
            refuse("registration.email", "cannot be required without a mail server: email.host")
        return
    if not is_host_name(email.host):
        refuse("email.host", "must be a host name or an address, without a port")
    if not 0 < email.port < 2**16:
        refuse("email.port", "must be between 1 and 65535")
    if email.sender is None or not is_sender(email.sender):
        refuse("email.sender", "must be an address such as Elm Street <hearth@example.org>")
    if email.password is not None and email.password_file is not None:
        refuse("email.password_file", "cannot be set beside email.password")
    has_password = email.password is not None or email.password_file is not None
    if has_password != (email.user is not None):
        refuse("email.user", "and a password go together: set both or none")
    if email.user is not None and email.security == "none":
        refuse("email.security", "must not be none: the password would travel in the clear")
    for key, name in (
        ("email.certificates", email.certificates),
        ("email.password_file", email.password_file),
    ):
        if name is not None and not config.beside(name).is_file():
            refuse(key, f"names a file that is not there: {config.beside(name)}")


def _check_turn(config: Config, reader: Reader) -> None:
    turn, refuse = config.turn, reader.refuse
    if not all(map(is_relay, turn.uris)):
        refuse("turn.uris", "must be a list, each turn:host:port?transport=udp, or turns:")
    if turn.uris and (turn.secret_variable is None) == (turn.secret_file is None):
        refuse("turn.uris", "need either turn.secret_variable or turn.secret_file")
    if turn.secret_file is not None and not config.beside(turn.secret_file).is_file():
        refuse("turn.secret_file", f"names a file that is not there: {turn.secret_file}")
    if turn.lifetime_seconds < SHORTEST_CALL:
        refuse("turn.lifetime_seconds", f"must be at least {SHORTEST_CALL}")
