"""The way out for scanners, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address

import httpx
import pytest

from exploop_agent.network import Address, AddressRefused, checked_addresses
from exploop_agent.proxy import filtering_proxy

LOOPBACK = ip_address("127.0.0.1")


class Judge:
    """Says that this one host is at a loopback address, which no real judge would."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        if host != "shop.example":
            raise AddressRefused("not that one")
        return [LOOPBACK]


@asynccontextmanager
async def site(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that keeps what it is sent and answers, connection by connection; its port."""
    heard: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(left.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def raw(proxy: str, request: bytes) -> bytes:
    host, port = httpx.URL(proxy).host, httpx.URL(proxy).port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    async with asyncio.timeout(5):
        said = await reader.read()
    writer.close()
    return said


async def test_a_plain_request_is_passed_on_to_the_address_that_was_judged() -> None:
    async with (
        site(answer(b"hello")) as (port, heard),
        filtering_proxy(Judge()) as proxy,
        httpx.AsyncClient(proxy=proxy, trust_env=False) as client,
    ):
        said = await client.get(f"http://shop.example:{port}/a/b?c=d", headers={"Proxy-Thing": "x"})
    assert said.text == "hello"
    lines = heard[0].lower().split(b"\r\n")
    assert lines[0] == b"get /a/b?c=d http/1.1"
    assert b"host: shop.example:%d" % port in lines
    assert not [line for line in lines if line.startswith(b"proxy-")]
    assert [line for line in lines if line.startswith(b"connection")] == [b"connection: close"]


async def test_a_tunnel_carries_bytes_both_ways() -> None:
    async with site(answer(b"secret")) as (port, heard), filtering_proxy(Judge()) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(proxy).port)
        writer.write(f"CONNECT shop.example:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == answer(b"secret")
        writer.close()
    assert heard == [b"GET / HTTP/1.1\r\n\r\n"]


async def test_a_host_is_resolved_once_and_stays_where_it_was() -> None:
    judge = Judge()
    async with (
        site(answer(b"1"), answer(b"2"), answer(b"3")) as (port, _),
        filtering_proxy(judge) as proxy,
        httpx.AsyncClient(proxy=proxy, trust_env=False) as client,
    ):
        said = await asyncio.gather(*(client.get(f"http://{host}:{port}/") for host in ["shop.example"] * 3))
    assert {one.text for one in said} == {"1", "2", "3"}
    assert judge.asked == ["shop.example"]


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
     "http://127.1:{port}/", "http://2130706433:{port}/", "http://0x7f.0.0.1:{port}/", "http://0:{port}/",
     "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/",
     "http://shop.example@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@shop.example/"],
)  # fmt: skip
async def test_loopback_metadata_and_private_addresses_are_refused_in_every_spelling(target: str) -> None:
    judge = partial(checked_addresses, private_allowed=False)
    async with site(answer(b"inside")) as (port, heard), filtering_proxy(judge) as proxy:
        url = target.format(port=port)
        said = await raw(proxy, f"GET {url} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
        authority = url.removeprefix("http://").rstrip("/").partition("/")[0]
        tunnel = authority if authority.rpartition("]")[2].count(":") else f"{authority}:80"
        tunnelled = await raw(proxy, f"CONNECT {tunnel} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
    assert said.split()[1] in {b"403", b"400"}
    assert tunnelled.split()[1] == b"403"
    assert heard == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n", b"400"),
        (b"GET https://shop.example/ HTTP/1.1\r\n\r\n", b"400"),
        (b"GET file:///etc/passwd HTTP/1.1\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"CONNECT shop.example HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT shop.example:0 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT shop.example:99999 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT other.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT shop.example:1 HTTP/1.1\r\n\r\n", b"502"),
        (b"GET http://shop.example/" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"400"),
    ],
    ids=["no host", "https", "a file", "nonsense", "no port", "port 0", "port 99999", "another host", "no answer",
         "too long"],
)  # fmt: skip
async def test_everything_else_is_refused(request_: bytes, status: bytes) -> None:
    async with filtering_proxy(Judge()) as proxy:
        assert (await raw(proxy, request_)).split()[1] == status


async def test_a_refusal_says_why() -> None:
    async with filtering_proxy(partial(checked_addresses, private_allowed=False)) as proxy:
        said = await raw(proxy, b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n")
    assert said.endswith(b"the host leads to a cloud's metadata service\n")


async def test_nothing_is_left_of_a_proxy_that_is_closed() -> None:
    async with site(b"") as (port, _):
        async with filtering_proxy(Judge()) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(proxy).port)
            writer.write(f"CONNECT shop.example:{port} HTTP/1.1\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", httpx.URL(proxy).port)
