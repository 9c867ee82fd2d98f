"""What the text of a setting may look like, where its type says too little."""

import re
from email.policy import EmailPolicy
from math import isfinite
from typing import Any
from urllib.parse import SplitResult, urlsplit

from schema.email_address import canonical
from schema.errors import InvalidParam
from schema.ids import server_name

is_opaque = re.compile(r"[0-9A-Za-z._~-]{1,255}").fullmatch
is_relay = re.compile(
    r"turns?:(?:[0-9A-Za-z.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
    r"(?:\?transport=(?:udp|tcp))?"
).fullmatch
is_language = re.compile(r"[A-Za-z]{2,3}(?:[-_][0-9A-Za-z]{1,8}){0,5}").fullmatch
LONGEST_SERVER_NAME = 230
"""So that ids have room for names."""


def is_sender(text: str) -> bool:
    if not text.isprintable():
        return False
    header: Any = EmailPolicy().header_factory("From", text)
    try:
        addresses = [canonical(each.addr_spec) for each in header.addresses]
    except InvalidParam:
        return False
    return len(addresses) == 1 and not header.defects


def is_server_name(name: str) -> bool:
    try:
        server_name(name)
    except InvalidParam:
        return False
    return len(name) <= LONGEST_SERVER_NAME


def split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # is read, and refused, late
    except ValueError:
        return None
    return parts


def is_database(address: str) -> bool:
    if address.startswith("sqlite:"):
        return address != "sqlite:"
    return address.startswith(("postgresql://", "postgres://")) and split_url(address) is not None


def is_endpoint(address: str) -> bool:
    if address.startswith("unix:"):
        return address.startswith("unix:/")
    host, _, port = address.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and int(port) < 2**16


def is_rate(value: float) -> bool:
    return isfinite(value) and value > 0
