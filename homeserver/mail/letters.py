"""What letters say. Plain text; who gets one by mistake learns that they can leave it alone."""

from enum import Enum

from attrs import frozen

from homeserver.mail.mailer import Letter


class Purpose(Enum):
    """What somebody proves an address for."""

    REGISTER = "register"
    ADD = "add"
    PASSWORD = "password"


_ASK = {
    Purpose.REGISTER: (
        "Confirm your address to sign up at {server}",
        "Somebody signs up at {server} with this e-mail address. If it is you, open this link and"
        " confirm it there:",
    ),
    Purpose.ADD: (
        "Confirm your address at {server}",
        "Somebody adds this e-mail address to an account at {server}. If it is you, open this link"
        " and confirm it there:",
    ),
    Purpose.PASSWORD: (
        "A new password at {server}",
        "Somebody asks for a new password for the account at {server} that has this e-mail address."
        " If it is you, open this link and confirm it there:",
    ),
}
_EXPLAIN = {
    Purpose.REGISTER: (
        "You have an account at {server} already",
        "Somebody signs up at {server} with this e-mail address, but it belongs to an account"
        " already. If it was you, log in instead. If you have forgotten your password, choose"
        ' "forgot password" in your app.',
    ),
    Purpose.ADD: (
        "This address belongs to an account at {server} already",
        "Somebody adds this e-mail address to an account at {server}, but it belongs to one"
        " already. If it was you, remove it there first.",
    ),
    Purpose.PASSWORD: (
        "No account at {server} has this address",
        "Somebody asks for a new password at {server} with this e-mail address, but no account"
        " there has it. If it was you, try your other addresses, or ask the organizer of the"
        " server.",
    ),
}
_END = "If it was not you, there is nothing to do: without you, nothing happens."


@frozen
class Letters:
    """Writes the letters of one server."""

    server_name: str

    def ask(self, purpose: Purpose, to: str, link: str) -> Letter:
        """Ask whoever reads ``to`` whether it was they. ``link`` leads to where they say so."""
        subject, text = _ASK[purpose]
        body = f"{text}\n\n{{link}}\n\nThe link is good for an hour.\n\n{_END}\n"
        return self._letter(to, subject, body, link)

    def explain(self, purpose: Purpose, to: str) -> Letter:
        """Tell whoever reads ``to`` why what somebody tried with it does not work."""
        subject, text = _EXPLAIN[purpose]
        return self._letter(to, subject, f"{text}\n\n{_END}\n", "")

    def _letter(self, to: str, subject: str, text: str, link: str) -> Letter:
        server = self.server_name
        return Letter(to, subject.format(server=server), text.format(server=server, link=link))
