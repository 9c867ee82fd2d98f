"""Which addresses the server may contact at all: the rule behind ``Egress``, without a network."""

import ipaddress
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The special-purpose registries of IANA, but for what is globally reachable.
_NOT_PUBLIC_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
]
_PUBLIC_6 = IPv6Network("2000::/3")  # all else is loopback, link-local, ULA, multicast, unassigned
_NOT_PUBLIC_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries any IPv4 address
        "3fff::/20",
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
_host_name = re.compile(r"[A-Za-z0-9._-]{1,253}").fullmatch


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also one that embeds another."""
    address = _unwrapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that a mapped or NAT64 address leads to."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class Guard:
    """Which addresses may be contacted: public ones, and what the configuration lists.

    ``allowed`` holds addresses, networks (``10.1.0.0/16``) and host names. A listed name is
    trusted wherever it leads.

    Raises:
        ValueError: an entry is neither.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                if not is_host_name(entry):
                    raise ValueError(
                        f"{entry!r} is neither an address, a network nor a host name"
                    ) from None
                self._hosts.add(_same_name(entry))

    def permits(self, host: str, address: Address) -> bool:
        """Whether ``host``, which was found at ``address``, may be contacted there."""
        return (
            is_public(address)
            or _same_name(host) in self._hosts
            or any(_unwrapped(address) in network for network in self._networks)
        )

    def names(self, host: str) -> bool:
        """Whether the configuration itself lists this host, by its name or its address."""
        try:
            address = _unwrapped(ipaddress.ip_address(host))
        except ValueError:
            return _same_name(host) in self._hosts
        return any(address in network for network in self._networks)


def is_host_name(text: str) -> bool:
    """Whether ``text`` can be asked for in the DNS; weeds out user names, zones and worse."""
    return bool(_host_name(text))


def _same_name(host: str) -> str:
    return host.lower().removesuffix(".")
