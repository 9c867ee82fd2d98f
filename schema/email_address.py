"""E-mail addresses in the one form that stands for them (appendices, "E-Mail").

Only what can be delivered everywhere passes: a dot-atom of ASCII before the ``@`` (RFC 5321), a
host name after it. Nothing that passes can end a line or a header, or be more than one address.
"""

import re

import idna

from schema.errors import InvalidParam

LONGEST = 254
_local_part = re.compile(
    r"(?=.{1,64}\Z)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
).fullmatch
_host = re.compile(r"(?:[a-z0-9-]{1,63}\.)+(?![0-9]+\Z)[a-z0-9-]{2,63}").fullmatch


def canonical(text: object) -> str:
    """The address as it is compared, kept and written to.

    Case-folded; the host as the ASCII that the DNS knows it by, so that two spellings of one name
    are one address and two names never are. What comes out comes out of itself.

    Raises:
        InvalidParam: it is no address that a letter could be sent to.
    """
    if not isinstance(text, str):
        raise InvalidParam("An e-mail address must be text")
    local_part, at, host = text.rpartition("@")
    try:
        address = f"{local_part.casefold()}{at}{idna.encode(host, uts46=True).decode()}"
    except (idna.IDNAError, UnicodeError):
        raise _no_address() from None
    local_part, _, host = address.rpartition("@")
    if not (_local_part(local_part) and _host(host) and len(address) <= LONGEST):
        raise _no_address()
    return address


def _no_address() -> InvalidParam:
    return InvalidParam("That is not an e-mail address: it must look like name@example.org")
