"""The address is the one that the gateway wrote."""

from ipaddress import ip_address
from typing import Any

import pytest

from platform_server.kit.client_address import UNKNOWN, client_address, networks

TRUSTED = networks("10.0.0.0/8, 127.0.0.0/8,fd00::/8")
GATEWAY = "10.1.2.3"


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"type": "http", "client": (peer, 1234) if peer else None, "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        (GATEWAY, ["203.0.113.7"], "203.0.113.7"),
        (GATEWAY, ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (GATEWAY, ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (GATEWAY, ["127.0.0.1, 10.0.0.1, 203.0.113.7"], "203.0.113.7"),
        (GATEWAY, [], GATEWAY),
        (GATEWAY, [""], GATEWAY),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.1.2.3", ["203.0.113.7"], "203.0.113.7"),
        (GATEWAY, ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("2001:db8::7", ["203.0.113.7"], "2001:db8::7"),
    ],
    ids=[
        "no proxy",
        "a client that is no proxy is not believed",
        "the gateway is believed",
        "what the client typed stands before",
        "what the client typed is a header of its own",
        "what the client typed looks like a proxy",
        "the gateway itself",
        "an empty header",
        "IPv6",
        "a mapped proxy is that proxy",
        "a mapped client is that client",
        "an IPv6 client is not believed",
    ],
)
def test_the_client_is(peer: str, forwarded: list[str], expected: str) -> None:
    assert client_address(scope(peer, *forwarded), TRUSTED) == ip_address(expected)


@pytest.mark.parametrize("garbage", ["x", "203.0.113.7:80", "1.2.3", "\x00", "é", "203.0.113.7,"])
def test_what_is_no_address_is_unknown_and_no_error(garbage: str) -> None:
    assert client_address(scope(GATEWAY, garbage), TRUSTED) in {UNKNOWN, ip_address(GATEWAY)}


def test_without_a_peer_nobody_is_believed() -> None:
    assert client_address(scope(None, "203.0.113.7"), TRUSTED) == UNKNOWN


def test_1000_forged_headers_are_one_client() -> None:
    forged = {client_address(scope("203.0.113.7", f"198.51.{n // 250}.{n % 250}"), TRUSTED) for n in range(1000)}
    behind = {client_address(scope(GATEWAY, f"198.51.{n // 250}.{n % 250}, 203.0.113.7"), TRUSTED) for n in range(1000)}
    assert forged == behind == {ip_address("203.0.113.7")}


def test_no_network_trusts_nobody() -> None:
    assert client_address(scope("127.0.0.1", "203.0.113.7"), networks("")) == ip_address("127.0.0.1")
