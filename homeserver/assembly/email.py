"""E-mail, put together where the configuration names a mail server."""

from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from homeserver.clock import random_token, system_clock
from homeserver.config import Config
from homeserver.email_validations import EmailValidations
from homeserver.limits import Limits
from homeserver.mail.letters import Letters
from homeserver.mail.mailer import Mailer
from homeserver.settings import ConfigError
from storage.store import Store


@frozen
class Email:
    """Letters, and who has confirmed theirs."""

    mailer: Mailer
    validations: EmailValidations


def assemble_email(config: Config, reactor: Any, store: Store, limits: Limits) -> Email | None:
    """None where the server sends no e-mail.

    Raises:
        ConfigError: the password or the certificates cannot be read.
    """
    settings = config.email
    if settings.host is None or settings.sender is None:
        return None
    # Imported late: Twisted looks up the name of this machine as soon as the module is loaded.
    from homeserver.mail.smtp import MailServer, Smtp

    try:
        password = settings.password
        if settings.password_file is not None:
            password = config.beside(settings.password_file).read_text("utf-8").strip()
        certificates = settings.certificates and config.beside(settings.certificates)
        server = MailServer(
            settings.host,
            settings.port,
            settings.security,
            settings.user,
            password,
            certificates or None,
        )
        carrier = Smtp(reactor, server, urlsplit(config.public_url).hostname or "localhost")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config.file}: email: {error}") from None
    mailer = Mailer(reactor, system_clock, carrier, settings.sender)
    validations = EmailValidations(
        store,
        system_clock,
        random_token,
        limits,
        mailer,
        Letters(config.server_name),
        config.public_url,
    )
    return Email(mailer, validations)
