"""Which addresses a tenant's scan may reach."""

from ipaddress import ip_address

import pytest

from exploop_agent.network import AddressRefused, checked_addresses, forbidden

HIDDEN = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.100.100.200", "192.168.1.1")


def inside(form: str, hidden: str) -> str:
    """The IPv4 address as this form of IPv6 carries it."""
    number = int(ip_address(hidden))
    high, low = number >> 16, number & 0xFFFF
    return {
        "mapped": f"::ffff:{hidden}",
        "mapped in hexadecimal": f"::ffff:{high:x}:{low:x}",
        "compatible": f"::{high:x}:{low:x}",
        "translated": f"::ffff:0:{hidden}",
        "6to4": f"2002:{high:x}:{low:x}::1",
        "NAT64": f"64:ff9b::{hidden}",
        "local NAT64": f"64:ff9b:1::{hidden}",
        "Teredo server": f"2001:0:{high:x}:{low:x}::",
        "Teredo client": f"2001:0:808:808::{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}",
    }[form]


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(
    "form",
    ["mapped", "mapped in hexadecimal", "compatible", "translated", "6to4", "NAT64", "local NAT64", "Teredo server",
     "Teredo client"],
)  # fmt: skip
def test_an_address_is_seen_through_every_wrapping(form: str, hidden: str) -> None:
    assert forbidden(ip_address(inside(form, hidden)), private_allowed=False)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1",
     "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
     "::", "::1", "100::1", "2001:db8::1", "2001:2::1", "3fff::1", "5f00::1", "fe80::1", "fe80::1%1", "ff02::1"],
)  # fmt: skip
@pytest.mark.parametrize("private_allowed", [True, False])
def test_special_purpose_addresses_are_never_reached(address: str, private_allowed: bool) -> None:
    assert forbidden(ip_address(address), private_allowed=private_allowed)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
     "::ffff:100.100.100.200"],
)  # fmt: skip
def test_metadata_services_are_never_reached_even_where_private_addresses_are(address: str) -> None:
    assert forbidden(ip_address(address), private_allowed=True)


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "100.64.0.1", "172.31.255.255", "192.168.0.1", "fd12::1", "fec0::1", "::ffff:10.0.0.1"]
)
def test_private_addresses_are_reached_only_where_the_operator_says_so(address: str) -> None:
    assert forbidden(ip_address(address), private_allowed=False) == "a private address"
    assert forbidden(ip_address(address), private_allowed=True) is None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::1"]
)
def test_public_addresses_are_reached(address: str) -> None:
    assert forbidden(ip_address(address), private_allowed=False) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "2130706433", "0x7f.1", "127.1", "no-such.invalid"])
async def test_a_host_that_leads_nowhere_or_home_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        await checked_addresses(host, private_allowed=True)


async def test_an_address_of_its_own_needs_no_resolver() -> None:
    assert await checked_addresses("1.1.1.1", private_allowed=False) == [ip_address("1.1.1.1")]
