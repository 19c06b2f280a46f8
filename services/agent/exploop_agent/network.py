"""Which addresses a tenant's scan may reach: our own table, for the standard library lets several odd forms pass."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Nobody's scan goes here, whatever is allowed.
_NEVER: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
        "3fff::/20", "5f00::/16", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip
# Only where the operator says so.
_PRIVATE: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")
)
# The metadata services of clouds, wherever their address lies.
_METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
    )
)  # fmt: skip
_NAT64: Final = IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The host leads to an address that may not be scanned; the text says which kind."""


def forbidden(address: Address, *, private_allowed: bool) -> str | None:
    """Why the address may not be reached; None when it may. Every address hidden inside it is judged too."""
    for form in unwrapped(address):
        if form in _METADATA:
            return "a cloud's metadata service"
        if any(form in network for network in _NEVER if network.version == form.version):
            return "a special-purpose address"
        if not private_allowed and any(form in network for network in _PRIVATE if network.version == form.version):
            return "a private address"
    return None


def unwrapped(address: Address) -> Iterable[Address]:
    """The address, and the IPv4 address inside an IPv4-mapped, 6to4, Teredo, NAT64 or IPv4-compatible one."""
    yield address
    if not isinstance(address, IPv6Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    low = int(address) & 0xFFFF_FFFF
    if address in _NAT64 or 1 < int(address) <= 0xFFFF_FFFF:
        yield IPv4Address(low)


async def checked_addresses(host: str, *, private_allowed: bool) -> list[Address]:
    """The host's addresses, resolved once, each of them allowed. Raises AddressRefused."""
    try:
        told = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressRefused("the host cannot be resolved") from error
    addresses = [ip_address(entry[4][0]) for entry in told]
    for address in addresses:
        if (why := forbidden(address, private_allowed=private_allowed)) is not None:
            raise AddressRefused(f"the host leads to {why}")
    return addresses
