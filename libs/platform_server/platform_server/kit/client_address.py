"""Who is calling: the address that the gateway wrote, never the one that the client typed."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = IPv4Address(0)


def networks(text: str) -> tuple[Network, ...]:
    """Comma-separated networks. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(scope: Scope, trusted: Sequence[Network]) -> Address:
    """The peer; or, when the peer is a trusted proxy, the last entry of X-Forwarded-For: the one it wrote itself."""
    peer = _address(scope["client"][0]) if scope.get("client") else UNKNOWN
    if not any(peer in network for network in trusted):
        return peer
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    written = forwarded.decode("latin-1").rsplit(",", 1)[-1].strip()
    return _address(written) if written else peer


def _address(text: str) -> Address:
    try:
        address = ip_address(text)
    except ValueError:
        return UNKNOWN
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
