"""What a client says about a file: its name and its type, as far as it is told on."""

import re

OCTETS = "application/octet-stream"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_is_content_type = re.compile(
    rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*'
).fullmatch
_controls = re.compile(r"[\x00-\x1f\x7f-\x9f]+").sub


def clean_file_name(name: str | None) -> str | None:
    """A file name of bearable length, its ending kept, without control characters and outer blanks.

    None if nothing is left of it.
    """
    name = _controls("", name or "").strip()
    if len(name) > 200:
        name = name[:150] + "…" + name[-49:]
    return name or None


def clean_content_type(claimed: str | None) -> str:
    """What the client says that it is, if that is a media type at all."""
    claimed = (claimed or "").strip()
    return claimed if len(claimed) <= 200 and _is_content_type(claimed) else OCTETS
